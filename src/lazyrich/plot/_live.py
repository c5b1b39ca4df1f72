"""A described figure in a page: a still image, and the same numbers for Plotly."""

from dataclasses import dataclass
from typing import Any

from . import description
from ._matplotlib import draw
from ._page import embedded
from ._plotly import plotly

# Pixels: the height of a row of panels, and that of everything around them.
_ROW, _AROUND = 200, 110


@dataclass(frozen=True)
class Live:
    """What a template needs of a figure.

    - `image`, a still image, for print and for browsers without scripts; `alt`, its text.
    - `caption`; `views`, Plotly figures by the name of their button.
    """

    image: str
    alt: str
    caption: str
    views: dict[str, dict[str, Any]]


def live(still: description.Figure, views: dict[str, description.Figure]) -> Live:
    """A figure for a page from its description for print, and those for the screen."""
    shown = list(dict.fromkeys(panel.y.label or panel.name for panel in still.panels))
    alt = f"Panels of the figure: {', '.join(shown)}. The caption says what they show."
    pages = {name: _for_page(figure, name) for name, figure in views.items()}
    return Live(embedded(draw(still)), alt, still.caption, pages)


def _for_page(figure: description.Figure, view: str) -> dict[str, Any]:
    """A Plotly figure that fills the width of a page, without a title and a key of its own."""
    found = plotly(figure)
    layout = found["layout"]
    for key in ("title", "meta"):  # the page has both
        layout.pop(key, None)
    layout |= {
        "height": _ROW * figure.shape[0] + _AROUND,
        "showlegend": False,
        # What a reader hides stays hidden in the other views; the range of an axis does not.
        "uirevision": "page",
        "margin": {"l": 60, "r": 16, "t": 40, "b": 70},
    }
    for key, axis in layout.items():
        if key.startswith(("xaxis", "yaxis")):
            axis["uirevision"] = view
        if key.startswith("xaxis"):
            axis |= {
                "showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "dot",
            }  # fmt: skip
    return found
