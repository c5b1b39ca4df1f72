"""Descriptions of figures as Plotly JSON, without Plotly."""

import html
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._core.given import check_kind
from ._plotly_cells import hatched, pattern, powers
from ._plotly_legend import add_legend
from .description import Axis, Band, Cells, Contours, Curve, Figure, Line, Panel, Span, Style
from .description.ticks import number_text

_DASHES = {
    "solid": "solid", "dashed": "dash", "dotted": "dot", "dashdot": "dashdot",
    "long": "longdash", "none": "solid",
}  # fmt: skip
_SYMBOLS = {
    "": "circle", "circle": "circle", "square": "square", "diamond": "diamond",
    "up": "triangle-up", "down": "triangle-down", "cross": "x-thin", "plus": "cross-thin",
    "star": "star", "dot": "circle", "tri": "y-down", "minus": "line-ew",
}  # fmt: skip
_THIN = ("cross", "plus", "tri", "minus")
_SEQUENCE = "Viridis"
_AROUND = [[0.0, "#e66101"], [0.5, "#f7f7f7"], [1.0, "#5e3c99"]]
# Parts of the width and of the height between panels; of the height that all gaps take together
# where panels share their x axis, which has numbers below the lowest only.
_GAP_X, _GAP_Y, _GAPS_SHARED = 0.12, 0.13, 0.2
# Pixels in a point, so that lines are as wide as in print.
_POINT = 1.33
_INK, _GRID = "#303030", "#e6e6e6"
# Log axes of so many decades have labels at powers of ten only; the most labels. With more than
# 0.7 decades for each label, Plotly has none between powers.
_DECADES, _PER_LABEL, _LABELS = 1.5, 0.71, 7
_PLAIN = (1e-5, 1e5)


def plotly(figure: Figure) -> dict[str, Any]:
    """A description as a Plotly figure: `data` and `layout`, ready for JSON.

    Every element is a trace with a name, so that hovering and the legend name it; spans are shapes.
    Elements of one group share an entry of the legend. Panels of a column that share their x axis
    share hovering. The numbers are those of the description, logarithms of contours to four decimal
    places; unknown ones are None. Cells with numbers have their `log10` as `z`, and the numbers as
    `customdata`. The caption is in `layout.meta.caption`. Names are escaped, because Plotly reads
    them as markup.
    """
    check_kind("figure", figure, Figure, "a description of lr.plot.describe")
    layout: dict[str, Any] = {
        "meta": {"caption": figure.caption},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "font": {"size": 13, "color": _INK},
        # Samples of lines are wide enough for two long dashes.
        "legend": {
            "groupclick": "togglegroup",
            "orientation": "h",
            "y": -0.12,
            "yanchor": "top",
            "itemwidth": 46,
        },
        "margin": {"l": 60, "r": 20, "t": 60 if figure.title else 30, "b": 60},
        "hovermode": "closest" if any(panel.cells for panel in figure.panels) else "x unified",
        "hoversubplots": "axis",
        "shapes": [],
        "annotations": [],
    }
    if figure.title:
        layout["title"] = {"text": _safe(figure.title)}
    if figure.key_title:
        layout["legend"]["title"] = {"text": _safe(figure.key_title)}
    data: list[dict[str, Any]] = []
    for place, panel in enumerate(figure.panels):
        axes = _axes_of(figure, place)
        layout |= _axes(figure, place)
        data += _traces(panel, axes)
        layout["shapes"] += [_shape(span, axes) for span in panel.spans]
        layout["annotations"] += _annotations(panel, axes)
    data = add_legend(data)
    for trace in data:
        if "colorbar" in trace:
            trace["colorbar"] |= _beside(layout, trace)
    return {"data": data, "layout": layout}


def _axes_of(figure: Figure, place: int) -> tuple[str, str]:
    """The names of the axes of a panel, such as `x2`, `y3`."""
    panel = figure.panels[place]
    first = place
    if figure.share_x:
        first = next(i for i, one in enumerate(figure.panels) if one.column == panel.column)
    return _numbered("x", first), _numbered("y", place)


def _numbered(letter: str, place: int) -> str:
    return letter if place == 0 else f"{letter}{place + 1}"


def _axes(figure: Figure, place: int) -> dict[str, Any]:
    panel, (x, y) = figure.panels[place], _axes_of(figure, place)
    rows, columns = figure.shape
    width = (1 - _GAP_X * (columns - 1)) / columns
    left = panel.column * (width + _GAP_X)
    heights = [max(p.height for p in figure.panels if p.row == row) for row in range(rows)]
    gap = _GAPS_SHARED / rows if figure.share_x else _GAP_Y
    unit = (1 - gap * (rows - 1)) / sum(heights)
    top = 1 - sum(heights[: panel.row]) * unit - panel.row * gap
    bottom = top - heights[panel.row] * unit
    side_y = _axis(panel.y) | {"domain": _within(bottom, top), "anchor": x}
    if figure.share_y and panel.column:
        first = next(i for i, one in enumerate(figure.panels) if one.row == panel.row)
        side_y |= {"matches": _numbered("y", first)}
    found = {_long(y): side_y}
    lowest = all(one.row <= panel.row for one in figure.panels if one.column == panel.column)
    if not figure.share_x or lowest:
        found[_long(x)] = _axis(panel.x) | {"domain": _within(left, left + width), "anchor": y}
    return found


def _beside(layout: dict[str, Any], trace: dict[str, Any]) -> dict[str, Any]:
    """The place of a colour bar: to the right of its panel, and as high."""
    _, right = layout[_long(trace["xaxis"])]["domain"]
    bottom, top = layout[_long(trace["yaxis"])]["domain"]
    return {"x": right, "y": (bottom + top) / 2, "len": top - bottom}


def _within(low: float, high: float) -> list[float]:
    return [max(low, 0.0), min(high, 1.0)]


def _long(name: str) -> str:
    return f"{name[0]}axis{name[1:]}"


def _axis(axis: Axis) -> dict[str, Any]:
    ends = np.array([axis.low, axis.high])
    found: dict[str, Any] = {
        "type": "log" if axis.scale == "log" else "linear",
        "range": (np.log10(ends) if axis.scale == "log" else ends).tolist(),
        "title": {"text": _safe(axis.text), "standoff": 8},
        "showline": True,
        "linecolor": _INK,
        "ticks": "outside",
        "gridcolor": _GRID,
        "zeroline": False,
        "exponentformat": "power",
        "automargin": True,
    }
    if axis.scale == "log":
        found["minor"] = {"ticks": "outside", "ticklen": 3}
        span = float(np.log10(axis.high / axis.low))
        if span >= _DECADES:
            # So few that Plotly labels powers of ten only, until a reader has zoomed in.
            found["nticks"] = int(min(span / _PER_LABEL, _LABELS))
        else:
            # Some between powers, as plain numbers where these are short. Without a format Plotly
            # shows the first digit of those between powers, 2 for 20.
            is_plain = _PLAIN[0] <= axis.low and axis.high <= _PLAIN[1]
            found |= {"nticks": 3, "tickformat": ",~g" if is_plain else "~e"}
    if axis.places:
        found["minor"] = {"ticks": ""}
        found["tickvals"] = [place.at for place in axis.places]
        found["ticktext"] = [_safe(place.label) for place in axis.places]
    return found


def _traces(panel: Panel, axes: tuple[str, str]) -> Iterator[dict[str, Any]]:
    """The traces of a panel, from the bottom to the top."""
    on = {"xaxis": axes[0], "yaxis": axes[1]}
    for cells in panel.cells:
        yield _cells(cells, panel) | on
        hatch = hatched(cells)
        if hatch is not None:
            yield hatch | {"name": _safe(cells.name), "legendgroup": cells.name} | on
    for band in panel.bands:
        yield _band(band) | on
    for contours in panel.contours:
        yield from (trace | on for trace in _contours(contours))
    for line in panel.lines:
        yield _line(line, panel) | on
    for curve in panel.curves:
        yield _curve(curve, panel) | on


def _curve(curve: Curve, panel: Panel) -> dict[str, Any]:
    style = curve.style
    mode = "+".join(
        word
        for word, wanted in (("lines", style.dash != "none"), ("markers", bool(style.marker)))
        if wanted
    )
    text = "%{text}<br>" if curve.texts else ""
    found: dict[str, Any] = {
        "type": "scatter",
        "mode": mode,
        "x": _numbers(curve.x),
        "y": _numbers(curve.y),
        "name": _safe(curve.name),
        "legendgroup": curve.group or curve.name,
        "opacity": style.opacity,
        "line": _line_style(style),
        "hovertemplate": f"{text}{_safe(panel.y.label)} %{{y:.4g}}",
        "connectgaps": False,
    }
    if style.marker:
        found["marker"] = _marker(style)
        if style.few and style.dash != "none":
            found["marker"]["maxdisplayed"] = 6
    if curve.texts:
        found["text"] = [_safe(text) for text in curve.texts]
    for letter, ends, at in (("x", curve.bars_x, curve.x), ("y", curve.bars_y, curve.y)):
        if ends is not None:
            reach = np.nan_to_num(np.maximum([at - ends[0], ends[1] - at], 0.0))
            found[f"error_{letter}"] = {
                "type": "data", "symmetric": False, "array": _numbers(reach[1]),
                "arrayminus": _numbers(reach[0]), "color": style.colour, "thickness": 0.8,
                "width": 0,
            }  # fmt: skip
    return found


def _marker(style: Style) -> dict[str, Any]:
    symbol = _SYMBOLS[style.marker]
    is_open = not style.filled and style.marker not in _THIN
    return {
        "symbol": f"{symbol}-open" if is_open or style.marker in _THIN else symbol,
        "size": 2 * style.size,
        "color": style.colour,
        "line": {"color": style.colour, "width": 1.2},
    }


def _line_style(style: Style) -> dict[str, Any]:
    width = _POINT * style.width
    return {"color": style.colour, "dash": _DASHES[style.dash], "width": width}


def _line(line: Line, panel: Panel) -> dict[str, Any]:
    across = panel.x if line.along == "x" else panel.y
    along, at = [across.low, across.high], [line.at, line.at]
    x, y = (along, at) if line.along == "x" else (at, along)
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "name": _safe(line.name),
        "legendgroup": line.group or line.name, "opacity": line.style.opacity,
        "line": _line_style(line.style), "hovertemplate": f"%{{{'y' if x is along else 'x'}:.4g}}",
    }  # fmt: skip


def _band(band: Band) -> dict[str, Any]:
    known = np.isfinite(band.low) & np.isfinite(band.high)
    x, low, high = band.x[known], band.low[known], band.high[known]
    return {
        "type": "scatter", "mode": "lines", "fill": "toself", "name": _safe(band.name),
        "x": _numbers([*x, *x[::-1]]), "y": _numbers([*low, *high[::-1]]),
        "line": {"width": 0}, "fillcolor": band.style.colour, "opacity": band.style.opacity,
        "legendgroup": band.group or band.name, "hoverinfo": "skip",
    }  # fmt: skip


def _cells(cells: Cells, panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "heatmap", "name": _safe(cells.name), "legendgroup": cells.name,
        "x": _numbers(cells.x), "y": _numbers(cells.y), "hoverongaps": False,
    }  # fmt: skip
    where = f"{_safe(panel.x.label)} %{{x:.4g}}<br>{_safe(panel.y.label)} %{{y:.4g}}"
    if cells.values is None or cells.colours is None:
        flat = np.where(cells.shown, 0.0, np.nan)
        found |= {"z": _rows(flat), "zmin": 0, "zmax": 1, "showscale": False, "showlegend": True,
                  "colorscale": [[0, cells.face], [1, cells.face]]}  # fmt: skip
        found["hovertemplate"] = f"{_safe(cells.name)}<br>{where}<extra></extra>"
        found["meta"] = {"hatch": pattern(cells)}
    else:
        colours = cells.colours
        shown = np.where(cells.shown, cells.values, np.nan)
        logs = np.log10(np.where(shown > 0, shown, np.nan))
        labelled = colours.at or tuple(10.0**p for p in powers(colours.low, colours.high))
        bar = {"title": {"text": _safe(colours.label)}, "tickvals": np.log10(labelled).tolist(),
               "ticktext": [number_text(at) for at in labelled], "thickness": 12}  # fmt: skip
        found |= {
            "z": _rows(logs), "customdata": _rows(shown), "colorbar": bar, "showlegend": False,
            "zmin": float(np.log10(colours.low)), "zmax": float(np.log10(colours.high)),
            "colorscale": _AROUND if colours.kind == "around" else _SEQUENCE,
            "hovertemplate": f"%{{customdata:.4g}}<br>{where}<extra></extra>",
        }  # fmt: skip
    if cells.texts is not None:
        found["text"] = [[_safe(str(text)) for text in row] for row in cells.texts.tolist()]
        found["hovertemplate"] = "%{text}<br>" + found["hovertemplate"]
    return found


def _contours(contours: Contours) -> Iterator[dict[str, Any]]:
    """A trace for each level, because levels of one trace are in equal steps.

    Each repeats the logarithms, so that these are rounded: errors of 0.01 % of z cannot be seen.
    """
    log_z = _rows(np.round(contours.log_z, 4))
    for level in contours.levels:
        at = float(np.log(level))
        yield {
            "type": "contour", "x": _numbers(contours.x), "y": _numbers(contours.y),
            "z": log_z, "name": _safe(f"{contours.name} {number_text(level)}"),
            "legendgroup": contours.name, "autocontour": False, "showscale": False,
            "contours": {"start": at, "end": at, "size": 1.0, "coloring": "none"},
            "line": {"color": contours.style.colour, "width": contours.style.width},
            "hoverinfo": "name",
        }  # fmt: skip


def _shape(span: Span, axes: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "rect", "xref": axes[0], "yref": f"{axes[1]} domain", "x0": span.low,
        "x1": span.high, "y0": 0, "y1": 1, "fillcolor": span.style.colour, "layer": "below",
        "opacity": span.style.opacity, "line": {"width": 0}, "name": _safe(span.name),
        "legendgroup": span.group or span.name,
    }  # fmt: skip


def _annotations(panel: Panel, axes: tuple[str, str]) -> list[dict[str, Any]]:
    """The title of a panel, and its note; the labels of phases."""
    at = {"xref": f"{axes[0]} domain", "yref": f"{axes[1]} domain", "showarrow": False}
    found = []
    if panel.title:
        found.append(at | {"x": 0.5, "y": 1.08, "text": _safe(panel.title), "yanchor": "bottom"})
    if panel.note:
        found.append(at | {"x": 0.5, "y": 0.5, "text": _safe(panel.note)})
    is_log = panel.x.scale == "log"
    for span in panel.spans:
        low, high = max(span.low, panel.x.low), min(span.high, panel.x.high)
        if span.label and low < high:
            ends = np.log10([low, high]) if is_log else np.array([low, high])
            found.append(
                at | {"xref": axes[0], "x": float(ends.mean()), "y": 1.0, "yanchor": "bottom",
                      "text": _safe(span.label), "font": {"size": 10}}
            )  # fmt: skip
    return found


def _safe(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", " ")


def _numbers(values: Any) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in np.asarray(values, dtype=float)]


def _rows(values: Any) -> list[list[float | None]]:
    return [_numbers(row) for row in values]
