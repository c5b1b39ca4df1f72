"""Optimisers beside the gradient flow, over their learning rates."""

from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..._core.errors import InputError
from ...records.transition import OUTCOMES
from ...sweeps.runs import Runs, as_table, runs_of
from ..description import Axis, Curve, Entry, Figure, Line, Panel, Style
from ..description.axis import range_of
from ..description.style import sequence
from ._layout import log_axis
from ._symbols import MARKS, titles

_PANELS = {
    "t50": "t50 / that of the flow",
    "early_test_accuracy": "plateau test accuracy",
    "late_param_norm": "last norm / that of the flow",
}
# Outcomes whose times and norms have no meaning. Their marks are at the bottom.
_LOST = ("untrained", "collapsed", "failed", "diverged")
# Decades that are shown at most above and below the flow.
_WIDEST = 3.0
# Height of the marks of runs without a value, as a fraction of the axis.
_FOOT = 0.04


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


def rates(dataset: xr.Dataset, *, columns: int = 3) -> Figure:
    r"""Describes optimisers over their learning rate, beside the gradient flow.

    - **Takes** the arguments of [`plot.rates`][lazyrich.plot.rates]; `columns`, the number of
        panels beside each other: that of the quantities, or 1.
    - **Raises** [`InputError`][lazyrich.InputError] if the dataset has no such tables.
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
    names = [name for name in _PANELS if name in runs.data]
    labels = list(dict.fromkeys(o.label for o, f in zip(optimisers, flows, strict=True) if not f))
    styles = {label: _style(i, len(labels)) for i, label in enumerate(labels)}
    outcomes = runs.outcomes()
    x = log_axis("flow time of a step", np.array([o.rate for o in optimisers])[~flows])
    panels = []
    for number, name in enumerate(names):
        values = _beside(runs, name, optimisers, flows, row, seeds)
        y = _axis(name, values[~flows & ~np.isin(outcomes, _LOST)])
        for place, title in enumerate(rows):
            curves: list[Curve] = []
            for label, style in styles.items():
                of = np.array([o.label == label for o in optimisers]) & (row == place) & ~flows
                rates = np.array([optimisers[i].rate for i in np.flatnonzero(of)], dtype=float)
                curves += _curves(label, style, values[of], rates, outcomes[of], y)
            lines = (Line(1.0, "the flow", _FLOW, group="flow"),) if y.scale == "log" else ()
            at = (place, number) if columns > 1 else (number * len(rows) + place, 0)
            panels.append(
                Panel(name, x, y, curves=tuple(curves), lines=lines, title=title,
                      row=at[0], column=at[1])
            )  # fmt: skip
    panels.sort(key=lambda panel: (panel.row, panel.column))
    alike = Counter((o.label, o.rate, at) for o, at in zip(optimisers, row.tolist(), strict=True))
    several = any(count > 1 for (label, _, _), count in alike.items() if label in labels)
    caption = _caption(labels, outcomes[~flows], several)
    return Figure(tuple(panels), caption, key=_key(styles, outcomes[~flows]), share_x=True)


_DASHES: tuple[Any, ...] = ("solid", "dashed", "dashdot", "long", "dotted")
_FLOW = Style("#909090", "long", 0.8)


def _style(place: int, number: int) -> Style:
    """The style of an optimiser: in a grey print its line has dashes, every second full marks."""
    colour = sequence(place / max(number - 1, 1))
    return Style(colour, _DASHES[place % len(_DASHES)], 1.1, filled=place % 2 == 1)


def _key(styles: dict[str, Style], outcomes: Any) -> tuple[Entry, ...]:
    entries = [Entry(label, replace(style, marker="circle")) for label, style in styles.items()]
    for outcome in OUTCOMES:
        if outcome in MARKS and np.any(outcomes == outcome):
            style = Style("#404040", "none", marker=MARKS[outcome])
            entries.append(Entry(outcome.replace("_", " "), style))
    return tuple(entries)


def _caption(labels: list[str], outcomes: Any, several: bool) -> str:
    """`outcomes` are those of the optimisers; `several`, whether a rate has several runs."""
    text = (
        f"{', '.join(labels)} beside the gradient flow from the same parameters, over the flow "
        f"time of a step: {len(outcomes)} runs, each with a mark for its outcome"
    )
    text += ", and medians over seeds as lines." if several else ", joined by lines."
    if np.isin(outcomes, _LOST).any():
        text += " Runs that did not fit their data are at the bottom."
    return text


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


def _curves(
    label: str, style: Style, values: Any, rates: Any, outcomes: Any, y: Axis
) -> list[Curve]:
    """The median over seeds as a line, and a mark for each run."""
    lost = np.isin(outcomes, _LOST)
    values = np.where(np.isfinite(values) & ~lost, values, np.nan)
    known = [p for p in np.unique(rates) if np.isfinite(values[rates == p]).any()]
    medians = np.array([np.nanmedian(values[rates == p]) for p in known], dtype=float)
    found = [Curve(np.array(known, dtype=float), medians, label, style, group=label)]
    for outcome, shape in MARKS.items():
        of = outcomes == outcome
        if of.any():
            mark = replace(style, dash="none", marker=shape, size=3.2)
            at = np.full(int(np.sum(of)), _foot(y)) if outcome in _LOST else values[of]
            name = f"{label}, {outcome.replace('_', ' ')}"
            found.append(Curve(rates[of], at, name, mark, group=label))
    return found


def _foot(y: Axis) -> float:
    """The place of runs without a value, near the bottom of the axis."""
    if y.scale == "log":
        return float(y.low * (y.high / y.low) ** _FOOT)
    return y.low + _FOOT * (y.high - y.low)


def _axis(name: str, values: Any) -> Axis:
    if name == "early_test_accuracy":
        low, high = range_of(values)
        return Axis(_PANELS[name], low - 2 * _FOOT * (high - low), high)
    known = values[np.isfinite(values) & (values > 0)]
    low, high = 0.8, 1.25
    if len(known):
        low = min(max(known.min() / 1.3, 10**-_WIDEST), low)
        high = max(min(known.max() * 1.3, 10**_WIDEST), high)
    return Axis(_PANELS[name], float(low * (low / high) ** (2 * _FOOT)), float(high), "log")
