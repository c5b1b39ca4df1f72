"""Phase diagrams: outcomes and times of a sweep's runs over two of its keys."""

import math
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from .._core.errors import InputError
from ..records.described import number_in
from ..records.transition import OUTCOMES
from ..sweeps.runs import counted, levels, majority, runs_of

_FORECASTS = ("forecast_outcome", "forecast_t50")


def phase_diagram(
    dataset: xr.Dataset, x: str = "init_scale", y: str = "weight_decay"
) -> xr.Dataset:
    r"""Outcomes, delays and transition times over two of a sweep's keys.

    Each cell combines its runs over all other keys and seeds. To keep the values of a key
    separate, select one first with `dataset.sel`. A censored run counts as later than all others,
    so a median or quartile that falls on a censored run is NaN, never zero or the horizon.

    - **Takes** a sweep's dataset, over its keys or over `run`; `x` and `y`, keys that are
        swept or have a number in the base experiment.
    - **Returns** variables over `(y, x)`, in increasing order: `outcome`, the most frequent
        outcome, and among equally frequent ones the weakest claim (failed, unscored, collapsed,
        untrained, unchanged, improved, misgrokked, gradual, immediate, grokked); `num_runs`,
        without missing ones; `agreement`, the share of these runs with that outcome; `delay`, the
        median of `t_test / t_train`, `lag`, of `t_test - t_train`, and `t50`, the median half
        time, each with quartiles `_low` and `_high`; `width`, the median of
        $\log(t_{90}/t_{10})$. They are NaN if fewer than half of the runs have the time. `count`,
        over `(kind, y, x)`, is the number of runs with each outcome, missing included. For a
        dataset with forecasts, see [`forecast_runs`][lazyrich.sweeps.forecast_runs], there are also
        `forecast_outcome`, the most frequent predicted outcome, `forecast_t50`, and
        `forecast_error`, the median of $\log(t_{50} \text{ forecast} / t_{50})$, with quartiles.
        Attributes: `x`, `y`; `t1`, the horizon, unless it is swept; `num_without_place`, the
        number of runs without a value of `x` or `y`.
    - **Raises** [`InputError`][lazyrich.InputError] for a key that is neither swept nor in
        the base experiment, and for a dataset of another kind.
    """
    if x == y:
        raise InputError("y", y, f"should differ from x = {x!r}")
    runs = runs_of(dataset, "t_train", "t_test", "t10", "t50", "t90", *_FORECASTS)
    xs, column = levels(runs.key(x, "x"))
    ys, row = levels(runs.key(y, "y"))
    placed = (column >= 0) & (row >= 0)
    outcomes, shape = runs.outcomes(), (len(ys), len(xs))
    at = np.where(placed, row, -1), column
    count = counted(outcomes, at, shape)
    num_runs = count[:-1].sum(0)

    cell = np.where(placed & (outcomes != "missing"), row * len(xs) + column, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_train, t_test = runs.time("t_train"), runs.time("t_test")
        # Data that are fitted at time 0 have no ratio.
        delay = np.where(t_train > 0, t_test / t_train, np.nan)
        lag = np.where(np.isfinite(t_train), t_test - t_train, np.nan)
        width = np.log(runs.time("t90") / runs.time("t10"))
    numbers = {
        "delay": (delay, "median of t_test / t_train", "1"),
        "lag": (lag, "median of t_test - t_train", "1"),
        "t50": (runs.time("t50"), "median half time of the test score's change", "1"),
        # An unknown width must not count as a large one.
        "width": (np.where(np.isfinite(width), width, np.nan), "median of log(t90 / t10)", "1"),
    }
    if all(name in runs.data for name in _FORECASTS):
        said, t50 = runs.data["forecast_t50"].values.astype(float), numbers["t50"][0]
        error = np.log(said / np.where(np.isfinite(t50), t50, np.nan))
        numbers["forecast_t50"] = (said, "median half time as forecast", "1")
        numbers["forecast_error"] = (error, "median of log(forecast_t50 / t50)", "1")
    variables: dict[str, Any] = {
        "outcome": ((y, x), majority(count), _attributes("most frequent outcome", "1")),
        "count": (("kind", y, x), count, _attributes("number of runs with an outcome", "1")),
        "num_runs": ((y, x), num_runs, _attributes("number of runs that were computed", "1")),
        "agreement": (
            (y, x),
            np.where(num_runs > 0, count[:-1].max(0) / np.maximum(num_runs, 1), np.nan),
            _attributes("share of runs with the most frequent outcome", "1"),
        ),
    }
    for name, (values, meaning, units) in numbers.items():
        low, median, high = _quartiles(values, cell, num_runs.size).reshape(3, *shape)
        variables[name] = ((y, x), median, _attributes(meaning, units))
        if name != "width":
            variables[f"{name}_low"] = (
                (y, x),
                low,
                _attributes(f"lower quartile of {name}", units),
            )
            variables[f"{name}_high"] = (
                (y, x),
                high,
                _attributes(f"upper quartile of {name}", units),
            )
    if "forecast_error" in numbers:
        expected = majority(counted(runs.outcomes("forecast_outcome"), at, shape))
        about = _attributes("most frequent outcome as forecast", "1")
        variables["forecast_outcome"] = ((y, x), expected, about)
    coords: dict[str, Any] = {
        key: (key, values, _key_attributes(runs.data, key)) for key, values in ((x, xs), (y, ys))
    }
    coords["kind"] = ("kind", list(OUTCOMES), _attributes("outcome", "1"))
    attrs: dict[str, Any] = {"x": x, "y": y, "num_without_place": int(np.sum(~placed))}
    horizon = number_in(dataset, "t1")
    if not math.isnan(horizon) and "t1" not in dataset.coords:
        attrs["t1"] = horizon
    return xr.Dataset(variables, coords, attrs)


def _attributes(long_name: str, units: str) -> dict[str, str]:
    return {"long_name": long_name, "units": units}


def _key_attributes(data: xr.Dataset, key: str) -> dict[str, Any]:
    own = dict(data[key].attrs) if key in data.coords else {}
    return {**_attributes(key, "1"), **own}


def _quartiles(
    values: Float[np.ndarray, " run"], cell: Int[np.ndarray, " run"], num_cells: int
) -> Float[np.ndarray, "3 cell"]:
    """Lower quartile, median and upper quartile of the values in every cell.

    Infinite values count as later than all others. The result is NaN if fewer than half of a
    cell's runs have a finite value.
    """
    quartiles = np.full((3, num_cells), np.nan)
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(num_cells + 1))
    for i in range(num_cells):
        own = values[order[starts[i] : starts[i + 1]]]
        if 2 * np.sum(np.isfinite(own)) < max(len(own), 1):
            continue
        known = np.sort(own[~np.isnan(own)])
        quartiles[:, i] = [quantile(known, q) for q in (0.25, 0.5, 0.75)]
    return quartiles


def quantile(ordered: Float[np.ndarray, " n"], q: float) -> float:
    """The linearly interpolated quantile of increasing values; NaN if it is infinite.

    Between a finite and an infinite value it is the finite one. With two of four runs censored,
    for example, half of the runs have the event by the time of the second run.
    """
    place = q * (len(ordered) - 1)
    below = ordered[int(np.floor(place))]
    above = ordered[int(np.ceil(place))]
    if not np.isfinite(below):
        return np.nan
    if not np.isfinite(above):
        return float(below)
    return float(below + (place - np.floor(place)) * (above - below))
