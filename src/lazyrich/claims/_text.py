"""Numbers of claims in words."""

import math

import numpy as np
from jaxtyping import Float

from ..sweeps.runs import levels
from .resample import median

# Values of a key of which each has its median shown, at most.
_SHOWN = 6


def shown(value: float) -> str:
    """A number with four digits; infinity is a time that did not come."""
    return "never" if math.isinf(value) else f"{value:.4g}"


def percent(share: float) -> str:
    """A share as a whole number of percent."""
    return f"{100 * share:.0f} %"


def interval(low: float, high: float) -> str:
    """An interval to stand behind its number, empty if there is none."""
    return "" if math.isnan(low) or low == high == math.inf else f" [{shown(low)}, {shown(high)}]"


def needed(num: int, min_num: int, what: str = "runs") -> str:
    """Why too few runs say nothing."""
    return f"{num} of {min_num} {what} needed"


def medians(values: Float[np.ndarray, " run"], x: Float[np.ndarray, " run"]) -> str:
    """The median of the values at each value of a key, where those are few."""
    places, place = levels(x)
    if not 1 < len(places) <= _SHOWN:
        return ""
    each = ", ".join(shown(median(values[place == i])) for i in range(len(places)))
    return f"; medians {each} at {', '.join(f'{v:g}' for v in places)}"
