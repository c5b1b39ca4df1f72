"""Axes: scale, range, and ticks that follow the range that is shown."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis as Side, XAxis
from matplotlib.ticker import Formatter, Locator, NullFormatter

from ..description import Axis, Place, Scale, Ticks, ticks

# Room for one label, in points: the height of a line, and the width of a short number.
_ROOM_X, _ROOM_Y = 34.0, 17.0


def _room(side: Any) -> float:
    """How many labels an axis has room for."""
    axes = side.axes
    box = axes.get_window_extent()
    dots = axes.get_figure(root=True).dpi / 72
    along_x = isinstance(side, XAxis)
    return float((box.width / _ROOM_X if along_x else box.height / _ROOM_Y) / dots)


def _ticks_of(side: Any, scale: Scale, places: tuple[Place, ...]) -> Ticks:
    low, high = map(float, sorted(side.get_view_interval()))
    if not low < high or (scale == "log" and low <= 0):
        return Ticks((), ())
    shown = Axis("", low, high, scale, places=tuple(p for p in places if low <= p.at <= high))
    if shown.least_gap() * _room(side) >= 1:
        return Ticks(tuple(p.at for p in shown.places), tuple(p.label for p in shown.places))
    return ticks(low, high, scale, min(max(int(_room(side)), 2), 7))


class _Locator(Locator):
    def __init__(self, scale: Scale, places: tuple[Place, ...], minor: bool) -> None:
        self.scale, self.places, self.minor = scale, places, minor

    def __call__(self) -> Any:
        found = _ticks_of(self.axis, self.scale, self.places)
        return list(found.minor if self.minor else found.major)

    def tick_values(self, vmin: float, vmax: float) -> Any:
        found = ticks(vmin, vmax, self.scale)
        return list(found.minor if self.minor else found.major)


class _Formatter(Formatter):
    def __init__(self, scale: Scale, places: tuple[Place, ...]) -> None:
        self.scale, self.places = scale, places

    def __call__(self, x: float, pos: int | None = None) -> str:
        del pos
        found = _ticks_of(self.axis, self.scale, self.places)
        near = {f"{at:.9g}": text for at, text in zip(found.major, found.labels, strict=True)}
        return near.get(f"{x:.9g}", "")


def set_ticks(side: Side, scale: Scale, places: tuple[Place, ...] = ()) -> None:
    """Gives an axis ticks by the rule of the description, for any range that is shown.

    These are at `places` where there is room for a label at each of those that are shown.
    """
    side.set_major_locator(_Locator(scale, places, minor=False))
    side.set_major_formatter(_Formatter(scale, places))
    side.set_minor_locator(_Locator(scale, places, minor=True))
    side.set_minor_formatter(NullFormatter())


def apply_x(axes: Axes, axis: Axis) -> None:
    """Makes the x axis of a panel."""
    if axis.scale == "log":
        axes.set_xscale("log")
    _side(axes.xaxis, axis)
    axes.set_xlim(axis.low, axis.high)


def apply_y(axes: Axes, axis: Axis) -> None:
    """Makes the y axis of a panel."""
    if axis.scale == "log":
        axes.set_yscale("log")
    _side(axes.yaxis, axis)
    axes.set_ylim(axis.low, axis.high)


def _side(side: Any, axis: Axis) -> None:
    if axis.scale == "place":
        side.set_ticks([place.at for place in axis.places], [place.label for place in axis.places])
        for label in side.get_ticklabels():
            label.set_parse_math(False)
        side.set_tick_params(which="minor", size=0)
    else:
        set_ticks(side, axis.scale, axis.places)
    side.set_label_text(axis.text, parse_math=False)
