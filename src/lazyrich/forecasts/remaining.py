"""When a training will generalise, from its curves until now."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from .._core.shown import as_html, number, rows
from ..records import Thresholds, Transition, transition
from ..records.described import json_attribute, number_in
from ..records.summary import jsonable
from ..records.transition import thresholds_of
from ..records.transition.crossing import crossing
from .margin_clock import MarginClock, margin_clock, z_of_accuracy, z_of_chance
from .verdict import Confidence, Reason, Verdict, confidence_of, verdict_of

# By how many standard errors z must have risen, and be above that of chance, for a verdict. Without
# the number of test samples a few hundred are assumed.
_SURELY, _SAMPLES = 4.0, 300
# The largest beta_2 of the AdamW runs that calibrate.
_BETA = 0.98
# Weight decay times the sum of learning rates from which on a training without motion has ended.
_ENDED = 10.0
# The chance accuracies of the runs that calibrate are below this value. With few classes one half
# means nothing.
_CHANCE = 0.15


@dataclass(frozen=True)
class Remaining:
    r"""A forecast of a training by its curves until now. Times are those of the record.

    - `verdict`, `confidence`, `reasons` and `advice` are as in [`Forecast`][lazyrich.Forecast].
        The verdict is `grok` or `immediate`, depending on the delay, if the training generalises;
        `none` if it has settled and does not; otherwise `cannot_say`.
    - `now`, the time of the last record; `unit`, `t`, `step` or `epoch`. It is `step` for every
        record that has steps.
    - `t50`, at which the test accuracy is one half, where nearly all test samples are wrong at the
        fit; `t_test`, from which it is at least `Thresholds.test`; NaN where unknown.
        `t50_interval` and `t_test_interval` should contain them in eight of ten trainings that
        generalise.
    """

    verdict: Verdict
    confidence: Confidence
    reasons: tuple[str, ...]
    advice: str
    now: float
    t50: float
    t50_interval: tuple[float, float]
    t_test: float
    t_test_interval: tuple[float, float]
    unit: str

    def __str__(self) -> str:
        known = {
            name: f"{self.shown(time)}, from {self.shown(low)} to {self.shown(high)}"
            for name, time, (low, high) in (
                ("t50", self.t50, self.t50_interval),
                ("t_test", self.t_test, self.t_test_interval),
            )
            if not math.isnan(time)
        }
        return rows(
            verdict=f"{self.verdict} (confidence: {self.confidence})",
            now=self.shown(self.now),
            **known,
            next=self.advice,
            because=self.reasons[0] if self.reasons else "",
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    def shown(self, time: float) -> str:
        """A time with its unit."""
        return f"step {time:,.0f}" if self.unit == "step" else f"{self.unit} = {number(time)}"

    def summary(self) -> dict[str, Any]:
        """The forecast as a dictionary for JSON. Unknown values are None."""
        found: dict[str, Any] = jsonable(vars(self))
        return found


def remaining(record: xr.Dataset, thresholds: Thresholds | None = None) -> Remaining:
    r"""When a training that goes on will generalise, from the margins of its test samples.

    The margin of a test sample is the output of its class minus the largest other output. The
    median of the margins over their standard deviation, $z$, begins to grow at the fit, long before
    the accuracy does, which is about $\Phi(z)$ with $\Phi$ the normal distribution. For AdamW with
    $\beta_2 \le 0.98$ it grows by 1.45 for each factor of $e$ in time up to $z = -2.15$, then by
    2.2; where many test samples are right at the fit it grows late, and then by up to 2.8. For any
    other optimiser, and for logs, the present rate is extrapolated, with confidence `low`. The time
    is the sum of the learning rates where the record has it, and the learning rate is assumed to
    stay as it is.

    A record of a [`Monitor`][lazyrich.torch.Monitor] has $z$ as `test_margin_ratio`. For other
    records ([`record`][lazyrich.record]) $z$ is taken from the test accuracy, and is known once
    this is above chance.

    - **Takes** a record, which may be the record of a part of a training; `thresholds`, by default
        those in the record.
    - **Raises** [`InputError`][lazyrich.InputError] for a record without scores.
    - **Errors** are in `docs/remaining.md`, measured on additions modulo 23 to 31.
    - **Source** derived here.
    """
    thresholds = thresholds_of(record) if thresholds is None else thresholds
    events = transition(record, thresholds)
    said = _Said(record, thresholds, events)
    reason = _why_not(events)
    if reason:
        return said.nothing(reason)
    if not math.isnan(events.t_test):
        return said.reached()
    fit = said.place(events.t_train)
    clock = margin_clock(said.clock, said.z, fit, is_known=said.is_known)
    if clock is None:
        return said.nothing("there are too few records since the fit")
    return said.still() if clock.is_still else said.extrapolated(clock, fit)


def _why_not(events: Transition) -> str:
    """Why there can be no forecast; empty if there can be one."""
    if events.outcome == "failed":
        return "the training failed"
    if math.isnan(events.t_train):
        return "the training data are not fitted yet"
    if events.scored_by != "accuracy":
        return "only test accuracies are extrapolated"
    if events.chance > _CHANCE and math.isnan(events.t_test):
        text = f"the chance accuracy is {events.chance:.2g}, and no runs above {_CHANCE:g}"
        return f"{text} calibrate the times"
    return ""


class _Said:
    """The forecast of one record."""

    def __init__(self, record: xr.Dataset, thresholds: Thresholds, events: Transition):
        self.record, self.thresholds, self.events = record, thresholds, events
        self.events_at = record["time"].values.astype(float)
        by_step = "step" in record.coords
        self.times = record["step"].values.astype(float) if by_step else self.events_at
        self.unit = "step" if by_step else events.unit
        self.now = float(self.times[-1])
        self.clock = _clock(record)

    @property
    def z(self) -> np.ndarray:
        """The standardised test margin at every record."""
        if "test_margin_ratio" in self.record:
            found: np.ndarray = self.record["test_margin_ratio"].values
            return found
        return z_of_accuracy(self.record["test_accuracy"].values, self.events.chance)

    @property
    def is_known(self) -> bool:
        """Whether the optimiser is one whose rates are calibrated."""
        about = json_attribute(self.record, "monitor")
        betas = about.get("betas")
        second = betas[1] if isinstance(betas, list) and len(betas) == 2 else None
        return about.get("rule") == "adamw" and isinstance(second, float) and second <= _BETA

    @property
    def num_test(self) -> int:
        """The number of test samples; a few hundred if the record does not say."""
        given = json_attribute(self.record, "monitor").get("num_test")
        num = given[0] if isinstance(given, list) and given else None
        return num if isinstance(num, int) and num > 0 else _SAMPLES

    def place(self, time: float) -> int:
        """The first record at a time, or after it."""
        return min(int(np.searchsorted(self.events_at, time)), len(self.events_at) - 1)

    def nothing(self, reason: str) -> Remaining:
        """No forecast."""
        return self._made("cannot_say", [Reason(2, reason)], "Train on, and ask again later.")

    def still(self) -> Remaining:
        """The test margins do not grow."""
        decayed = number_in(self.record, "weight_decay") * float(self.clock[-1])
        if self.events.settled and "flow_time" in self.record and decayed >= _ENDED:
            reason = Reason(1, "scores, norm and test margins no longer change")
            return self._made(verdict_of(self.events), [reason], self.events.advice)
        return self.nothing("the test margins do not grow at present")

    def reached(self) -> Remaining:
        """The test accuracy is already high."""
        half = self._half()
        level = float(np.interp(self.events.t_test, self.events_at, self.times))
        return self._made(
            verdict_of(self.events),
            [Reason(0, f"the test accuracy is at least {self.thresholds.test:g}")],
            "It generalises: stop, or repeat with other seeds and with random labels.",
            (half, (half, half)),
            (level, (level, level)),
        )

    def extrapolated(self, clock: MarginClock, fit: int) -> Remaining:
        """The growth of the test margins, extrapolated."""
        passed = self._half()
        half = passed, (passed, passed)
        if math.isnan(passed) and (clock.kind == "wrong" or clock.z < 0):
            half = self._in_record(clock.time(0.5))
        level = self._in_record(clock.time(self.thresholds.test))
        reasons = [Reason(1, f"the standardised test margin is {clock.z:.2f}")]
        if not self.is_known:
            text = "the present rate is extrapolated, as for every optimiser but AdamW with"
            reasons.append(Reason(2, f"{text} beta_2 up to {_BETA:g}"))
        if math.isnan(self.events.chance):
            reasons.append(Reason(2, "the chance accuracy is not known"))
        if not self._rises(fit):
            text = "the test accuracy has not risen above chance yet: times hold if it generalises"
            return self._made(
                "cannot_say", [Reason(2, text), *reasons], "Train on, and ask again later.",
                half, level,
            )  # fmt: skip
        change = level[0] if math.isnan(half[0]) else half[0]
        fitted = float(self.times[fit])
        ratio = change / fitted if fitted > 0 else math.inf
        verdict: Verdict = "grok" if ratio >= self.thresholds.delay else "immediate"
        found = self._made(verdict, reasons, "", half, level)
        until = found.shown(found.t_test_interval[1])
        return replace(found, advice=f"Train to {until}, with random labels as a control.")

    def _half(self) -> float:
        """The time at which the test accuracy passed one half; NaN if it did not."""
        accuracy = self.record["test_accuracy"].values
        return crossing(self.times, accuracy, accuracy >= 0.5, 0.5)

    def _in_record(
        self, found: tuple[float, tuple[float, float]]
    ) -> tuple[float, tuple[float, float]]:
        """A time of the clock and its interval as times of the record, at the present rate."""
        rate = float(self.clock[-1] - self.clock[-2]) / float(self.times[-1] - self.times[-2])

        def time(at: float) -> float:
            return self.now + (at - float(self.clock[-1])) / rate

        at, (low, high) = found
        return time(at), (time(low), time(high))

    def _rises(self, fit: int) -> bool:
        """Whether z has surely risen since the fit, and is surely above that of chance."""
        z = self.z[fit:]
        z = z[np.isfinite(z)]
        error = math.sqrt((1 + z[-1] ** 2 / 2) / self.num_test)
        base = max(float(z[0]), z_of_chance(self.events.chance))
        return bool(z[-1] - base > _SURELY * error)

    def _made(
        self,
        verdict: Verdict,
        reasons: list[Reason],
        advice: str,
        half: tuple[float, tuple[float, float]] = (math.nan, (math.nan, math.nan)),
        level: tuple[float, tuple[float, float]] = (math.nan, (math.nan, math.nan)),
    ) -> Remaining:
        return Remaining(
            verdict=verdict,
            confidence=confidence_of(reasons),
            reasons=tuple(reason.text for reason in reasons),
            advice=advice,
            now=self.now,
            t50=half[0],
            t50_interval=half[1],
            t_test=level[0],
            t_test_interval=level[1],
            unit=self.unit,
        )


def _clock(record: xr.Dataset) -> np.ndarray:
    """Flow time where the record has it, otherwise its time."""
    if "flow_time" in record:
        flow: np.ndarray = record["flow_time"].values.astype(float)
        if bool(np.all(np.diff(flow) > 0)):
            return flow
    return record["time"].values.astype(float)
