"""A forecast by itself: the kernel flow, how long it holds, and what comes after."""

from dataclasses import replace

import numpy as np

from ..._core.errors import InputError
from ..._core.given import check_kind
from ...forecasts import Forecast
from ...records.schema import AXES
from ..description import Axis, Entry, Figure, Line, Panel, Scale, Span
from ..description.style import FORECAST, KERNEL, RICH, TEST, TEXTBOOK, TRAIN
from ._captions import powers
from ._content import Content
from ._forecast import forecast_marks
from ._time import scales_of, time_range

# The part of the kernel flow after its phase, which the run does not follow.
_AFTER = 0.25
_ONE = "kernel changed by its own size"
_PARTS = (("train", TRAIN), ("test", TEST))


def forecast(
    found: Forecast, *, time: str = "log", columns: int = 2, until: float | None = None
) -> Figure:
    r"""Describes the forecast of a run that has not begun.

    - **Takes** the arguments of [`plot.forecast`][lazyrich.plot.forecast]; `columns`, the number of
        panels beside each other; `until`, the end of a linear time axis, if not soon after the
        change.
    - **Raises** [`InputError`][lazyrich.InputError] for another word as `time`, and
        for a forecast without curves.
    """
    check_kind("found", found, Forecast, "a forecast of lr.forecast")
    scales = scales_of(time)
    if not found.curves:
        accepted = "has no curves to draw: run pilots (passage='pilot')"
        raise InputError("found", found.verdict, accepted)
    contents = [_fit(found, quantity) for quantity in ("accuracy", "loss")]
    contents = [content for content in (*contents, _movement(found)) if not content.empty]
    marks = forecast_marks(found)
    upright = list(marks.lines)
    if found.textbook > 0:
        upright.insert(0, Line(found.textbook, "(1/λ) log α, α = init_scale", TEXTBOOK, "y",
                               group="textbook"))  # fmt: skip
    if time == "both":
        columns = len(scales)
    elif columns > 1:
        columns = 3 if len(contents) == 3 else min(columns, len(contents))
    drawn: list[Panel] = []
    for place, content in enumerate(contents):
        for at, scale in enumerate(scales):
            row, column = (place, at) if time == "both" else divmod(place, columns)
            drawn.append(
                content.panel(
                    _axis(found, scale, marks.times, until),
                    _spans(marks.spans),
                    tuple(upright),
                    labelled=at == len(scales) - 1,
                    row=row,
                    column=column,
                )
            )
    return Figure(
        tuple(drawn),
        _caption(found),
        title=found.experiment,
        key=_key(drawn),
        share_x=True,
        share_y=time == "both",
    )


def _axis(found: Forecast, scale: Scale, marks: tuple[float, ...], until: float | None) -> Axis:
    marks = (*marks, found.textbook) if found.textbook > 0 else marks
    times = np.append(found.times, marks)
    events = [(found.t_fit, found.t_kernel_end, found.t50)]
    low, high = time_range(times, scale, events, [m for m in marks if m > 0], until)
    return Axis(AXES["1"].label, low, high, scale)


def _spans(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    return tuple(replace(span, label="half of the change") for span in spans)


def _fit(found: Forecast, quantity: str) -> Content:
    """The kernel flow on training and test data, faint after its phase, and the late values."""
    content = Content(quantity, quantity, "log" if quantity == "loss" else "linear")
    content.top = 1.0 if quantity == "accuracy" else None
    end = found.t_kernel_end if np.isfinite(found.t_kernel_end) else np.inf
    times = found.times
    for part, style in _PARTS:
        name = f"{part}_{quantity}"
        if name not in found.curves:
            continue
        values, held = found.curves[name], (times > 0) & (times <= end)
        content.curve(times[held], values[held], f"{part}, {found.curves_of}", style, label=part,
                      group=part)  # fmt: skip
        after = times >= (times[held][-1] if held.any() else end)
        if after.sum() > 1:
            faint = replace(style, opacity=_AFTER)
            content.curve(times[after], values[after], f"{part}, kernel flow after its phase",
                          faint, group="after")  # fmt: skip
    late = found.late.get(f"test_{quantity}")
    if isinstance(late, int | float) and found.verdict != "cannot_say":
        name = str(found.late.get("predictor", "end of the run"))
        content.line(float(late), f"test at the end, forecast: {name}", replace(RICH),
                     label="late,\nforecast", group="late")  # fmt: skip
    return content


def _movement(found: Forecast) -> Content:
    """How far kernel and parameters have moved, as shares of their initial size."""
    content = Content("movement", "change over initial size", "log")
    shown = found.times > 0
    content.curve(found.times[shown], found.indicator[shown], "change of the kernel, I", KERNEL,
                  label="kernel")  # fmt: skip
    content.curve(found.times[shown], found.phi_ratio[shown], "change of the parameters, ‖φ‖/‖θ₀‖",
                  replace(TEST, dash="dashdot"), label="parameters")  # fmt: skip
    if content.curves:
        content.line(1.0, _ONE, replace(FORECAST, dash="dotted"))
    return content


def _key(panels: list[Panel]) -> tuple[Entry, ...]:
    """What the panels have no labels for."""
    lines = {line.name: line for panel in panels for line in panel.lines if line.along == "y"}
    entries = [Entry(line.name, line.style) for line in lines.values()]
    spans = {span.name: span for panel in panels for span in panel.spans}
    return (*entries, *(Entry(span.name, span.style, "patch") for span in spans.values()))


def _caption(found: Forecast) -> str:
    verdict = found.verdict.replace("_", " ")
    text = f"Forecast of {found.experiment}: {verdict} (confidence: {found.confidence})."
    if np.isfinite(found.t_kernel_end):
        text += f" The kernel phase ends at t = {found.t_kernel_end:.3g}."
    if np.isfinite(found.t50):
        low, high = found.t50_interval
        text += f" Half of the change of the test score is expected at t = {found.t50:.3g}"
        text += f", from {low:.3g} to {high:.3g}." if np.isfinite(low + high) else "."
    text += f" Curves are the {found.curves_of}, training data dashed, test data solid"
    if found.is_by_pilots:
        return powers(f"{text}. Green is the interval.")
    text += (
        ", faint where the run "
        "is no longer in the kernel phase. Green are the end of that phase and the interval."
    )
    return powers(text)
