"""Forecast times against simulated times."""

import numpy as np
import xarray as xr

from ..._core.errors import InputError
from ...sweeps.forecasts import as_runs
from ...sweeps.runs import check_dataset
from ..description import Curve, Entry, Figure, Panel, Style
from ..description.style import overlaid
from ._layout import log_axis

_TEXTBOOK = Style("#b0b0b0", "none", marker="cross", size=2.8)
# Bars of intervals are seen whole if their ends are within this factor.
_FAR = 3.0
_EQUAL = Style("#404040", "dashed", 0.9)


def forecasts(dataset: xr.Dataset) -> Figure:
    r"""Describes forecast against simulated times of half the test change.

    - **Takes** the arguments of [`plot.forecasts`][lazyrich.plot.forecasts].
    - **Raises** [`InputError`][lazyrich.InputError] where no run has both times.
    """
    check_dataset(dataset)
    runs = as_runs(dataset)
    came, said = (runs[name].values.astype(float) for name in ("t50", "forecast_t50"))
    shown = np.isfinite(came) & (said > 0)
    if not shown.any():
        raise InputError("dataset", int(np.sum(shown)), "should have runs with both times")
    families = runs["forecast_family"].values
    textbook = runs["textbook"].values.astype(float)
    known = shown & (textbook > 0)
    x = log_axis("half of the test change, simulated", came[shown])
    low, high = (runs[f"forecast_{end}"].values.astype(float) for end in ("low", "high"))
    bars = [np.clip(end, said / _FAR, said * _FAR)[shown] for end in (low, high)]
    values = (came[shown], said[shown], textbook[known], *bars)
    y = log_axis("half of the test change, forecast", *values)
    curves, key = [], []
    ends = np.array([max(x.low, y.low), min(x.high, y.high)])
    if known.any():
        name = "(1/λ) log α"
        curves.append(Curve(came[known], textbook[known], name, _TEXTBOOK, group="textbook"))
        key.append(Entry(name, _TEXTBOOK))
    if ends[0] < ends[1]:
        curves.append(Curve(ends, ends, "forecast = simulated", _EQUAL, group="equal"))
        key.append(Entry("forecast = simulated", _EQUAL))
    for number, family in enumerate(np.unique(families[shown])):
        of = shown & (families == family)
        colour, marker = overlaid(number)
        style = Style(colour, "none", marker=marker, size=3.4)
        own = np.stack([np.maximum(low[of], 1e-3 * said[of]), high[of]])
        name = f"{family} ({of.sum()})"
        curves.append(Curve(came[of], said[of], name, style, bars_y=own, group=str(family)))
        key.append(Entry(name, style))
    caption = (
        f"Forecast against simulated time of half of the test change, {shown.sum()} runs; bars are "
        "the forecast intervals, and on the dashed line forecast and run agree."
    )
    panel = Panel("forecasts", x, y, curves=tuple(curves), height=2.0)
    return Figure((panel,), caption, key=tuple(key))
