"""Early and late test scores along a key, forecast and simulated."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool

from ..._core.errors import InputError
from ...sweeps.runs import Runs, check_dataset, levels, runs_of
from ..description import Axis, Band, Curve, Entry, Figure, Panel, Style
from ..description.axis import range_of
from ._layout import key_axis, placed
from ._symbols import MARKS, symbol, titles

COLOURS = {
    "grokked": "#d95f0e",
    "misgrokked": "#542788",
    "immediate": "#e08a1e",
    "gradual": "#c98f00",
    "improved": "#8c6d31",
    "unchanged": "#2b5c8a",
    "not_within_budget": "#2b5c8a",
    "untrained": "#606060",
    "collapsed": "#606060",
    "unscored": "#909090",
    "failed": "#252525",
    "diverged": "#252525",
}
"""The colours of outcomes, as marks of single runs."""

_EARLY, _LATE = Style("#8c8c8c", "dashed"), Style("#252525")
_PLATEAU = Style("#8c8c8c", "none", marker="dot", size=4.0, filled=True)
_CHOSEN = {"early": _EARLY, "late": _LATE}
_PREDICTORS = {"early": "kernel predictor", "late": "rich predictor"}
_NAMES = {when: f"{predictor}, forecast" for when, predictor in _PREDICTORS.items()}
_BAND = 0.16


def scores(dataset: xr.Dataset, key: str, *, columns: int = 3) -> Figure:
    """Describes late test scores along a key over the forecast scores.

    - **Takes** the arguments of [`plot.scores`][lazyrich.plot.scores]; `columns`, the number of
        panels beside each other.
    - **Raises** [`InputError`][lazyrich.InputError] for other datasets and keys.
    """
    check_dataset(dataset)
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
    along = key_axis(symbol(key), x.astype(float))
    values = [runs.data[name].values.astype(float) for name in wanted]
    low, high = range_of(*values)
    scale = Axis("test accuracy", low, max(high, 1.02))
    outcomes = runs.outcomes()
    panels = []
    for title in found:
        here = np.array([one == title for one in title_of])
        bands, curves = _drawn(runs, x.astype(float), here, outcomes)
        panels.append(
            Panel(title or "scores", along, scale, bands=bands, curves=curves, title=title,
                  height=1.5)
        )  # fmt: skip
    banded = {band.group for panel in panels for band in panel.bands}
    ranges = [when for when in _CHOSEN if when in banded]
    return Figure(
        placed(panels, min(columns, len(panels))),
        _caption(runs, key, ranges),
        key=_key(outcomes, ranges),
        share_x=True,
        share_y=columns > 1,
    )


def _drawn(
    runs: Runs, x: Any, here: Bool[np.ndarray, " run"], outcomes: Any
) -> tuple[tuple[Band, ...], tuple[Curve, ...]]:
    places, place = levels(x)
    bands, curves = [], []
    for when, style in _CHOSEN.items():
        values = runs.data[f"forecast_{when}"].values
        each = [values[here & (place == i)] for i in range(len(places))]
        each = [v[np.isfinite(v)] for v in each]
        known = [i for i, v in enumerate(each) if len(v)]
        at = np.asarray(places, dtype=float)[known]
        middle = np.array([np.median(each[i]) for i in known], dtype=float)
        low = np.array([each[i].min() for i in known], dtype=float)
        high = np.array([each[i].max() for i in known], dtype=float)
        name = _NAMES[when]
        if any(len(v) > 1 for v in each):
            band = replace(style, opacity=_BAND)
            bands.append(Band(at, low, high, f"{name}, range", band, when))
        curves.append(Curve(at, middle, name, style, group=when))
    early = runs.data["early_test_accuracy"].values[here].astype(float)
    curves.append(Curve(x[here], early, "on the plateau", _PLATEAU, group="plateau"))
    late = runs.data["late_test_accuracy"].values.astype(float)
    for outcome in MARKS:
        of = here & (outcomes == outcome)
        if of.any():
            name = outcome.replace("_", " ")
            curves.append(Curve(x[of], late[of], name, outcome_style(outcome), group=outcome))
    return tuple(bands), tuple(curves)


def outcome_style(outcome: str) -> Style:
    """The mark of a run with an outcome."""
    return Style(COLOURS[outcome], "none", marker=MARKS[outcome], size=4.0)


def _key(outcomes: Any, ranges: Sequence[str]) -> tuple[Entry, ...]:
    entries = [Entry(_NAMES[when], style) for when, style in _CHOSEN.items()]
    entries += [
        Entry(f"range of the {_PREDICTORS[when]}", replace(_CHOSEN[when], opacity=_BAND), "patch")
        for when in ranges
    ]
    entries.append(Entry("on the plateau, simulated", _PLATEAU))
    for outcome in MARKS:
        count = int(np.sum(outcomes == outcome))
        if count:
            label = f"at the end, {outcome.replace('_', ' ')} ({count})"
            entries.append(Entry(label, outcome_style(outcome)))
    return tuple(entries)


def _caption(runs: Runs, key: str, ranges: Sequence[str]) -> str:
    several = ", medians over runs, with their ranges as bands" if ranges else ""
    return (
        f"Test accuracy of {runs.data.sizes['run']} runs against {symbol(key)}: dots on the "
        "plateau, marks at the end by outcome. Lines are the forecast scores of the kernel and of "
        f"the rich predictor{several}."
    )
