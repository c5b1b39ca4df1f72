"""An axis: its quantity, scale and range."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from .ticks import Scale

# A range is widened on both sides by this fraction of it.
_MARGIN = 0.05


@dataclass(frozen=True)
class Place:
    """A value on an axis of scale `place`, at a whole number."""

    at: float
    label: str


@dataclass(frozen=True)
class Axis:
    """An axis.

    - `label`, its quantity; `unit`, empty for a pure number.
    - `scale`: `linear`, `log`, or `place` for values in a row without a scale; `low` and `high`,
        its range.
    - `places`: the values that have labels on an axis of scale `place`. On other scales these
        have labels where there is room for all of them, and otherwise round numbers.
    """

    label: str
    low: float
    high: float
    scale: Scale = "linear"
    unit: str = ""
    places: tuple[Place, ...] = ()

    def __post_init__(self) -> None:
        assert np.isfinite([self.low, self.high]).all(), (self.low, self.high)
        assert self.low < self.high, (self.low, self.high)
        assert self.scale != "log" or self.low > 0, self.low

    def least_gap(self) -> float:
        """The least distance of neighbouring places as a part of the axis, 0 without places."""
        if not self.places:
            return 0.0
        at = np.array([self.low, self.high, *sorted(place.at for place in self.places)])
        at = np.log(at) if self.scale == "log" else at
        return float(np.min(np.diff(at[2:]) / (at[1] - at[0]), initial=1.0))

    @property
    def text(self) -> str:
        """The label, with the unit in parentheses."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def range_of(
    *values: Shaped[np.ndarray, " _"], scale: Scale = "linear", margin: float = _MARGIN
) -> tuple[float, float]:
    """The range of all values, with a margin. It is never empty.

    On a log axis values that are not positive do not count.
    """
    known = [v[np.isfinite(v)] for v in (np.asarray(part, dtype=float) for part in values)]
    flat = np.concatenate([*known, np.zeros(0)])
    if scale == "log":
        flat = np.log(flat[flat > 0])
    if not flat.size:
        return (0.1, 10.0) if scale == "log" else (0.0, 1.0)
    low, high = float(flat.min()), float(flat.max())
    least = np.log(1.5) if scale == "log" else max(1e-6 * max(abs(low), abs(high)), 1e-300)
    if high - low < least:
        # A constant: a range around it in which the constant is in the middle.
        half = np.log(2) if scale == "log" else (abs(low) / 2 or 0.5)
        low, high = (low + high) / 2 - half, (low + high) / 2 + half
    extra = margin * (high - low)
    low, high = low - extra, high + extra
    if scale == "linear":
        return low, high
    # The exponential of a value below the least normal number can be zero.
    info = np.finfo(float)
    return float(max(np.exp(low), info.tiny)), float(np.exp(min(high, np.log(info.max))))


def is_wide(values: Float[np.ndarray, " _"]) -> bool:
    """Whether positive values span so many decades that a log axis shows more of them."""
    positive = values[np.isfinite(values) & (values > 0)]
    return positive.size > 0 and float(positive.max()) > 20 * float(positive.min())
