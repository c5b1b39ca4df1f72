"""A run as a figure, in the manner of the papers."""

import tomllib
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from ..experiments.published import Published
from ..forecasts import Forecast
from ..predictors import CERTIFIED
from ..records.summary import textbook_time
from ..studies import curves_at

# Told apart by lightness and by dashes, so that they survive a grey print.
_TRAIN: dict[str, Any] = {"color": "#08306b", "linewidth": 1.6}
_TEST: dict[str, Any] = {"color": "#e6550d", "linewidth": 1.6}
_PUBLISHED: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 3.2,
    "mfc": "none",
}
_KERNEL: dict[str, Any] = {"color": "#525252", "linewidth": 1.1, "linestyle": (0, (6, 2))}
_RICH: dict[str, Any] = {"color": "#525252", "linewidth": 1.1, "linestyle": (0, (1, 1.5))}
_TWIN: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (4, 1.5)), "alpha": 0.8}
_FORECAST: dict[str, Any] = {"linewidth": 2.6, "alpha": 0.35, "linestyle": (0, (2, 1))}
_PASSAGE = "#74c476"
_ALIGNED: dict[str, tuple[str, dict[str, Any]]] = {
    "labels": ("with the labels", _TEST),
    "start": ("with the initial kernel", _TRAIN),
}


def run(record: xr.Dataset, forecast: Forecast | None = None) -> Figure:
    r"""Fit, loss, parameter norm and nearness to the predictors of a run against log time.

    Fit is accuracy, or for regression the loss on a linear axis. Where predictors have no
    weights to be near to, alignments of the kernel or the normalised margin, if recorded, take
    their place. Horizontal lines are the test scores of the kernel and the rich predictor, the
    vertical line is $(1/\lambda) \log \alpha$ for homogeneous models, circles are the
    published curves where the experiment has them. Losses of the linearised twin and of
    regression with the initial kernel are drawn with the run's where they were measured.

    - **Takes** `forecast`, of the same experiment, to lay over it: the curves of the kernel flow
        up to the end of the kernel phase, which is a line, and the interval of `t50`, shaded.
    - **Returns** a matplotlib figure, to save or to show.
    """
    description = tomllib.loads(record.attrs["experiment"])
    table = description.get("published")
    curves = curves_at(None if table is None else Published(**table), _value_in(description))
    textbook = np.nan
    if record.attrs.get("homogeneity"):
        textbook = textbook_time(description["init_scale"], description["weight_decay"])

    # Log axes: what is recorded at time 0 has no place on them.
    record = record.sel(time=record["time"] > 0)
    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    if "test_accuracy" in record:
        _fit(axes[0, 0], record, "accuracy", curves)
        _references(axes[0, 0], record, "test_accuracy")
    else:
        _fit(axes[0, 0], record, "loss", curves)
        _references(axes[0, 0], record, "test_loss")
        axes[0, 0].set_ylim(bottom=0)
    _loss(axes[0, 1], record, curves)
    _curve(axes[1, 0], record, "param_norm", "this run", _TRAIN)
    _circles(axes[1, 0], curves.get("param_norm"), "published", _TRAIN["color"])
    axes[1, 0].set_ylabel(r"parameter norm $\|\theta\|_2$")
    _nearness(axes[1, 1], record)
    _log_scale(axes[1, 0])

    if forecast is not None:
        _expected(axes[0], forecast)
    times = record["time"].values
    for axis in axes.flat:
        if len(times) > 1:
            axis.set_xscale("log")
            axis.set_xlim(times[0], times[-1])
        axis.grid(True, which="major", color="#e0e0e0", linewidth=0.6)
        if np.isfinite(textbook):
            label = r"$(1/\lambda)\,\log\alpha$, $\alpha$ = init_scale"
            axis.axvline(textbook, color="#969696", linewidth=1.0, linestyle="-.", label=label)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
    for axis in axes[1]:
        axis.set_xlabel(time_label(record))
    # A name is free text: it must not be read as mathematics.
    figure.suptitle(str(description.get("name", "")), parse_math=False, fontsize=11)
    return figure


def _expected(axes: Any, forecast: Forecast) -> None:
    """A forecast over accuracy, or loss, and loss."""
    end = forecast.t_kernel_end
    shown = forecast.times > 0
    if np.isfinite(end):
        shown &= forecast.times <= end
    for axis in axes:
        quantity = axis.get_ylabel()
        for part, style in (("train", _TRAIN), ("test", _TEST)):
            curve = forecast.curves.get(f"{part}_{quantity}")
            if curve is not None:
                label = f"{part}, kernel flow"
                axis.plot(forecast.times[shown], curve[shown], label=label,
                          color=style["color"], **_FORECAST)  # fmt: skip
        if np.isfinite(end):
            axis.axvline(end, color=_PASSAGE, linewidth=1.4, label="kernel phase ends, forecast")
        low, high = forecast.t50_interval
        if np.isfinite(low) and high > 0:
            label = f"half of the change, forecast ({forecast.verdict.replace('_', ' ')})"
            axis.axvspan(low, high, color=_PASSAGE, alpha=0.25, linewidth=0)
            axis.axvline(forecast.t50, color=_PASSAGE, linewidth=1.4, linestyle="--", label=label)


def _value_in(description: dict[str, Any]) -> Callable[[str], Any]:
    """What stands at a dotted key of an experiment's table, None if nothing does."""

    def value(key: str) -> Any:
        place: Any = description
        for part in key.split("."):
            place = place.get(part) if isinstance(place, dict) else None
        return place

    return value


def time_label(record: xr.Dataset) -> str:
    """What stands under the axis of time of a record, or of a sweep's dataset."""
    if record["time"].attrs.get("units", "1") != "1":
        return r"$\log_{10}(1 + t)$, $t$ the gradient-flow time"
    return "gradient-flow time $t$ (learning rate × steps)"


def _baselines(axis: Axes, record: xr.Dataset) -> None:
    """What the initial kernel makes of the data: the linearised twin, and ridge-less regression."""
    for part, style in (("train", _TRAIN), ("test", _TEST)):
        label = f"{part}, linearised"
        _curve(axis, record, f"twin_{part}_loss", label, {**style, **_TWIN})
    label = "test, initial kernel"
    _curve(axis, record, "kernel_regression_loss", label, _RICH)


def _nearness(axis: Axes, record: xr.Dataset) -> None:
    """How near the weights are to the predictors': by angle, for regression by distance.

    Where no predictor has weights to compare, how the kernel turns, or the margin that the rich
    phase raises.
    """
    if not {"cosine_to_kernel", "cosine_to_rich", "distance_to_kernel"} & set(record):
        turning = any(f"kernel_alignment_{of}" in record for of in _ALIGNED)
        (_alignment if turning else _margin)(axis, record)
        return
    kind = "distance" if "distance_to_kernel" in record else "cosine"
    _curve(axis, record, f"{kind}_to_kernel", "to the kernel predictor", _KERNEL)
    _curve(axis, record, f"{kind}_to_rich", "to the rich predictor", _TEST)
    if kind == "cosine":
        axis.set_ylabel("cosine of the weights")
        axis.set_ylim(-0.05, 1.05)
    else:
        axis.set_ylabel("relative distance of the weights")
        axis.set_ylim(bottom=0)


def _alignment(axis: Axes, record: xr.Dataset) -> None:
    """How the kernel is aligned, over how it was at the start: both can be near to 0 or 1."""
    for of, (label, style) in _ALIGNED.items():
        name = f"kernel_alignment_{of}"
        if name in record:
            relative = record.assign({name: record[name] / record[name][0]})
            _curve(axis, relative, name, label, style)
    axis.set_ylabel("kernel alignment over its start")


def _margin(axis: Axes, record: xr.Dataset) -> None:
    _curve(axis, record, "normalised_margin", "training data", _TRAIN)
    if not axis.get_lines():
        axis.set_axis_off()
        return
    _log_scale(axis)
    axis.set_ylabel(r"margin / $\|\theta\|_2^L$, where positive")


def _loss(axis: Axes, record: xr.Dataset, curves: dict[str, Any]) -> None:
    """Losses on a log axis; by their exponents where they may be far below what a float holds."""
    if "train_log_loss" not in record:
        _fit(axis, record, "loss", curves)
        _log_scale(axis)
        return
    axis.plot(record["time"], record["train_log_loss"] / np.log(10), label="train", **_TRAIN)
    if "test_loss" in record:
        positive = record["test_loss"].where(record["test_loss"] > 0)
        axis.plot(record["time"], np.log10(positive), label="test", **_TEST)
    axis.set_yscale("symlog", linthresh=1.0)
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_ylabel(r"$\log_{10}$ of the loss")


def _fit(axis: Axes, record: xr.Dataset, quantity: str, curves: dict[str, Any]) -> None:
    for part, style in (("train", _TRAIN), ("test", _TEST)):
        _curve(axis, record, f"{part}_{quantity}", part, style)
        _circles(axis, curves.get(f"{part}_{quantity}"), f"{part}, published", style["color"])
    if quantity == "loss":
        _baselines(axis, record)
    axis.set_ylabel(quantity)


def _log_scale(axis: Axes) -> None:
    if any(np.any(np.asarray(line.get_ydata()) > 0) for line in axis.get_lines()):
        axis.set_yscale("log", nonpositive="mask")


def _curve(axis: Axes, record: xr.Dataset, name: str, label: str, style: dict[str, Any]) -> None:
    if name in record and not np.all(np.isnan(record[name])):
        axis.plot(record["time"], record[name], label=label, **style)


def _circles(axis: Axes, curve: Any, label: str, color: Any) -> None:
    if curve is not None:
        axis.plot(curve[0], curve[1], label=label, color=color, alpha=0.75, **_PUBLISHED)


def _references(axis: Axes, record: xr.Dataset, score: str) -> None:
    roles = record["predictor"].values.tolist() if "predictor" in record else []
    for role, style in (("kernel", _KERNEL), ("rich", _RICH)):
        if role not in roles or f"predictor_{score}" not in record:
            continue
        row = record.sel(predictor=role)
        level = float(row[f"predictor_{score}"])
        if np.isfinite(level) and row["predictor_status"].item() in CERTIFIED:
            axis.axhline(level, label=f"{role}: {row['predictor_label'].item()}", **style)
