"""Figures of single runs, in the style of the papers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from .._core.errors import InputError
from .._core.keys import at_key
from ..experiments.published import Published
from ..forecasts import Forecast
from ..predictors import CERTIFIED
from ..records.described import description_of
from ..records.schema import axis_of
from ..records.summary import textbook_time
from ..studies import curves_at

Curves = Mapping[str, Float[np.ndarray, "2 k"]]

# Lightness and dashes distinguish them in a grey print.
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
# The least exponent of a loss on a log axis; below it, exponents are shown instead of losses.
_LEAST_EXPONENT = -300.0
_ALIGNED: dict[str, tuple[str, dict[str, Any]]] = {
    "labels": ("with the labels", _TEST),
    "start": ("with the initial kernel", _TRAIN),
}


def run(
    record: xr.Dataset,
    forecast: Forecast | Mapping[str, Any] | None = None,
    *,
    curves: Mapping[str, Float[np.ndarray, "2 k"]] | None = None,
) -> Figure:
    r"""Fit, loss, parameter norm and distance from the predictors of a run, against log time.

    Fit is the accuracy, or for regression the loss on a linear axis. Where predictors have no
    weights, alignments of the kernel or the normalised margin are shown instead, if recorded.
    Quantities that were not recorded have no axes. Horizontal lines are the test scores of the
    kernel and the rich predictor. The vertical line is $(1/\lambda) \log \alpha$, for homogeneous
    models. Circles are published curves. Losses of the linearised model and of regression with
    the initial kernel are drawn where they were recorded. A record with steps or epochs has them
    on a second axis.

    - **Takes** a record, of a run or of a log; `forecast`, of the same experiment, drawn over the
        run: the curves of the kernel flow until the end of the kernel phase, which is a line, and
        the interval of `t50`, shaded. A forecast's summary has no curves to draw. `curves`,
        published ones: times and values by the name of a variable; if left out, the curves of the
        library that the record's experiment names.
    - **Returns** a matplotlib figure, to save or to show.
    - **Raises** [`InputError`][lazyrich.InputError] for a record with nothing to draw.
    """
    description = description_of(record)
    if curves is None:
        curves = curves_of(record)
    textbook = np.nan
    if record.attrs.get("homogeneity"):
        textbook = textbook_time(description["init_scale"], description["weight_decay"])

    # Time 0 is not on a log axis.
    record = record.sel(time=record["time"] > 0)
    panels = [panel for panel, names in _PANELS.items() if any(name in record for name in names)]
    if not panels or not record.sizes["time"]:
        accepted = "should have losses, accuracies or norms at times after 0"
        raise InputError("record", sorted(map(str, record.data_vars)), accepted)
    num_rows = 2 if len(panels) == 4 else 1
    num_columns = len(panels) // num_rows
    figure = Figure(figsize=(4.5 * num_columns, 0.2 + 3.2 * num_rows), layout="constrained")
    axes = figure.subplots(num_rows, num_columns, sharex=True, squeeze=False)
    scored = []
    for axis, panel in zip(axes.flat, panels, strict=True):
        panel(axis, record, curves)
        if panel in (_score, _loss):
            scored.append(axis)
    if forecast is not None:
        _expected(scored, forecast)
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
    for axis in axes[-1]:
        axis.set_xlabel(axis_of(record).label)
    for axis in axes[0]:
        _counted(axis, record)
    # A name is free text: it must not be read as mathematics.
    figure.suptitle(str(description.get("name", "")), parse_math=False, fontsize=11)
    return figure


def curves_of(record: xr.Dataset) -> dict[str, Float[np.ndarray, "2 k"]]:
    """The published curves of the library that a record's experiment names."""
    description = description_of(record)
    table = description.get("published")
    published = None if table is None else Published(**table)
    return curves_at(published, lambda key: at_key(description, key))


def _counted(axis: Axes, record: xr.Dataset) -> None:
    """Adds a second axis of steps, or of epochs, where a log has them."""
    times = record["time"].values
    for name in ("step", "epoch"):
        if name not in record.coords or axis_of(record).long_name == name or len(times) < 2:
            continue
        # Epochs in whole numbers grow in stairs. Their mean rate is that at the end.
        rate = float(record[name].values[-1]) / float(times[-1])
        if rate > 0:
            scales = (lambda t, rate=rate: t * rate, lambda n, rate=rate: n / rate)
            axis.secondary_xaxis("top", functions=scales).set_xlabel(name)
            return


def _expected(axes: Sequence[Axes], forecast: Forecast | Mapping[str, Any]) -> None:
    """Draws a forecast over accuracies and losses."""
    said = forecast.summary() if isinstance(forecast, Forecast) else forecast
    end, middle = (_known(said.get(key)) for key in ("t_kernel_end", "t50"))
    low, high = map(_known, said.get("t50_interval") or (None, None))
    verdict = str(said.get("verdict", "")).replace("_", " ")
    for axis in axes:
        if isinstance(forecast, Forecast):
            _kernel_flow(axis, forecast)
        if np.isfinite(end):
            axis.axvline(end, color=_PASSAGE, linewidth=1.4, label="kernel phase ends, forecast")
        if np.isfinite(low) and high > 0:
            label = f"half of the change, forecast ({verdict})"
            axis.axvspan(low, high, color=_PASSAGE, alpha=0.25, linewidth=0)
            axis.axvline(middle, color=_PASSAGE, linewidth=1.4, linestyle="--", label=label)


def _known(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def _kernel_flow(axis: Axes, forecast: Forecast) -> None:
    shown = forecast.times > 0
    if np.isfinite(forecast.t_kernel_end):
        shown &= forecast.times <= forecast.t_kernel_end
    quantity = axis.get_ylabel()
    for part, style in (("train", _TRAIN), ("test", _TEST)):
        curve = forecast.curves.get(f"{part}_{quantity}")
        if curve is not None:
            label = f"{part}, kernel flow"
            axis.plot(forecast.times[shown], curve[shown], label=label,
                      color=style["color"], **_FORECAST)  # fmt: skip


def _baselines(axis: Axes, record: xr.Dataset) -> None:
    """Draws the linearised model, and ridge-less regression with the initial kernel."""
    for part, style in (("train", _TRAIN), ("test", _TEST)):
        label = f"{part}, linearised"
        _curve(axis, record, f"twin_{part}_loss", label, {**style, **_TWIN})
    label = "test, initial kernel"
    _curve(axis, record, "kernel_regression_loss", label, _RICH)


def _nearness(axis: Axes, record: xr.Dataset, curves: Curves) -> None:
    """How near the weights are to those of the predictors: by angle, for regression by distance.

    Where no predictor has weights, the alignment of the kernel or the normalised margin.
    """
    del curves
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
    """The alignments of the kernel over those at time 0, as both can be near 0 or near 1."""
    for of, (label, style) in _ALIGNED.items():
        name = f"kernel_alignment_{of}"
        if name in record:
            relative = record.assign({name: record[name] / record[name][0]})
            _curve(axis, relative, name, label, style)
    axis.set_ylabel("kernel alignment over its start")


def _margin(axis: Axes, record: xr.Dataset) -> None:
    _curve(axis, record, "normalised_margin", "training data", _TRAIN)
    _log_scale(axis)
    axis.set_ylabel(r"margin / $\|\theta\|_2^L$, where positive")


def _score(axis: Axes, record: xr.Dataset, curves: Curves) -> None:
    """Accuracies, or for regression losses on a linear axis, with the predictors' scores."""
    if "test_accuracy" in record:
        _fit(axis, record, "accuracy", curves)
        _references(axis, record, "test_accuracy")
        return
    _fit(axis, record, "loss", curves)
    _references(axis, record, "test_loss")
    axis.set_ylim(bottom=0)


def _loss(axis: Axes, record: xr.Dataset, curves: Curves) -> None:
    """Losses on a log axis; their exponents where one is below the range of floats."""
    exponents = record["train_log_loss"] / np.log(10) if "train_log_loss" in record else None
    if exponents is None or ("train_loss" in record and not np.any(exponents < _LEAST_EXPONENT)):
        _fit(axis, record, "loss", curves)
        _log_scale(axis)
        return
    axis.plot(record["time"], exponents, label="train", **_TRAIN)
    if "test_loss" in record:
        positive = record["test_loss"].where(record["test_loss"] > 0)
        axis.plot(record["time"], np.log10(positive), label="test", **_TEST)
    axis.set_yscale("symlog", linthresh=1.0)
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_ylabel(r"$\log_{10}$ of the loss")


def _norm(axis: Axes, record: xr.Dataset, curves: Curves) -> None:
    _curve(axis, record, "param_norm", "this run", _TRAIN)
    _circles(axis, curves.get("param_norm"), "published", _TRAIN["color"])
    axis.set_ylabel(r"parameter norm $\|\theta\|_2$")
    _log_scale(axis)


def _fit(axis: Axes, record: xr.Dataset, quantity: str, curves: Curves) -> None:
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


_LOSSES = ("train_loss", "test_loss")
_NEAR = ("cosine_to_kernel", "cosine_to_rich", "distance_to_kernel", "normalised_margin")
_PANELS: dict[Callable[[Axes, xr.Dataset, Curves], None], tuple[str, ...]] = {
    _score: ("train_accuracy", "test_accuracy", *_LOSSES),
    _loss: (*_LOSSES, "train_log_loss"),
    _norm: ("param_norm",),
    _nearness: (*_NEAR, *(f"kernel_alignment_{of}" for of in _ALIGNED)),
}
"""What is drawn, and the variables of which one has to be there."""
