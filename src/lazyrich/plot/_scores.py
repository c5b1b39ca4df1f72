"""Early and late test scores along a key, forecast and simulated."""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .._core.errors import InputError
from ..sweeps.runs import Runs, levels, runs_of
from ._symbols import MARKS, symbol, titles

_COLOURS = {
    "grokked": "#d95f0e",
    "misgrokked": "#542788",
    "immediate": "#fdae3c",
    "gradual": "#e6a800",
    "improved": "#8c6d31",
    "unchanged": "#2b5c8a",
    "not_within_budget": "#2b5c8a",
    "untrained": "#606060",
    "collapsed": "#606060",
    "unscored": "#909090",
    "failed": "#252525",
    "diverged": "#252525",
}
_EARLY, _LATE = "#909090", "#252525"


def scores(dataset: xr.Dataset, key: str) -> Figure:
    """Late test scores along a key, with a marker for each outcome, over the forecast scores.

    Lines are forecasts, medians over runs, with bands from the minimum to the maximum: grey for
    the kernel predictor, black for the rich one. Where they cross, a change for the better
    becomes one for the worse. Grey dots are scores on the plateau. Each value of another key,
    seeds apart, has an axis.

    - **Takes** a dataset from [`forecast_runs`][lazyrich.sweeps.forecast_runs], of runs with an
        accuracy, and a key that varies, of numbers.
    - **Returns** a matplotlib figure, to save or to show.
    - **Raises** [`InputError`][lazyrich.InputError] for other datasets and keys.
    """
    wanted = ("early_test_accuracy", "late_test_accuracy", "forecast_early", "forecast_late")
    for name in wanted:
        if name not in dataset:
            raise InputError("dataset", name, "should be in it: see lr.sweeps.forecast_runs")
    runs = runs_of(dataset, *wanted)
    x = runs.key(key, "key")
    if x.dtype.kind not in "fiu":
        raise InputError("key", key, "should be a key whose values are numbers")
    title_of = titles(runs, key)
    found = list(dict.fromkeys(title_of))
    figure = Figure(figsize=(max(4.6, 3.1 * len(found)), 3.9), layout="constrained")
    axes = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    outcomes = runs.outcomes()
    for axis, title in zip(axes, found, strict=True):
        here = np.array([one == title for one in title_of])
        _draw(axis, runs, x, here)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(symbol(key))
        axis.grid(True, which="major", color="#e0e0e0", linewidth=0.6)
    if np.all(x > 0):
        axes[0].set_xscale("log")
    axes[0].set_ylabel("test accuracy")
    handles = [
        Line2D([], [], color=_EARLY, label="kernel predictor, forecast"),
        Line2D([], [], color=_LATE, label="rich predictor, forecast"),
        Line2D([], [], ls="none", marker=".", color=_EARLY, label="on the plateau, simulated"),
    ]
    for outcome in MARKS:
        if np.any(outcomes == outcome):
            count = int(np.sum(outcomes == outcome))
            label = f"at the end, {outcome.replace('_', ' ')} ({count})"
            handles.append(Line2D([], [], label=label, **_style(outcome)))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _draw(axis: Axes, runs: Runs, x: Any, here: Bool[np.ndarray, " run"]) -> None:
    places, place = levels(x)
    for name, colour in (("forecast_early", _EARLY), ("forecast_late", _LATE)):
        values = runs.data[name].values
        each = [values[here & (place == i)] for i in range(len(places))]
        each = [v[np.isfinite(v)] for v in each]
        known = [i for i, v in enumerate(each) if len(v)]
        at = places[known]
        axis.plot(at, [np.median(each[i]) for i in known], color=colour, linewidth=1.3)
        low, high = [each[i].min() for i in known], [each[i].max() for i in known]
        axis.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(x[here], runs.data["early_test_accuracy"].values[here], ".", color=_EARLY, ms=4)
    outcomes = runs.outcomes()
    for outcome in MARKS:
        of = here & (outcomes == outcome)
        if of.any():
            axis.plot(x[of], runs.data["late_test_accuracy"].values[of], **_style(outcome))


def _style(outcome: str) -> dict[str, Any]:
    own = {"marker": MARKS[outcome], "color": _COLOURS[outcome]}
    return {"ls": "none", "markersize": 4.5, "mfc": "none", **own}
