"""Shares of runs, with exact intervals."""

import math
from typing import NamedTuple

from scipy import stats

from ._text import percent


class Share(NamedTuple):
    """`numbers`, a share and the ends of its exact 95 % interval, NaN of no runs; and in words."""

    numbers: tuple[float, float, float]
    text: str


def share_of(hits: int, num: int) -> Share:
    """The share of `hits` among `num` runs."""
    if not num:
        return Share((math.nan, math.nan, math.nan), f"{hits} of {num}")
    low, high = stats.binomtest(hits, num).proportion_ci(0.95, "exact")
    return Share((hits / num, low, high), f"{hits} of {num}, share [{low:.2g}, {high:.2g}]")


def share_text(share: float) -> str:
    """The share that is claimed."""
    return "all" if share == 1 else f"at least {percent(share)}"
