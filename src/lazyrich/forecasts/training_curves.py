"""What a forecast during a training reads from its record."""

import math
from statistics import NormalDist

import numpy as np
import xarray as xr

from .._core.errors import InputError
from ..records.described import json_attribute
from ..records.transition.crossing import crossing
from .margin_clock import z_of_accuracy, z_of_chance

# By how many standard errors z must have risen, and be above that of chance, to have risen surely.
# Without the number of test samples a few hundred are assumed.
_SURELY, _SAMPLES, _MOST_SAMPLES = 4.0, 300, 10**12
# The largest beta_2 of the AdamW runs that calibrate.
BETA = 0.98
# Standardised margins beyond this size are no numbers of a training.
_LARGEST = 1e3
# The present learning rate over its mean until now, below which hardly anything moves any more.
RESTING = 0.01


class TrainingCurves:
    """The curves of a training.

    - `times`, the steps of the records, or their times where there are no steps; `unit`, of both;
        `now`, the last one; `clock`, the sum of learning rates where it is known, else `times`;
        `has_flow`, whether it is known.
    - **Raises** [`InputError`][lazyrich.InputError] for times that do not increase.
    """

    def __init__(self, record: xr.Dataset):
        units = str(record["time"].attrs.get("units", "1"))
        unit = units if units in ("step", "epoch") else "t"
        by_step = "step" in record.coords
        self.record = record
        self.events_at = _increasing(record, "time")
        self.times = _increasing(record, "step") if by_step else self.events_at
        self.unit = "step" if by_step else unit
        self.now = float(self.times[-1])
        self.clock, self.has_flow = self.events_at, unit == "t"
        if "flow_time" in record and record["flow_time"].dims == ("time",):
            flow = record["flow_time"].values.astype(float)
            if np.isfinite(flow).all() and (np.diff(flow) >= 0).all() and flow[-1] > 0:
                self.clock, self.has_flow = flow, True

    @property
    def is_resting(self) -> bool:
        """Whether the learning rate was so low at the last record that hardly anything moves."""
        if len(self.clock) > 1 and not self.clock[-1] > self.clock[-2]:
            return True
        return rates_of(self.record, self.times)[1] < RESTING

    @property
    def quantity(self) -> str:
        """What z is taken from, in words."""
        return "test margins" if self.has_margins else "test accuracy"

    @property
    def has_margins(self) -> bool:
        """Whether the record has margins of test samples."""
        found = self.record.get("test_margin_ratio")
        return found is not None and found.dims == ("time",) and found.dtype.kind == "f"

    def z(self, chance: float) -> np.ndarray:
        """The standardised test margin at every record; NaN where unknown."""
        if not self.has_margins:
            return z_of_accuracy(self.record["test_accuracy"].values, chance)
        found = self.record["test_margin_ratio"].values.astype(float)
        return np.where(np.abs(found) < _LARGEST, found, np.nan)

    @property
    def is_calibrated(self) -> bool:
        """Whether the optimiser is one whose rates are calibrated."""
        about = json_attribute(self.record, "monitor")
        betas = about.get("betas")
        second = betas[1] if isinstance(betas, list) and len(betas) == 2 else None
        return about.get("rule") == "adamw" and isinstance(second, float) and 0 <= second <= BETA

    @property
    def num_test(self) -> int:
        """The number of test samples; a few hundred if the record does not say."""
        given = json_attribute(self.record, "monitor").get("num_test")
        num = given[0] if isinstance(given, list) and given else None
        return num if type(num) is int and 0 < num < _MOST_SAMPLES else _SAMPLES

    def place(self, time: float) -> int:
        """The first record at a time of the transition, or after it."""
        return min(int(np.searchsorted(self.events_at, time)), len(self.times) - 1)

    def passed(self, accuracy: float) -> float:
        """The time at which the test accuracy first passed a level; NaN if it did not."""
        scores = self.record["test_accuracy"].values
        return crossing(self.times, scores, scores >= accuracy, accuracy)

    def from_clock(self, at: float) -> float:
        """A time of the clock as a time of the record, at the present learning rate."""
        rate = float(self.clock[-1] - self.clock[-2]) / float(self.times[-1] - self.times[-2])
        return self.now + (at - float(self.clock[-1])) / rate

    def doubt(self, fit: int, chance: float) -> str:
        r"""Why it is not sure that z rises: since the fit, or above chance; empty if it is.

        The standard error of the median of $n$ normal margins over their standard deviation is
        $\sqrt{(\pi/2 + z^2/2) / n}$; of $\Phi^{-1}$ of an accuracy $p$ it is
        $\sqrt{p (1 - p) / n} / \Phi'(z)$.
        """
        z = self.z(chance)[fit:]
        z = z[np.isfinite(z)]
        now = float(z[-1])
        if self.has_margins:
            variance = math.pi / 2 + now**2 / 2
        else:
            p, normal = NormalDist().cdf(now), NormalDist()
            variance = p * (1 - p) / normal.pdf(now) ** 2
        surely = _SURELY * math.sqrt(variance / self.num_test)
        if not now - z_of_chance(chance) > surely:
            return "the test accuracy is not above chance yet"
        if not now - float(z[0]) > surely:
            return f"the {self.quantity} may not have risen since the fit"
        return ""


def rates_of(record: xr.Dataset, steps: np.ndarray) -> tuple[float, float]:
    """The present learning rate, and its ratio to the mean until now; NaN where unknown.

    The rate is the largest of all groups of parameters: another than the main one may be trained.
    """
    if "learning_rate" not in record or record["learning_rate"].dims != ("time",):
        return math.nan, math.nan
    rates = record["learning_rate"].values.astype(float)
    others = json_attribute(record, "monitor").get("learning_rates")
    others = others if isinstance(others, list) else []
    now = max([float(rates[-1]), *(rate for rate in others if isinstance(rate, float))])
    if not steps[-1] > steps[0]:
        return now, math.nan
    mean = float(np.trapezoid(rates, steps) / (steps[-1] - steps[0]))
    if math.isnan(now + mean):
        return now, math.nan
    return now, now / mean if mean > 0 else (math.inf if now > 0 else 0.0)


def _increasing(record: xr.Dataset, name: str) -> np.ndarray:
    values = record[name].values
    numbers: np.ndarray = values.astype(float) if values.dtype.kind in "iuf" else np.array([np.nan])
    if not (np.isfinite(numbers).all() and (np.diff(numbers) > 0).all() and numbers[0] >= 0):
        raise InputError("record", name, "should be finite, not negative, and increase")
    return numbers
