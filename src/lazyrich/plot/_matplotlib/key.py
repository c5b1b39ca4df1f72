"""The key: what is not labelled inside the panels, below all of them."""

import textwrap
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..description import Entry
from .elements import line_style


def draw_key(figure: Figure, entries: tuple[Entry, ...], title: str) -> None:
    """Adds the key, in as many columns as fit; long labels of a single column are wrapped."""
    if not entries:
        return
    handles = [_sample(entry) for entry in entries]
    keywords: dict[str, Any] = {
        "handles": handles, "loc": "outside lower center", "frameon": False,
        "title": title or None, "borderpad": 0.1, "columnspacing": 1.2, "handlelength": 2.2,
        "labelspacing": 0.35, "handletextpad": 0.5,
    }  # fmt: skip
    renderer = figure._get_renderer()  # type: ignore[attr-defined]
    for columns in range(min(len(entries), 6), 0, -1):
        legend = figure.legend(ncols=columns, **keywords)
        for text in legend.get_texts():
            text.set_parse_math(False)
        fraction = legend.get_window_extent(renderer).width / (0.98 * figure.bbox.width)
        if fraction <= 1:
            return
        if columns > 1:
            legend.remove()
    longest = max(len(entry.label) for entry in entries)
    for text in legend.get_texts():
        text.set_text(textwrap.fill(text.get_text(), int(0.9 * longest / fraction)))


def _sample(entry: Entry) -> Artist:
    style = entry.style
    if entry.kind == "line":
        return Line2D([], [], label=entry.label, **line_style(style))
    edge = entry.ink if entry.hatch else "#8c8c8c"
    return Patch(
        facecolor=style.colour, alpha=style.opacity, hatch=entry.hatch, edgecolor=edge,
        linewidth=0 if entry.hatch else 0.5, label=entry.label,
    )  # fmt: skip
