"""Labels beside the ends of curves and above phases, none over another."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.text import Annotation

from ..description import Curve, Panel
from ..description.style import luminance

# The space between a panel and its labels, in points.
_GAP = 5.0
_SMALL = 6.3
# Labels of x axes may be longer than these by this factor.
_OVERHANG = 1.08
# Where a second x axis is below the first, in points, and the height of a line.
SECOND, _LINE = 30.0, 9.5


class _Wanted(NamedTuple):
    """A label that belongs to the point `(x, y)` in data coordinates."""

    x: float
    y: float
    text: str
    colour: str


def spread(
    wanted: Float[np.ndarray, " n"], sizes: Float[np.ndarray, " n"], low: float, high: float
) -> Float[np.ndarray, " n"]:
    """Positions of labels on a line, as near as possible to the wanted ones without an overlap.

    The sum of squares of all shifts is the least possible in the given order (isotonic regression),
    before the labels are moved into the range from `low` to `high`. If there is not enough room,
    they begin at `low`.
    """
    order = np.argsort(wanted, kind="stable")
    size = sizes[order]
    offsets = np.concatenate([[0.0], np.cumsum((size[1:] + size[:-1]) / 2)])
    blocks: list[tuple[float, int]] = []
    for value in wanted[order] - offsets:
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    base = np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
    top = high - offsets[-1] - size[-1] / 2
    placed = np.maximum(np.minimum(base, top), low + size[0] / 2) + offsets
    found = np.empty(len(wanted))
    found[order] = placed
    return found


def end_labels(axes: Axes, panel: Panel) -> list[Annotation]:
    """Adds the labels of curves and lines at the right of a panel; `place` moves them apart."""
    wanted = [_at_end(curve, panel) for curve in panel.curves if curve.label]
    wanted += [
        _Wanted(panel.x.high, line.at, line.label, line.style.colour)
        for line in panel.lines
        if line.label and line.along == "x"
    ]
    inside = [w for w in wanted if w is not None and panel.y.low <= w.y <= panel.y.high]
    return [_annotated(axes, w) for w in inside]


def _annotated(axes: Axes, wanted: _Wanted) -> Annotation:
    arrow: dict[str, Any] = {"arrowstyle": "-", "lw": 0.5, "shrinkA": 0, "shrinkB": 0}
    # Without `patchA` the line is not cut at the text, which takes long.
    arrow |= {"color": wanted.colour, "alpha": 0.6, "relpos": (-0.05, 0.5), "patchA": None}
    return axes.annotate(
        wanted.text, (wanted.x, wanted.y), (1.05, 0.5), textcoords="axes fraction",
        ha="left", va="center", color=_readable(wanted.colour), fontsize="small",
        linespacing=0.95, annotation_clip=False, arrowprops=arrow, parse_math=False,
    )  # fmt: skip


def _at_end(curve: Curve, panel: Panel) -> _Wanted | None:
    """The last point of a curve that is inside the panel."""
    x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float)
    inside = (x >= panel.x.low) & (x <= panel.x.high) & (y >= panel.y.low) & (y <= panel.y.high)
    found = np.flatnonzero(inside)
    if not len(found):
        return None
    last = found[-1]
    return _Wanted(float(x[last]), float(y[last]), curve.label, curve.style.colour)


def _readable(colour: str) -> str:
    """The colour, darkened until text in it can be read on white."""
    while luminance(colour) > 0.2:
        parts = [0.9 * int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        colour = to_hex((parts[0], parts[1], parts[2]))
    return colour


def place_end_labels(axes: Axes, labels: list[Annotation]) -> None:
    """Moves the labels at the right of a panel apart, once its size is known."""
    if not labels:
        return
    box, dots = axes.get_window_extent(), _dots(axes)
    renderer = axes.get_figure(root=True)._get_renderer()  # type: ignore[union-attr]
    sizes = np.array([_text_box(label, renderer).height + 0.5 * dots for label in labels])
    points = np.array([axes.transData.transform(label.xy)[1] for label in labels]) - box.y0
    at = spread(points, sizes, -4 * dots, box.height)
    for label, y in zip(labels, at, strict=True):
        label.set_position((1 + _GAP * dots / box.width, y / box.height))


def phase_labels(axes: Axes, panel: Panel) -> list[Annotation]:
    """Adds the labels of spans above a panel; `place_phase_labels` moves them apart."""
    found = []
    for span in panel.spans:
        low, high = max(span.low, panel.x.low), min(span.high, panel.x.high)
        if span.label and low < high:
            middle = np.sqrt(low * high) if panel.x.scale == "log" else (low + high) / 2
            found.append(
                axes.annotate(
                    span.label, (middle, 1.0), (0.5, 1.02), xycoords=("data", "axes fraction"),
                    textcoords="axes fraction", ha="center", va="bottom", fontsize=_SMALL,
                    color="#404040", annotation_clip=False, parse_math=False,
                    arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "#808080",
                                "shrinkA": 0, "shrinkB": 0, "relpos": (0.5, -0.15), "patchA": None},
                )
            )  # fmt: skip
    return found


def place_phase_labels(axes: Axes, labels: list[Annotation]) -> None:
    """Moves the labels above a panel apart, once its size is known."""
    if not labels:
        return
    box, dots = axes.get_window_extent(), _dots(axes)
    renderer = axes.get_figure(root=True)._get_renderer()  # type: ignore[union-attr]
    while len(labels) > 1:
        sizes = np.array([_text_box(label, renderer).width + 4 * dots for label in labels])
        if sizes.sum() <= box.width + 20 * dots:
            break
        labels = _shortened(labels)
    sizes = np.array([_text_box(label, renderer).width + 4 * dots for label in labels])
    x = np.array([axes.transData.transform((label.xy[0], 1.0))[0] for label in labels]) - box.x0
    at = spread(x, sizes, -20 * dots, box.width)
    for label, where, middle, size in zip(labels, at, x, sizes, strict=True):
        label.set_position((where / box.width, 1 + 4 * dots / box.height))
        if label.arrow_patch is not None:  # a line below its own text would look like a tick
            label.arrow_patch.set_visible(bool(abs(where - middle) > 0.5 * size))


def _shortened(labels: list[Annotation]) -> list[Annotation]:
    """Labels in two lines; if they are already, without the last and without the first."""
    wrapped = False
    for label in labels:
        if " " in label.get_text():
            label.set_text(label.get_text().replace(" ", "\n"))
            wrapped = True
    if wrapped:
        return labels
    labels[-1 if len(labels) % 2 == 0 else 0].remove()
    return labels[:-1] if len(labels) % 2 == 0 else labels[1:]


def wrap_axis_labels(axes: Sequence[Axes]) -> bool:
    """Wraps labels of axes that are longer than these; whether there are any."""
    found = False
    for one in axes:
        root: Any = one.get_figure(root=True)
        box, renderer = one.get_window_extent(), root._get_renderer()
        extent_x, extent_y = (
            side.label.get_window_extent(renderer) for side in (one.xaxis, one.yaxis)
        )
        for label, size, room in (
            (one.xaxis.label, extent_x.width, box.width * _OVERHANG),
            (one.yaxis.label, extent_y.height, box.height),
        ):
            text = _wrapped(label.get_text(), size / room)
            if text != label.get_text():
                label.set_text(text)
                found = True
        lines = one.get_xlabel().count("\n")
        for second in one.child_axes:
            second.spines["bottom"].set_position(("outward", SECOND + _LINE * lines))
    return found


def _wrapped(text: str, fraction: float) -> str:
    """A label in lines, if it takes more than the fraction 1 of its room."""
    if fraction <= 1 or not text:
        return text
    if "\n" not in text and " (" in text:
        return text.replace(" (", "\n(", 1)
    longest = max(map(len, text.split("\n")))
    lines = [textwrap.wrap(line, max(int(0.95 * longest / fraction), 8))
             for line in text.split("\n")]  # fmt: skip
    return "\n".join(part for line in lines for part in line)


def _dots(axes: Axes) -> float:
    """Pixels in a point."""
    return float(axes.get_figure(root=True).dpi) / 72  # type: ignore[union-attr]


def _text_box(label: Annotation, renderer: Any) -> Any:
    """The box of the text, without the line that leads to it."""
    return super(Annotation, label).get_window_extent(renderer)
