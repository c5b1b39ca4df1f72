"""A claim, what was measured, and how that is told."""

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from .._core.errors import InputError
from ..sweeps.runs import levels
from .claim import Claim
from .resample import median
from .sample import Sample

Holds = Literal["yes", "no", "cannot say"]

# The share of runs without the quantity from which on the others do not stand for all.
LEFT_OUT = 0.2
# Values of a key of which each has its median shown.
_SHOWN = 6


class Verdict(NamedTuple):
    """A claim, what was measured, and whether it holds.

    - `how`: what was measured; `published`: what it should be; `ours`: what it is, in words.
    - `holds`: `yes`, `no`, or `cannot say` where there are too few runs or the interval has
        room for both.
    - `estimate`, `low`, `high`: the number behind it and its 95 % interval, NaN without one.
    - `num_runs`, that were used; `num_never`, of these, in which a time did not come, which
        counts as later than all that came; `num_left_out`, in which there is no such quantity.
    """

    claim: Claim
    how: str
    published: str
    ours: str
    holds: Holds
    estimate: float
    low: float
    high: float
    num_runs: int
    num_never: int
    num_left_out: int


def told(
    claim: Claim,
    found: Sample,
    how: str,
    published: str,
    ours: str,
    numbers: tuple[float, float, float],
    holds: Holds,
    why: str,
) -> Verdict:
    """The verdict with its counts; nothing is said where too many runs are left out."""
    used, never = len(found.values), int(np.sum(found.never))
    # A share among those that have it is about no others.
    of_all = claim.kind != "share_above"
    if of_all and not why and found.num_left_out > LEFT_OUT * (used + found.num_left_out):
        holds, why = "cannot say", "too many runs without it"
    seeds = found.clusters
    of = f" of {len(np.unique(seeds[1]))} seeds" if seeds[0] == "seeds" else ""
    ours += f"; {used} {'run' if used == 1 else 'runs'}{of}"
    ours += f", {never} never" if never else ""
    ours += f", {found.num_left_out} left out" if found.num_left_out else ""
    ours += f"; {why}" if why else ""
    estimate, low, high = (n if math.isfinite(n) else math.nan for n in numbers)
    left_out = found.num_left_out
    return Verdict(claim, how, published, ours, holds, estimate, low, high, used, never, left_out)


def within(low: float, high: float, band: tuple[float, float], why: str) -> Holds:
    """Whether an interval lies inside of a band, outside, or neither."""
    if why or math.isnan(low):
        return "cannot say"
    if band[0] <= low and high <= band[1]:
        return "yes"
    return "no" if high < band[0] or low > band[1] else "cannot say"


def along_of(claim: Claim, found: Sample) -> Float[np.ndarray, " run"]:
    """The values of the key that a claim goes along.

    - **Raises** [`InputError`][lazyrich.InputError] if they are not numbers.
    """
    x = found.runs.key(str(claim.along), "along")
    if x.dtype.kind not in "fiu":
        raise InputError("along", claim.along, "should be a key whose values are numbers")
    return x.astype(float)


def medians(found: Sample, x: Float[np.ndarray, " run"]) -> str:
    """The median at each value of the key, where they are few."""
    places, place = levels(x)
    if not 1 < len(places) <= _SHOWN:
        return ""
    each = ", ".join(shown(median(found.values[place == i])) for i in range(len(places)))
    return f"; medians {each} at {', '.join(f'{v:g}' for v in places)}"


def shown(value: float) -> str:
    """A number with four digits; infinity is a time that did not come."""
    return "never" if math.isinf(value) else f"{value:.4g}"


def interval(low: float, high: float) -> str:
    """An interval to stand behind its number, empty if there is none."""
    return "" if math.isnan(low) or low == high == math.inf else f" [{shown(low)}, {shown(high)}]"


def few(num: int, needed: int, missing: int) -> str:
    """Why too few runs say nothing."""
    return f"{missing} runs are missing" if missing else f"{num} of {needed} runs needed"
