"""Which figures a panel has."""

from collections.abc import Iterator

from ..._core.errors import InputError
from ...studies import Panel, PanelResult, Preset
from ...sweeps import Sweep
from ._base import AbstractFigure, Drawing
from .family import Family
from .forecasts import Forecasts
from .map import Map
from .rates import Rates
from .run import Run


def check_figure(panel: Panel, preset: Preset) -> None:
    """Raises [`InputError`][lazyrich.InputError] for a figure that the panel cannot have."""
    figure = _declared(panel.at(preset))
    if figure is not None:
        try:
            figure.check(Sweep.over(*panel.varied(preset)))
        except InputError as error:
            raise error.under("figure") from None


def figure_of(result: PanelResult) -> AbstractFigure:
    """The figure that a panel declares, or else one for as many keys as it varies."""
    declared = None if result.panel is None else _declared(result.panel)
    if declared is not None:
        return declared
    if Rates.suits(result):
        return Rates()
    if len(result.keys) == 2:
        return Map()
    if len(result.keys) > 2 and result.forecast is not None:
        return Forecasts()
    return Family() if result.keys else Run()


def drawings(result: PanelResult) -> Iterator[tuple[str, Drawing]]:
    """A panel's figures by name: its own, and forecast against simulated times."""
    figure = figure_of(result)
    wanted = {result.name: figure}
    if result.forecast is not None and not isinstance(figure, Forecasts):
        wanted[f"{result.name}-forecast"] = Forecasts()
    for name, one in wanted.items():
        drawing = one.draw(result)
        if drawing is not None:
            yield name, drawing


def _declared(panel: Panel) -> AbstractFigure | None:
    return None if panel.figure is None else AbstractFigure.from_table(panel.figure, "figure")
