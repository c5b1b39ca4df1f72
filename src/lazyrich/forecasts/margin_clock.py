r"""The law by which the standardised test margin grows, and its times.

Let $z$ be the median of the test margins over their standard deviation. The accuracy is about
$\Phi(z)$, with $\Phi$ the normal distribution, and passes one half at $z = 0$. After the fit $z$
grows with the logarithm of time, at a rate that depends on $z$, and little on learning rate, weight
decay and the scale of the start.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Float

_NORMAL = NormalDist()

Kind = Literal["wrong", "partly", "other"]
Trend = Literal["rises", "falls", "hardly changes"]


# AdamW with beta_2 = 0.98, where nearly all test samples are wrong at the fit: the rates up to and
# from a value of z. `python benchmarks/torch_remaining.py` prints them for its calibrating runs.
# The other constants were chosen so that eight in ten of these runs are in their intervals.
SLOW, FAST, TURN = 1.45, 2.2, -2.15
# The same, where a part of them is right at the fit: the rate at the end of the rise; and the value
# of z at the fit that divides the two.
_LATE, _PARTLY = 2.8, -1.0
# The highest rate that is extrapolated for other optimisers.
_HIGHEST = 2.5
# Below these rates z stands still.
_STILL: dict[Kind, float] = {"wrong": 0.4, "partly": 0.5, "other": 0.4}
# Errors of log t that eight in ten do not exceed: relative, and at least.
_SPREAD: dict[Kind, float] = {"wrong": 0.27, "partly": 0.5, "other": 0.5}
_FLOOR = 0.14
# The slope of now is that over the last factor of this in time, and of no fewer records than this.
_WINDOW, _FEWEST = 1.5, 4


@dataclass(frozen=True)
class MarginClock:
    r"""The standardised test margin of a training at its last record.

    - `now`, the time, a sum of learning rates or a step; `z`; `slope`, the present $dz / d\log t$;
        `kind`: whether nearly all test samples were `wrong` at the fit or a part of them was right
        (`partly`), for AdamW; or any `other` optimiser, whose rates are not known.
    """

    now: float
    z: float
    slope: float
    kind: Kind

    @property
    def trend(self) -> Trend:
        """Whether the margin grows at present: the one criterion of all that is said of it."""
        least = _STILL[self.kind]
        if self.slope > least:
            return "rises"
        return "falls" if self.slope < -least else "hardly changes"

    @property
    def is_still(self) -> bool:
        """Whether the margin does not grow yet, or no longer."""
        return self.trend != "rises"

    def is_past(self, accuracy: float) -> bool:
        """Whether z is that of an accuracy, or above."""
        return self.z >= _NORMAL.inv_cdf(accuracy)

    def time(self, accuracy: float) -> tuple[float, tuple[float, float]]:
        """When the test accuracy will be `accuracy`, and its interval."""
        ahead = self._ahead(_NORMAL.inv_cdf(accuracy))
        width = math.hypot(_SPREAD[self.kind] * ahead, _FLOOR)
        at = self.now * math.exp(ahead)
        return at, (max(at * math.exp(-width), self.now), at * math.exp(width))

    def _ahead(self, z: float) -> float:
        """The logarithm of the time at a value of z over that of now."""
        if self.kind == "other":
            return (z - self.z) / min(self.slope, _HIGHEST)
        if self.kind == "partly":
            # The rise begins slowly and ends at a known rate: the mean of both logarithms.
            return (z - self.z) / math.sqrt(min(self.slope, _LATE) * _LATE)
        return _log_time(z) - _log_time(self.z)


def _log_time(z: float) -> float:
    return (z - TURN) / (FAST if z > TURN else SLOW)


def margin_clock(
    times: Float[np.ndarray, " t"], z: Float[np.ndarray, " t"], fit: int, *, is_known: bool
) -> MarginClock | None:
    """The clock of a training whose data are fitted at the record `fit`.

    - **Takes** `is_known`, whether the optimiser is one whose rates are known.
    - None if there are too few records since. Values of `z` may be missing (NaN).
    """
    since = np.isfinite(z) & (times > 0) & (np.arange(len(z)) >= fit)
    since[1:] &= np.diff(times) > 0  # at a learning rate of 0 no time passes
    times, z = times[since], z[since]
    if len(times) < _FEWEST:
        return None
    first = int(np.searchsorted(times, times[-1] / _WINDOW))
    first = max(min(first, len(times) - _FEWEST), 0)
    x = np.log(times[first:])
    slope = float(np.polyfit(x - x[-1], z[first:], 1)[0])
    kind: Kind = ("partly" if z[0] > _PARTLY else "wrong") if is_known else "other"
    return MarginClock(float(times[-1]), float(z[-1]), slope, kind)


def z_of_accuracy(accuracy: Float[np.ndarray, " t"], chance: float) -> Float[np.ndarray, " t"]:
    """The standardised margin that belongs to an accuracy; NaN where it is not above chance.

    An unknown chance (NaN) counts as 0.
    """
    least = 0.0 if math.isnan(chance) else chance
    found = [_NORMAL.inv_cdf(a) if least < a < 1 else math.nan for a in accuracy.tolist()]
    return np.array(found)


def z_of_chance(chance: float) -> float:
    """The standardised margin at which the accuracy is chance; minus infinity if unknown."""
    return _NORMAL.inv_cdf(chance) if 0 < chance < 1 else -math.inf
