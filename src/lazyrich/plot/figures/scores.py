"""Test scores of a panel along a key, over those that were forecast."""

from ...studies import PanelResult
from ...sweeps import Sweep
from .._many import scores
from ._base import AbstractFigure, Drawing, check_varied


class Scores(AbstractFigure):
    """Test scores along a key, as [`plot.scores`][lazyrich.plot.scores] draws it.

    The panel has `forecast`, and runs with an accuracy.

    - **Takes** `along`, a key that the panel varies.
    """

    along: str

    def check(self, sweep: Sweep) -> None:
        check_varied(sweep, "along", self.along)

    def draw(self, result: PanelResult) -> Drawing:
        figure = scores(result.dataset, self.along)
        return Drawing(figure, figure.caption, figure.described)
