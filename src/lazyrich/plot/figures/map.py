"""A panel as a phase diagram."""

from typing import Literal

import xarray as xr

from ..._core.errors import InputError
from ...maps import boundary, phase_diagram
from ...studies import PanelResult
from ...sweeps import Sweep
from .._many import map as plot_map
from ._base import AbstractFigure, Drawing, check_varied

# Outcomes without a long delay, and with one.
_EARLY, _LATE = ("immediate", "gradual"), ("grokked", "improved", "misgrokked")


class Map(AbstractFigure):
    r"""A phase diagram over two keys, as [`plot.map`][lazyrich.plot.map] draws it.

    - **Takes** `x` and `y`, the first two keys that the panel varies if left out; `delay`, whether
        to show $t_\mathrm{test}$ over $t_\mathrm{train}$ or the `difference` of the two.
    """

    x: str | None = None
    y: str | None = None
    delay: Literal["ratio", "difference"] = "ratio"

    def check(self, sweep: Sweep) -> None:
        check_varied(sweep, "x", self.x)
        check_varied(sweep, "y", self.y)

    def draw(self, result: PanelResult) -> Drawing | None:
        x = self.x or next((key for key in result.keys if key != self.y), None)
        y = self.y or next((key for key in result.keys if key != x), None)
        if x is None or y is None:
            return None
        dataset = result.dataset
        line = delay_boundary(dataset, x, y)
        expected = None
        if result.forecast is not None:
            expected = delay_boundary(dataset, x, y, "forecast_outcome")
        figure = plot_map(phase_diagram(dataset, x, y), line, self.delay, expected)
        return Drawing(figure, figure.caption, figure.described)


def delay_boundary(
    dataset: xr.Dataset,
    x: str,
    y: str,
    of: Literal["outcome", "forecast_outcome"] = "outcome",
) -> xr.Dataset | None:
    """The boundary from outcomes without a long delay to those with one; None without one."""
    if (dataset[of] == "missing").all() or dataset[x].dtype.kind not in "fiu":
        return None
    try:
        line = boundary(dataset, x, y, between=(_EARLY, _LATE), of=of)
    except InputError:  # no two runs of a line are there yet
        return None
    return line if line["place"].notnull().any() else None
