"""From a description to a matplotlib figure."""

from collections.abc import Sequence
from typing import Any, cast, overload

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure

from ..._core.errors import InputError
from ..._core.given import check_kind
from ..description import Figure, Panel
from .axes import apply_x, apply_y, set_ticks
from .elements import (
    draw_band,
    draw_cells,
    draw_contours,
    draw_curve,
    draw_line,
    draw_span,
    halo,
)
from .key import draw_key
from .labels import (
    SECOND,
    end_labels,
    phase_labels,
    place_end_labels,
    place_phase_labels,
    wrap_axis_labels,
)
from .paper import WIDTHS, PaperFigure, style

# Heights of a row of panels in inches, of what is below the last, and of a title or a line of key.
_ROW = {"single": 1.55, "double": 1.75}
_BELOW, _LINE = 0.35, 0.17
# Height of a second x axis, in inches.
_SECOND = 0.4
# Wrapped labels make panels smaller, for which other labels may be too long.
_MAX_WRAPS = 3


def check_width(width: str) -> None:
    """Raises [`InputError`][lazyrich.InputError] for a width that is not one of a paper."""
    if width not in WIDTHS:
        raise InputError("width", width, f"should be one of {', '.join(WIDTHS)}")


@overload
def draw(
    figure: Figure,
    *,
    width: str = ...,
    figsize: tuple[float, float] | None = ...,
    ax: None = ...,
) -> PaperFigure: ...
@overload
def draw(
    figure: Figure,
    *,
    width: str = ...,
    figsize: tuple[float, float] | None = ...,
    ax: Axes | Sequence[Axes],
) -> MatplotlibFigure: ...
def draw(
    figure: Figure,
    *,
    width: str = "double",
    figsize: tuple[float, float] | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> MatplotlibFigure:
    """Draws a description with matplotlib.

    - **Takes** `width`, that of one column (`single`, 3.4 inches) or two (`double`, 7.0 inches);
        `figsize`, width and height in inches instead; `ax`, axes of your own, one for each panel,
        which get no key and no title.
    - **Returns** a matplotlib figure whose `caption` says what it shows; with `ax`, that of the
        axes.
    - **Raises** [`InputError`][lazyrich.InputError] for another width, or another number of axes.
    """
    check_kind("figure", figure, Figure, "a description of lr.plot.describe")
    check_width(width)
    with matplotlib.rc_context(style()):
        if ax is not None:
            return _into(figure, [ax] if isinstance(ax, Axes) else list(ax))
        rows, columns = figure.shape
        lines = bool(figure.title) + np.ceil(len(figure.key) / 3)
        height = _BELOW + _LINE * lines
        height += _SECOND if any(panel.second for panel in figure.panels) else 0.0
        height += sum(_ROW[width] * panel.height for panel in figure.panels if panel.column == 0)
        made = PaperFigure(figsize=figsize or (WIDTHS[width], height), layout="constrained")
        made.caption, made.described = figure.caption, figure
        grid = made.add_gridspec(rows, columns, height_ratios=_heights(figure))
        axes: dict[tuple[int, int], Axes] = {}
        for panel in figure.panels:
            place = (panel.row, panel.column)
            share_x = _first(axes, column=panel.column) if figure.share_x else None
            share_y = _first(axes, row=panel.row) if figure.share_y else None
            axes[place] = made.add_subplot(grid[place], sharex=share_x, sharey=share_y)
        drawn = list(axes.values())
        labels = [_panel(one, panel) for one, panel in zip(drawn, figure.panels, strict=True)]
        _inner_labels(figure, axes)
        if figure.title:
            # A name is free text: it must not be read as mathematics.
            made.suptitle(figure.title, parse_math=False)
        draw_key(made, figure.key, figure.key_title)
        made.draw_without_rendering()
        for _ in range(_MAX_WRAPS):
            if not wrap_axis_labels(drawn):
                break
            made.draw_without_rendering()
        _place(drawn, labels)
        return made


def _into(figure: Figure, axes: list[Axes]) -> MatplotlibFigure:
    """Draws the panels into axes of the user."""
    if len(axes) != len(figure.panels):
        names = ", ".join(panel.name for panel in figure.panels)
        accepted = f"should be one for each panel ({names}); choose panels with `panels`"
        raise InputError("ax", f"{len(axes)} axes", accepted)
    labels = [_panel(one, panel) for one, panel in zip(axes, figure.panels, strict=True)]
    made = axes[0].get_figure(root=True)
    assert made is not None
    made.draw_without_rendering()
    _place(axes, labels)
    return made


def _heights(figure: Figure) -> list[float]:
    rows = figure.shape[0]
    return [max(p.height for p in figure.panels if p.row == row) for row in range(rows)]


def _first(axes: dict[tuple[int, int], Axes], **where: int) -> Axes | None:
    """The first axes in a row or a column, None if there are none yet."""
    place = 0 if "row" in where else 1
    (wanted,) = where.values()
    return next((one for at, one in axes.items() if at[place] == wanted), None)


def _place(axes: Sequence[Axes], labels: list[Any]) -> None:
    for one, (ends, phases) in zip(axes, labels, strict=True):
        place_end_labels(one, ends)
        place_phase_labels(one, phases)


def _panel(axes: Axes, panel: Panel) -> Any:
    """Draws a panel; returns its labels, which are placed later."""
    apply_x(axes, panel.x)
    apply_y(axes, panel.y)
    if panel.cells:
        # Lines over coloured cells have a white edge, and there is no grid.
        axes.spines[:].set_visible(True)
    else:
        axes.grid(True, which="major")
        axes.set_axisbelow(True)
    for cells in panel.cells:
        draw_cells(axes, cells)
    for span in panel.spans:
        draw_span(axes, span)
    for band in panel.bands:
        draw_band(axes, band)
    for contours in panel.contours:
        draw_contours(axes, contours)
    for line in panel.lines:
        draw_line(axes, line)
    for curve in panel.curves:
        draw_curve(axes, curve)
        if panel.cells and curve.style.dash != "none":
            halo(axes.get_lines()[-1:], curve.style.width + 1.6)
    axes.set_xlim(panel.x.low, panel.x.high)
    axes.set_ylim(panel.y.low, panel.y.high)
    phases = phase_labels(axes, panel)
    if panel.title:
        axes.set_title(panel.title, pad=12 if phases else 4, parse_math=False)
    if panel.note:
        axes.text(0.5, 0.5, panel.note, ha="center", va="center", transform=axes.transAxes,
                  bbox={"facecolor": "white", "edgecolor": "none"})  # fmt: skip
    if panel.second is not None:
        scales = (panel.second.of_first, panel.second.of_second)
        second = axes.secondary_xaxis("bottom", functions=scales)
        second.spines["bottom"].set_position(("outward", SECOND))
        set_ticks(cast(Any, second).xaxis, panel.x.scale)
        second.set_xlabel(panel.second.label)
    return end_labels(axes, panel), phases


def _inner_labels(figure: Figure, axes: dict[tuple[int, int], Axes]) -> None:
    """Removes labels that the panel below or to the left has as well."""
    for (row, column), one in axes.items():
        if figure.share_x and (row + 1, column) in axes:
            one.set_xlabel("")
            one.tick_params(labelbottom=False)
        if figure.share_y and (row, column - 1) in axes:
            one.set_ylabel("")
            one.tick_params(labelleft=False)
