"""What a figure of a panel is."""

import abc
from dataclasses import dataclass

from matplotlib.figure import Figure

from ..._core.description import Choice, small_letters
from ..._core.errors import InputError
from ...studies import PanelResult
from ...sweeps import Sweep
from ..description import Figure as Described


@dataclass(frozen=True)
class Drawing:
    """A matplotlib figure, and a sentence or two on what it shows.

    With `described`, the same figure as data, a page shows an interactive figure. With `linear`,
    the same over a linear time axis, the page has a switch between the two.
    """

    figure: Figure
    caption: str
    described: Described | None = None
    linear: Described | None = None

    @property
    def views(self) -> dict[str, Described]:
        """The interactive figures by the name of their button."""
        if self.described is None:
            return {}
        if self.linear is None:
            return {"all": self.described}
        return {"log": self.described, "linear": self.linear}


class AbstractFigure(Choice):
    """How the runs of a panel are drawn.

    In a panel's file it is the table `[figure]`, whose `kind` is the name of the class in small
    letters with underscores. A subclass adds its fields and `draw`.
    """

    @classmethod
    def kind_name(cls) -> str:
        return small_letters(cls.__name__)

    @abc.abstractmethod
    def draw(self, result: PanelResult) -> Drawing | None:
        """The figure of a panel's runs, None if they have nothing that it could show."""

    def check(self, sweep: Sweep) -> None:
        """Looks at a panel's runs before they are run; by default any will do.

        - **Raises** [`InputError`][lazyrich.InputError] if the figure cannot show such runs.
        """
        del sweep


def check_varied(sweep: Sweep, name: str, key: str | None) -> None:
    """Raises [`InputError`][lazyrich.InputError] if a key, where one is given, is not varied."""
    varied = [key for axis in sweep.axes for key in axis.keys]
    if key is not None and key not in varied:
        raise InputError(name, key, f"should be varied by the panel: {', '.join(varied)}")
