"""Places of panels, and axes that several figures have."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ..description import Axis, Panel
from ..description.axis import range_of


def placed(panels: Sequence[Panel], columns: int) -> tuple[Panel, ...]:
    """Panels row by row, in so many columns."""
    found = []
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        found.append(replace(panel, row=row, column=column))
    return tuple(found)


def log_axis(label: str, *values: Float[np.ndarray, " _"]) -> Axis:
    """A logarithmic axis that shows all positive values."""
    low, high = range_of(*values, scale="log")
    return Axis(label, low, high, "log")


def linear_axis(label: str, *values: Float[np.ndarray, " _"]) -> Axis:
    """A linear axis that shows all values."""
    return Axis(label, *range_of(*values))


def key_axis(label: str, values: Float[np.ndarray, " _"]) -> Axis:
    """The axis of a swept number: logarithmic if all values are positive."""
    return log_axis(label, values) if np.all(values > 0) else linear_axis(label, values)


def some(values: Sequence[object], most: int) -> list[int]:
    """The places of the first value, the last and some between."""
    places = np.linspace(0, len(values) - 1, min(len(values), most)).round()
    return np.unique(places.astype(int)).tolist()
