"""A figure as data."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .axis import Axis
from .elements import Band, Cells, Contours, Curve, Line, Span
from .style import Style


@dataclass(frozen=True, eq=False)
class Second:
    """A second x axis, whose values grow with those of the first.

    - `first`, `values`: points of both axes, increasing; in between and beyond they are
        interpolated and extrapolated linearly.
    """

    label: str
    first: np.ndarray
    values: np.ndarray

    @classmethod
    def proportional(cls, label: str, rate: float) -> "Second":
        """An axis whose values are `rate` times those of the first."""
        return cls(label, np.array([0.0, 1.0]), np.array([0.0, rate]))

    def of_first(self, x: ArrayLike) -> np.ndarray:
        """The values of this axis at places of the first."""
        return _through(self.first, self.values, x)

    def of_second(self, values: ArrayLike) -> np.ndarray:
        """The places on the first axis of values of this one."""
        return _through(self.values, self.first, values)


def _through(points: np.ndarray, values: np.ndarray, x: ArrayLike) -> np.ndarray:
    """The line through points, from minus to plus infinity."""
    at = np.asarray(x, dtype=float)
    piece = np.clip(np.searchsorted(points, at) - 1, 0, len(points) - 2)
    slopes = np.diff(values) / np.diff(points)
    return np.asarray(values[piece] + slopes[piece] * (at - points[piece]))


@dataclass(frozen=True, eq=False)
class Panel:
    """A pair of axes and what is drawn in them, from the bottom to the top in this order.

    - `name`, short, by which a panel can be chosen; `title`, above it.
    - `row`, `column`: its place; `height`, of its row relative to the others.
    - `second`, a second x axis.
    - `note`, a sentence in the middle of a panel that has nothing else.
    """

    name: str
    x: Axis
    y: Axis
    cells: tuple[Cells, ...] = ()
    spans: tuple[Span, ...] = ()
    bands: tuple[Band, ...] = ()
    contours: tuple[Contours, ...] = ()
    lines: tuple[Line, ...] = ()
    curves: tuple[Curve, ...] = ()
    title: str = ""
    note: str = ""
    row: int = 0
    column: int = 0
    height: float = 1.0
    second: Second | None = None


@dataclass(frozen=True)
class Entry:
    """A line of the key: `kind` says whether its sample is a line or mark, or a patch."""

    label: str
    style: Style
    kind: Literal["line", "patch"] = "line"
    hatch: str = ""
    ink: str = "#000000"


@dataclass(frozen=True, eq=False)
class Figure:
    """Panels with a key for all of them.

    - `panels`, each with a place of its own; `share_x`, `share_y`: whether panels of a column have
        one x axis, panels of a row one y axis.
    - `key`, what is not labelled inside the panels, with its title.
    - `title`, above all panels; `caption`, a sentence or two that say what the figure shows.
    """

    panels: tuple[Panel, ...]
    caption: str
    title: str = ""
    key: tuple[Entry, ...] = ()
    key_title: str = ""
    share_x: bool = False
    share_y: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        rows = max(panel.row for panel in self.panels) + 1
        return rows, max(panel.column for panel in self.panels) + 1
