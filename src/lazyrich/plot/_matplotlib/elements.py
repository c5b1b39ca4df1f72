"""Elements of a panel as artists."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, LogNorm

from ..description import Band, Cells, Colours, Contours, Curve, Line, Span, Style
from ..description.ticks import number_text
from .axes import set_ticks

DASHES: dict[str, Any] = {
    "solid": "-",
    "dashed": (0, (4, 1.6)),
    "dotted": (0, (1, 1.4)),
    "dashdot": (0, (5, 1.5, 1, 1.5)),
    "long": (0, (7, 2)),
    "none": "none",
}
MARKERS: dict[str, str] = {
    "": "none", "circle": "o", "square": "s", "diamond": "D", "up": "^", "down": "v",
    "cross": "x", "plus": "+", "star": "*", "dot": ".", "tri": "1", "minus": "_",
}  # fmt: skip
# The distance between two of few marks, as a fraction of the diagonal of the panel.
_EVERY = 0.22
# Of early and late, around white.
_AROUND = LinearSegmentedColormap.from_list("around", ["#e66101", "#f7f7f7", "#5e3c99"])


def line_style(style: Style) -> dict[str, Any]:
    """The keywords of a line or of marks."""
    return {
        "color": style.colour,
        "linestyle": DASHES[style.dash],
        "linewidth": style.width,
        "marker": MARKERS[style.marker],
        "markersize": style.size,
        "markerfacecolor": style.colour if style.filled else "none",
        "markeredgecolor": style.colour,
        "markeredgewidth": 0.8,
        "alpha": style.opacity,
    }


def draw_curve(axes: Axes, curve: Curve) -> None:
    """Draws a curve, its marks and its error bars."""
    style = line_style(curve.style)
    if curve.style.few:
        # Fractions of the length of the curve as it is seen, so that marks are evenly spaced.
        style["markevery"] = (_EVERY * curve.style.start, _EVERY)
    bars = [_reach(curve.x, curve.bars_x), _reach(curve.y, curve.bars_y)]
    if bars[0] is not None or bars[1] is not None:
        axes.errorbar(curve.x, curve.y, xerr=bars[0], yerr=bars[1], fmt="none",
                      ecolor=curve.style.colour, elinewidth=0.6, alpha=0.7)  # fmt: skip
    # Dashes over solid lines, so that both are seen where they agree.
    style["zorder"] = 2.0 if curve.style.dash == "solid" else 2.1
    axes.plot(curve.x, curve.y, label=curve.name, **style)


def _reach(at: Any, ends: Any) -> Any:
    """The lengths of error bars from their ends; none where an end is unknown."""
    return None if ends is None else np.nan_to_num(np.maximum([at - ends[0], ends[1] - at], 0.0))


def draw_line(axes: Axes, line: Line) -> None:
    """Draws a straight line across the panel."""
    style = {k: v for k, v in line_style(line.style).items() if not k.startswith("marker")}
    across = axes.axhline if line.along == "x" else axes.axvline
    across(line.at, label=line.name, zorder=1.8, **style)


def draw_span(axes: Axes, span: Span) -> None:
    """Shades an interval of x."""
    style: dict[str, Any] = {"color": span.style.colour, "alpha": span.style.opacity}
    axes.axvspan(span.low, span.high, linewidth=0, label=span.name, zorder=0.5, **style)


def draw_band(axes: Axes, band: Band) -> None:
    """Shades the area between two curves."""
    style: dict[str, Any] = {"color": band.style.colour, "alpha": band.style.opacity}
    axes.fill_between(band.x, band.low, band.high, linewidth=0, label=band.name, **style)


def draw_cells(axes: Axes, cells: Cells) -> None:
    """Draws the cells of a grid, with a colour bar if their colours mean numbers."""
    edges = (cells.x, cells.y)
    if cells.values is not None and cells.colours is not None:
        shown = np.ma.masked_array(cells.values, ~cells.shown)
        colours = cells.colours
        norm = LogNorm(colours.low, colours.high)
        mesh = axes.pcolormesh(*edges, shown, norm=norm, cmap=_map_of(colours), rasterized=True)
        _bar(axes, mesh, colours)
        return
    flat = np.ma.masked_array(np.zeros(cells.shown.shape), ~cells.shown)
    # A mesh has no seams between cells, and only polygons have hatches, in the colour of
    # their edges.
    axes.pcolormesh(*edges, flat, cmap=ListedColormap([cells.face]), rasterized=True)
    if cells.hatch:
        clear = ListedColormap(["none"])
        axes.pcolor(*edges, flat, cmap=clear, edgecolors=cells.ink, linewidth=0, hatch=cells.hatch)


def _map_of(colours: Colours) -> Colormap:
    return _AROUND if colours.kind == "around" else matplotlib.colormaps["viridis"]


def _bar(axes: Axes, mesh: Any, colours: Colours) -> None:
    assert axes.figure is not None
    extend = "both" if colours.beyond else "neither"
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.03, extend=extend, aspect=24)
    bar.outline.set_linewidth(0.5)
    if colours.at:
        bar.set_ticks(list(colours.at), labels=[_short(at) for at in colours.at], minor=False)
        bar.minorticks_off()
    else:
        set_ticks(bar.ax.yaxis, "log")
    if colours.label:
        bar.set_label(colours.label)


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def draw_contours(axes: Axes, contours: Contours) -> None:
    """Draws contours at round numbers, with these as labels."""
    levels = np.log(contours.levels)
    colour, width = contours.style.colour, contours.style.width
    lines = axes.contour(
        contours.x, contours.y, contours.log_z, levels, colors=colour, linewidths=width
    )
    lines.set(path_effects=[patheffects.withStroke(linewidth=width + 1.2, foreground="white")])
    names = {at: number_text(float(np.exp(at))) for at in levels}
    # Lines are whole below their labels, which a white edge keeps readable.
    for text in axes.clabel(lines, fontsize=6, fmt=names, inline=False):
        text.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])


def halo(artists: Sequence[Any], width: float) -> None:
    """Gives lines over coloured cells a white edge."""
    for artist in artists:
        artist.set_path_effects([patheffects.withStroke(linewidth=width, foreground="white")])
