"""Optimisers of a panel beside the gradient flow."""

from ...studies import PanelResult
from .._many import rates
from ..describe import has_rates
from ._base import AbstractFigure, Drawing


class Rates(AbstractFigure):
    """Optimisers over their rates beside a flow, as [`plot.rates`][lazyrich.plot.rates] draws it.

    The panel varies `dynamics` over tables, of which one is a flow.
    """

    def draw(self, result: PanelResult) -> Drawing:
        figure = rates(result.dataset)
        return Drawing(figure, figure.caption, figure.described)

    @staticmethod
    def suits(result: PanelResult) -> bool:
        """Whether the runs are of a flow and of optimisers with rates."""
        return "dynamics" in result.keys and has_rates(result.dataset["dynamics"].values.tolist())
