"""Runs of a panel along one key."""

import json

from ...studies import PanelResult
from ...sweeps import Sweep
from .. import describe
from .._many import curves
from ._base import AbstractFigure, Drawing, check_varied


class Family(AbstractFigure):
    """Every run over time, coloured by `key`, as [`plot.curves`][lazyrich.plot.curves] draws it.

    - **Takes** `key`, the first key that the panel varies if left out.
    """

    key: str | None = None

    def check(self, sweep: Sweep) -> None:
        check_varied(sweep, "key", self.key)

    def draw(self, result: PanelResult) -> Drawing | None:
        key = self.key or next(iter(result.keys), None)
        if key is None:
            return None
        folder = None if result.panel is None else result.panel.folder
        figure = curves(result.dataset, key, result.published, folder)
        linear = describe.curves(
            result.dataset, key, result.published, folder, time="linear", columns=1
        )
        (axis,) = (axis for axis in result.sweep.axes if key in axis.keys)
        place = axis.keys.index(key)
        alike = len({json.dumps(point[place]) for point in axis.points}) < len(axis)
        rest = [name for name in axis.keys if name != key]
        others = f" Runs of one colour differ in {' and '.join(rest)}." if alike else ""
        return Drawing(figure, figure.caption + others, figure.described, linear)
