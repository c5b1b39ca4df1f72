"""What a figure shows, as data: panels, axes, curves, bands, lines, spans and cells.

A description knows no drawing library. [`plot.draw`][lazyrich.plot.draw] makes a matplotlib figure
of it, [`plot.plotly`][lazyrich.plot.plotly] a Plotly figure as JSON.
"""

from .axis import Axis as Axis, Place as Place
from .elements import (
    Band as Band,
    Cells as Cells,
    Colours as Colours,
    Contours as Contours,
    Curve as Curve,
    Line as Line,
    Span as Span,
)
from .figure import Entry as Entry, Figure as Figure, Panel as Panel, Second as Second
from .style import Style as Style
from .ticks import Scale as Scale, Ticks as Ticks, ticks as ticks
