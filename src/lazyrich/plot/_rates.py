"""Optimisers beside the gradient flow, over their learning rates."""

from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .._core.errors import InputError
from ..records.transition import OUTCOMES
from ..sweeps.runs import Runs, as_table, runs_of
from ._symbols import MARKS, titles

_PANELS = {
    "t50": r"$t_{50}$ over the flow's",
    "early_test_accuracy": "test accuracy on the plateau",
    "late_param_norm": "last parameter norm over the flow's",
}
# Outcomes whose times and norms have no meaning. Their marks are at the bottom.
_LOST = ("untrained", "collapsed", "failed", "diverged")
# Decades that are shown at most above and below the flow.
_WIDEST = 3.0


class _Optimiser(NamedTuple):
    """A line of the figure; `pace` is the flow time per unit of recorded time."""

    label: str
    rate: float
    pace: float


def has_rates(tables: list[Any]) -> bool:
    """Whether the values of a swept key are optimisers with rates and a flow to compare with."""
    parsed = [as_table(table) or {} for table in tables]
    rated = ["learning_rate" in table for table in parsed]
    return any(rated) and any("Flow" in str(table.get("kind")) for table in parsed)


def rates(dataset: xr.Dataset) -> Figure:
    r"""Optimisers over their learning rate, beside the gradient flow from the same parameters.

    The half time of the test score's change over that of the flow, the accuracy on the plateau,
    and the last parameter norm over that of the flow. Lines are medians over seeds; each run has
    a mark whose shape is its outcome. Times and rates are those of the flow that the optimiser
    follows: with momentum $\beta$ both are $1/(1-\beta)$ times the recorded ones. Runs that did
    not fit their data are at the bottom. Each value of another key has a row.

    - **Takes** a sweep's dataset over `dynamics`, tables of which one is a flow.
    - **Returns** a matplotlib figure, to save or to show.
    - **Raises** [`InputError`][lazyrich.InputError] if there is no such table.
    """
    runs = runs_of(dataset, *_PANELS)
    tables = [as_table(table) or {} for table in runs.key("dynamics", "dataset").tolist()]
    flows = np.array(["Flow" in str(table.get("kind")) for table in tables])
    if not flows.any() or flows.all():
        raise InputError("dataset", "dynamics", "should vary over a flow and optimisers with rates")
    optimisers = [_optimiser(table) for table in tables]
    title_of, seeds = titles(runs, "dynamics"), runs.key("seed", "seed")
    rows = list(dict.fromkeys(title_of))
    row = np.array([rows.index(title) for title in title_of])
    panels = {name: text for name, text in _PANELS.items() if name in runs.data}
    figure = Figure(figsize=(4.3 * len(panels), 0.9 + 2.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(panels), sharex=True, sharey="col", squeeze=False)
    labels = list(dict.fromkeys(o.label for o, f in zip(optimisers, flows, strict=True) if not f))
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, len(labels)))
    outcomes = runs.outcomes()
    for place, title in enumerate(rows):
        for axis, (name, text) in zip(axes[place], panels.items(), strict=True):
            values = _beside(runs, name, optimisers, flows, row, seeds)
            for label, colour in zip(labels, colours, strict=True):
                of = np.array([o.label == label for o in optimisers]) & (row == place) & ~flows
                _draw(axis, values[of], [optimisers[i].rate for i in np.flatnonzero(of)],
                      outcomes[of], colour)  # fmt: skip
            _finish(axis, name, values[~flows & ~np.isin(outcomes, _LOST)])
            axis.set_ylabel(text)
            if title:
                axis.set_title(title, fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("flow time of a step")
    handles = [Line2D([], [], color=c, label=n) for n, c in zip(labels, colours, strict=True)]
    for outcome in OUTCOMES:
        if outcome in MARKS and np.any(outcomes[~flows] == outcome):
            mark: dict[str, Any] = {
                "marker": MARKS[outcome],
                "color": "#404040",
                "mfc": "none",
                "ls": "none",
            }
            handles.append(Line2D([], [], label=outcome.replace("_", " "), **mark))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def _optimiser(table: dict[str, Any]) -> _Optimiser:
    rest = {k: v for k, v in table.items() if k not in ("kind", "learning_rate", "seed")}
    rest = {key: value for key, value in rest.items() if value}
    label = ", ".join([str(table.get("kind")), *(f"{_short(k)} {v:g}" for k, v in rest.items()
                                                if isinstance(v, int | float))])  # fmt: skip
    pace = 1.0 / (1.0 - float(table.get("momentum", 0.0)))
    return _Optimiser(label, float(table.get("learning_rate", np.nan)) * pace, pace)


def _short(key: str) -> str:
    return {"batch_size": "batch", "epsilon": "ε"}.get(key, key)


def _beside(
    runs: Runs, name: str, optimisers: list[_Optimiser], flows: Any, row: Any, seeds: Any
) -> Float[np.ndarray, " run"]:
    """The quantity of each run over that of the flow of its row and seed; accuracies as such."""
    values = runs.time(name) if name in runs.times else runs.data[name].values.astype(float)
    if name == "early_test_accuracy":
        return np.asarray(values)
    if name in runs.times:
        values = values * np.array([optimiser.pace for optimiser in optimisers])
    found = np.full(len(values), np.nan)
    for index in range(len(values)):
        like = flows & (row == row[index]) & (seeds == seeds[index])
        if like.any():
            found[index] = values[index] / values[like][0]
    return found


def _draw(axis: Axes, values: Any, rates: list[float], outcomes: Any, colour: Any) -> None:
    at, lost = np.array(rates), np.isin(outcomes, _LOST)
    values = np.where(np.isfinite(values) & ~lost, values, np.nan)
    known = [p for p in np.unique(at) if np.isfinite(values[at == p]).any()]
    medians = [np.nanmedian(values[at == p]) for p in known]
    axis.plot(known, medians, color=colour, linewidth=1.1)
    for outcome, shape in MARKS.items():
        of = outcomes == outcome
        style: dict[str, Any] = {"ls": "none", "marker": shape, "color": colour, "mfc": "none"}
        if outcome in _LOST:
            low = np.full(int(np.sum(of)), 0.04)
            axis.plot(at[of], low, ms=4.5, transform=axis.get_xaxis_transform(), **style)
        else:
            axis.plot(at[of], values[of], ms=4, **style)


def _finish(axis: Axes, name: str, values: Any) -> None:
    axis.set_xscale("log")
    axis.grid(True, which="major", color="#e0e0e0", linewidth=0.6)
    if name == "early_test_accuracy":
        return
    axis.set_yscale("log")
    axis.axhline(1.0, color="#909090", linewidth=0.8, ls="--")
    known = values[np.isfinite(values) & (values > 0)]
    if len(known):
        low = max(known.min() / 1.3, 10**-_WIDEST)
        axis.set_ylim(min(low, 0.8), max(min(known.max() * 1.3, 10**_WIDEST), 1.25))
