"""Colours, dashes and marks. They also differ in a grey print."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Dash = Literal["solid", "dashed", "dotted", "dashdot", "long", "none"]
Marker = Literal[
    "", "circle", "square", "diamond", "up", "down", "cross", "plus", "star", "dot", "tri", "minus"
]


@dataclass(frozen=True)
class Style:
    """How an element is drawn.

    - `colour`, as `#rrggbb`; `opacity`, from 0 to 1; `width` of the line, in points.
    - `dash`, `none` for marks without a line; `marker`, empty for a line without marks; `size` of
        the marks, in points; `filled`, whether marks are filled; `few`, whether a curve has marks
        at some of its points only, the first of them at `start` of the distance between two.
    """

    colour: str
    dash: Dash = "solid"
    width: float = 1.3
    marker: Marker = ""
    size: float = 3.2
    filled: bool = False
    few: bool = False
    start: float = 0.0
    opacity: float = 1.0


TRAIN = Style("#0b3c6f", "dashed")
TEST = Style("#d55e00")
KERNEL = Style("#4d4d4d", "long", 1.0)
RICH = Style("#4d4d4d", "dotted", 1.2)
TEXTBOOK = Style("#8c8c8c", "dashdot", 0.9)
PUBLISHED = Style("#404040", "none", marker="circle", size=2.8)
FORECAST = Style("#2e9e62", "long", 1.2)

# Of runs that are overlaid, after Okabe & Ito, from dark to light; each with a mark of its own.
_OVERLAID = ("#000000", "#d55e00", "#0072b2", "#cc79a7", "#009e73", "#e69f00", "#56b4e9")
_MARKERS: tuple[Marker, ...] = ("circle", "square", "diamond", "up", "down", "cross", "plus")


def overlaid(number: int) -> tuple[str, Marker]:
    """The colour and the mark of one of several runs in the same panel."""
    place = number % len(_OVERLAID)
    return _OVERLAID[place], _MARKERS[(place + number // len(_OVERLAID)) % len(_MARKERS)]


# Beside published circles and diamonds of forecasts.
_MARKED: tuple[Marker, ...] = ("square", "up", "cross", "down", "plus", "star", "tri")
# The largest number of curves that get marks of their own. With more, marks do not tell them apart.
_MOST_MARKED = 9


def by_value(values: Sequence[Any]) -> list[Style]:
    """The styles of the curves of some values of a key, which a grey print tells apart.

    Numbers are from dark to light, other values have the colours of overlaid runs. Unless there
    are many numbers, each has a mark of its own as well, at different places along the curves.
    """
    number = len(values)
    if number == 1:
        return [Style(sequence(0.0))]
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    found = []
    for place in range(number):
        colour = sequence(place / (number - 1)) if is_number else overlaid(place)[0]
        marker = _MARKED[(place + place // len(_MARKED)) % len(_MARKED)]
        is_marked = number <= _MOST_MARKED or not is_number
        start = place / number
        found.append(Style(colour, marker=marker if is_marked else "", few=True, start=start))
    return found


# Viridis up to 0.9 of its range, whose lightness grows: lighter colours cannot be seen on white.
_SEQUENCE = (
    (68, 1, 84), (72, 33, 115), (67, 62, 133), (56, 88, 140), (45, 112, 142), (37, 133, 142),
    (30, 155, 138), (42, 176, 127), (82, 197, 105), (134, 213, 73),
)  # fmt: skip


def sequence(fraction: float) -> str:
    """A colour between dark (0) and light (1)."""
    place = min(max(fraction, 0.0), 1.0) * (len(_SEQUENCE) - 1)
    below = min(int(place), len(_SEQUENCE) - 2)
    rest = place - below
    parts = zip(_SEQUENCE[below], _SEQUENCE[below + 1], strict=True)
    return "#" + "".join(f"{round(a + rest * (b - a)):02x}" for a, b in parts)


def luminance(colour: str) -> float:
    """The relative luminance of `#rrggbb`, from 0 (black) to 1 (white), as in a grey print."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
