"""A forecast over a run: the kernel flow, the end of its phase, and when the score changes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...forecasts import Forecast
from ..description import Line, Span
from ..description.style import FORECAST, TEST, TRAIN
from ._content import Content


@dataclass(frozen=True)
class Marks:
    """What a forecast adds to a panel; `times`, to be within the axis."""

    spans: tuple[Span, ...] = ()
    lines: tuple[Line, ...] = ()
    times: tuple[float, ...] = ()


def forecast_marks(forecast: Forecast | Mapping[str, Any] | None) -> Marks:
    """The end of the kernel phase as a line, and the interval of the half time as a span."""
    if forecast is None:
        return Marks()
    said = forecast.summary() if isinstance(forecast, Forecast) else forecast
    end, middle = (_known(said.get(key)) for key in ("t_kernel_end", "t50"))
    low, high = map(_known, said.get("t50_interval") or (None, None))
    verdict = str(said.get("verdict", "")).replace("_", " ")
    lines, spans, times = [], [], []
    if np.isfinite(end):
        style = replace(FORECAST, width=1.0)
        lines.append(Line(end, "kernel phase ends, forecast", style, "y", group="forecast"))
        times.append(end)
    if np.isfinite(low) and high > 0:
        what = "interval of the half time" if np.isfinite(middle) else "half of the change"
        style = replace(FORECAST, opacity=0.3)
        spans.append(Span(low, high, f"{what}, forecast", style, group="forecast"))
        times.append(high)
    if np.isfinite(middle):
        name = f"half of the change, forecast ({verdict})"
        lines.append(
            Line(
                middle,
                name,
                replace(FORECAST, dash="dotted", width=1.6),
                "y",
                group="forecast",
            )
        )
        times.append(middle)
    return Marks(tuple(spans), tuple(lines), tuple(times))


def _known(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def kernel_flow(
    content: Content, forecast: Forecast | Mapping[str, Any] | None, quantity: str
) -> None:
    """Adds the curves of the kernel flow until the end of the kernel phase, or of a pilot."""
    said = vars(forecast) if isinstance(forecast, Forecast) else forecast
    if said is None or "curves" not in said:
        return
    times, end = np.asarray(said["times"], dtype=float), _known(said.get("t_kernel_end"))
    shown = times > 0
    if np.isfinite(end):
        shown &= times <= end
    name = str(said.get("curves_of", "kernel flow"))
    for part, style in (("train", TRAIN), ("test", TEST)):
        values = said["curves"].get(f"{part}_{quantity}")
        if values is not None:
            faint = replace(style, dash="dotted", width=2.6, opacity=0.4)
            content.curve(times[shown], np.asarray(values, dtype=float)[shown],
                          f"{part}, {name}", faint, group=name)  # fmt: skip
