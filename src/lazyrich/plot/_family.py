"""Runs of a sweep along one key, as curves over time."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..experiments.published import Published, same
from ..records.schema import axis_of
from ..studies import curves_at
from ..sweeps.runs import Runs, runs_of
from ._symbols import symbol, worded

_PUBLISHED: dict[str, Any] = {"ls": "none", "marker": "o", "markersize": 2.8, "mfc": "none"}
_FORECAST: dict[str, Any] = {"marker": "D", "markersize": 3.6, "mec": "black", "mew": 0.7}
_DASHES: dict[str, Any] = {"train": (0, (4, 2)), "test": "solid"}


def family(
    dataset: xr.Dataset,
    key: str,
    published: Published | None = None,
    folder: Path | None = None,
) -> Figure:
    """Fit, loss and parameter norm of all runs over log time, coloured by the value of `key`.

    Where it was recorded, the distance of the weights from those of the kernel predictor is shown
    as well. Every seed is a line; training data are dashed, test data solid. Published curves are
    circles in the colour of their value. For a dataset with forecasts, a diamond shows where half
    of a run's change was forecast, with the interval as its bar.

    - **Takes** a sweep's dataset, and a key that it varies; `published`, whose curves belong to
        the values in `at`; `folder`, that of their file, if they do not come with the library.
    - **Returns** a matplotlib figure, to save or to show.
    """
    accurate = "test_accuracy" in dataset
    fits = ["accuracy", "loss"] if accurate else ["loss"]
    names = [f"{part}_{row}" for row in fits for part in _DASHES]
    score = names[1]
    more = (f"early_{score}", f"late_{score}", *_EXPECTED)
    runs = _with_distance(runs_of(dataset, "time", "param_norm", *_TO_KERNEL, *names, *more))
    single = {row: name for row, name in _SINGLE.items() if row == "norm" or name in runs.data}
    rows = [*fits, *single]
    values = runs.key(key, key)
    found = np.unique(values)
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(found)))
    figure = Figure(figsize=(4.2 * len(rows), 3.8), layout="constrained")
    axes = figure.subplots(1, len(rows), sharex=True, squeeze=False)[0]
    circles = [_circles(published, key, value, folder) for value in found.tolist()]
    for axis, row in zip(axes, rows, strict=True):
        both = {p: f"{p}_{row}" for p in _DASHES}
        parts = {"test": single[row]} if row in single else both
        for part, name in parts.items():
            if name not in runs.data:
                continue
            for value, colour, curves in zip(found, colours, circles, strict=True):
                for run in np.flatnonzero(values == value):
                    _line(axis, runs.data, name, int(run), color=colour, ls=_DASHES[part])
                if name in curves:
                    times, theirs = curves[name][:, curves[name][0] > 0]
                    axis.plot(times, theirs, color=colour, alpha=0.75, **_PUBLISHED)
        if row == rows[0] and all(name in runs.data for name in more):
            for value, colour in zip(found, colours, strict=True):
                _expected(axis, runs.data.isel(run=values == value), score, colour)
        axis.set_xscale("log")
        axis.set_xlabel(axis_of(dataset).label)
        axis.set_ylabel(
            runs.data["distance"].attrs["name"] if row == "kernel" else _NAMES.get(row, row)
        )
        if row != "accuracy" and axis.get_lines():
            axis.set_yscale("log", nonpositive="mask")
        if row == "loss" and "test_loss" in runs.data:
            _cut(axis, runs.data["test_loss"].values)
        axis.grid(True, which="major", color="#e0e0e0", linewidth=0.6)
    handles = [Line2D([], [], color=c) for c in colours]
    handles += [Line2D([], [], color="#404040", ls=dash) for dash in _DASHES.values()]
    labels = list(map(worded, found.tolist()))
    labels += list(_DASHES)
    if any(circles):
        handles.append(Line2D([], [], color="#404040", **_PUBLISHED))
        labels.append("published")
    if all(name in runs.data for name in more):
        handles.append(Line2D([], [], color="#b0b0b0", **_FORECAST))
        labels.append("half of the change,\nforecast")
    figure.legend(handles, labels, title=symbol(key), loc="outside right center", fontsize=8)
    return figure


_NAMES = {"norm": r"parameter norm $\|\theta\|_2$"}
_SINGLE = {"norm": "param_norm", "kernel": "distance"}
_TO_KERNEL = ("distance_to_kernel", "cosine_to_kernel")


def _with_distance(runs: Runs) -> Runs:
    """Adds the `distance` of the weights, or of their directions, from the kernel predictor."""
    data = runs.data
    if "distance_to_kernel" in data:
        distance = data["distance_to_kernel"].assign_attrs(name="distance from kernel predictor")
    elif "cosine_to_kernel" in data:
        distance = (1 - data["cosine_to_kernel"]).assign_attrs(
            name="1 - cosine to kernel predictor"
        )
    else:
        return runs
    return runs._replace(data=data.assign(distance=distance))


_EXPECTED = ("forecast_t50", "forecast_low", "forecast_high")


def _expected(axis: Axes, runs: xr.Dataset, score: str, colour: Any) -> None:
    """Draws the forecast times of half of the change from the early to the late score."""
    level = 0.5 * (runs[f"early_{score}"] + runs[f"late_{score}"]).values
    at, low, high = (runs[name].values for name in _EXPECTED)
    shown = np.isfinite(level) & np.isfinite(at) & (at <= np.nanmax(runs["time"].values))
    bars = np.nan_to_num(np.maximum(np.stack([at - low, high - at])[:, shown], 0.0))
    axis.errorbar(at[shown], level[shown], xerr=bars, ls="none", color=colour, ecolor="black",
                  elinewidth=1.0, zorder=4, **_FORECAST)  # fmt: skip


# Training losses below this fraction of the least test loss are rounding errors, or nearly.
_FAR_BELOW = 1e-4


def _cut(axis: Axes, test_losses: Float[np.ndarray, "run record"]) -> None:
    """Cuts off values far below every test loss, which would compress all others."""
    positive = test_losses[test_losses > 0]
    if positive.size and axis.get_ylim()[0] < _FAR_BELOW * positive.min():
        axis.set_ylim(bottom=_FAR_BELOW * positive.min())


def _circles(
    published: Published | None, key: str, value: Any, folder: Path | None
) -> dict[str, Any]:
    """The published curves of one value of the key."""
    if published is None:
        return {}
    parts = tuple(part for part in published.at if key in part.where)
    own = published.model_copy(update={"at": parts})
    named = {p for part in parts if same(value, part.where[key]) for p in part.curves}
    curves = curves_at(own, lambda k: value if k == key else None, folder)
    return {probe: curve for probe, curve in curves.items() if probe in named}


def _line(axis: Axes, data: xr.Dataset, name: str, run: int, **style: Any) -> None:
    times, values = data["time"].values[run], data[name].values[run]
    known = np.isfinite(values) & (times > 0)
    axis.plot(times[known], values[known], linewidth=1.2, **style)
