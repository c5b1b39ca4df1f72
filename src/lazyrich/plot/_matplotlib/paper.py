"""The style of all figures: sizes of a paper's columns, small type, embedded fonts."""

from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure

from ..description import Figure as Described

Width = Literal["single", "double"]

WIDTHS: dict[str, float] = {"single": 3.4, "double": 7.0}
"""Widths in inches, those of one and of two columns."""

STYLE: Any = {
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.title_fontsize": 7.0,
    "figure.titlesize": 8.5,
    "figure.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.size": 1.6,
    "ytick.minor.size": 1.6,
    "hatch.linewidth": 0.5,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "savefig.dpi": 300,
    # Labels are plain text with Greek letters and exponents, which LaTeX would not read.
    "text.usetex": False,
    # Editable text with whole fonts in PDF and PostScript: many journals refuse Type 3.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "lazyrich",
}


def style() -> Any:
    """The style with the fonts of the user, and one that has every letter of ours after them."""
    return STYLE | {"font.family": [*matplotlib.rcParams["font.family"], "DejaVu Sans"]}


class PaperFigure(Figure):
    """A matplotlib figure with a `caption`, which is saved in the style of a paper.

    `described` is the description it was drawn from.

    Fonts are embedded in PDF files; other files have 300 dots per inch, unless `dpi` is given.
    """

    caption: str = ""
    described: Described | None = None

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """As that of matplotlib, with the style's fonts and resolution."""
        with matplotlib.rc_context(STYLE):
            super().savefig(fname, **kwargs)
