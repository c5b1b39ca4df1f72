"""A figure in a page: a still image, and the same numbers for Plotly."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.figure

from . import description
from ._page import embedded
from ._plotly import plotly

# Pixels: the height of a panel, of one with cells, and that of everything around them.
_PANEL, _CELLS, _AROUND = 200, 300, 110
# Letters along the height of a panel.
_LINE = 20


@dataclass(frozen=True)
class Live:
    """What a template needs of a figure.

    - `image`, a still image, for print and for browsers without scripts; `alt`, its text.
    - `caption`; `views`, Plotly figures by the name of their button; one without `data` has those
        of the first. Without any, the figure is the still image.
    """

    image: str
    alt: str
    caption: str
    views: dict[str, dict[str, Any]]


def live(
    still: matplotlib.figure.Figure, caption: str, views: Mapping[str, description.Figure]
) -> Live:
    """A figure for a page from the one for print, and descriptions for the screen."""
    panels = [panel for figure in views.values() for panel in figure.panels]
    names = list(dict.fromkeys(panel.title or panel.y.label or panel.name for panel in panels))
    listed = f"Panels: {', '.join(names)}. " if names else ""
    pages = {name: _for_page(figure, name) for name, figure in views.items()}
    first = next(iter(pages.values()), None)
    for page in pages.values():
        # Views of the same numbers have them once.
        if page is not first and first is not None and page["data"] == first["data"]:
            del page["data"]
    return Live(embedded(still), f"{listed}The caption says what the figure shows.", caption, pages)


def _for_page(figure: description.Figure, view: str) -> dict[str, Any]:
    """A Plotly figure with all panels below each other, for pages of any width.

    The page shows the title, the caption and the key.
    """
    panels = tuple(replace(p, row=row, column=0) for row, p in enumerate(figure.panels))
    found = plotly(replace(figure, panels=panels, share_y=False))
    layout = found["layout"]
    layout.pop("title", None)
    layout |= {
        "meta": {"key": figure.key_title},
        "height": sum(_CELLS if p.cells else _PANEL for p in panels) + _AROUND,
        "showlegend": False,
        # What a reader hides stays hidden in the other views; the range of an axis does not.
        "uirevision": "page",
        # Plotly's buttons are above the labels of the phases.
        "margin": {"l": 60, "r": 16, "t": 56, "b": 70},
        "font": layout["font"] | {"family": "system-ui, sans-serif"},
    }
    for key, axis in layout.items():
        if key.startswith(("xaxis", "yaxis")):
            # Whole numbers between powers of ten after a zoom; an older Plotly ignores this.
            axis["minorloglabels"] = "complete"
            axis["uirevision"] = view
            axis["title"]["font"] = {"size": 13}
        if key.startswith("yaxis"):
            # A title is no longer than its panel is high.
            lines = textwrap.wrap(axis["title"]["text"], _LINE, break_long_words=False)
            axis["title"]["text"] = "<br>".join(lines)
        if key.startswith("xaxis"):
            axis |= {
                "showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "dot",
            }  # fmt: skip
    return found
