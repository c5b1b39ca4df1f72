"""A panel while its content is collected."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..description import Axis, Curve, Line, Panel, Scale, Second, Span, Style
from ..description.axis import range_of


@dataclass
class Content:
    """What a panel over time will contain; its range of y follows from what is visible.

    - `bottom`, `top`: the range of y contains these values; `least`: smaller ones are cut off.
    """

    name: str
    label: str
    scale: Scale = "linear"
    bottom: float | None = None
    top: float | None = None
    least: float | None = None
    curves: list[Curve] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def curve(self, x: Any, y: Any, name: str, style: Style, **more: Any) -> None:
        """Adds a curve if it has a value that is known, and on a log axis positive."""
        values = np.asarray(y, dtype=float)
        if self.scale == "log":
            values = np.where(values > 0, values, np.nan)
        if np.isfinite(values).sum() == 1 and not style.marker:
            style = replace(
                style, marker="dot", size=6.0, filled=True
            )  # a line of one point is not seen
        if np.isfinite(values).any():
            self.curves.append(Curve(np.asarray(x, dtype=float), values, name, style, **more))

    def line(self, at: float, name: str, style: Style, **more: Any) -> None:
        """Adds a horizontal line if its value is known."""
        if np.isfinite(at) and (at > 0 or self.scale != "log"):
            self.lines.append(Line(float(at), name, style, **more))

    def panel(
        self,
        x: Axis,
        spans: tuple[Span, ...] = (),
        upright: tuple[Line, ...] = (),
        second: Second | None = None,
        *,
        labelled: bool = True,
        row: int = 0,
        column: int = 0,
    ) -> Panel:
        """The panel over a time axis; `labelled`, whether ends of curves have labels."""
        seen = [c.y[(c.x >= x.low) & (c.x <= x.high)] for c in self.curves]
        levels = np.array([line.at for line in self.lines])
        low, high = range_of(*seen, levels, scale=self.scale)
        if self.bottom is not None:
            low = min(low, self.bottom)
        if self.top is not None:
            high = max(high, self.top)
        shown = [c for c, y in zip(self.curves, seen, strict=True) if np.isfinite(y).any()]
        lines = [line for line in self.lines if low <= line.at <= high]
        upright = tuple(line for line in upright if x.low <= line.at <= x.high)
        spans = tuple(span for span in spans if span.high > x.low and span.low < x.high)
        if not labelled:
            shown = [replace(curve, label="") for curve in shown]
            lines = [replace(line, label="") for line in lines]
        if self.least is not None:
            low = max(low, min(self.least, high / 10))
        y = Axis(self.label, low, high, self.scale)
        return Panel(
            self.name, x, y, spans=spans, lines=(*upright, *lines),
            curves=tuple(shown), row=row, column=column, second=second,
        )  # fmt: skip

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw but published curves."""
        return all(curve.group == "published" for curve in self.curves)
