"""Forecast times of a panel's runs against the simulated ones."""

from ...studies import PanelResult
from ...sweeps.forecasts import num_timed
from .._many import forecasts
from ._base import AbstractFigure, Drawing
from ._scored import scored


class Forecasts(AbstractFigure):
    """Forecast and simulated times, as [`plot.forecasts`][lazyrich.plot.forecasts] draws them.

    The panel has `forecast`, and more than one run with both times.
    """

    def draw(self, result: PanelResult) -> Drawing | None:
        if not result.keys or num_timed(result.dataset) < 2:
            return None
        figure = forecasts(result.dataset)
        return Drawing(figure, f"{figure.caption} {scored(result.dataset)}", figure.described)
