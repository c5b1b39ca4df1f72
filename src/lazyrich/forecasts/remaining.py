"""When a training will generalise, from its curves until now."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from .._core.shown import as_html, number, rows
from ..records import Thresholds, Transition, transition
from ..records.described import check_record, number_in
from ..records.summary import jsonable
from ..records.transition import thresholds_of
from .margin_clock import MarginClock, margin_clock
from .training_curves import BETA, TrainingCurves
from .verdict import Confidence, Reason, Verdict, confidence_of, verdict_of

# Weight decay times the sum of learning rates from which on a training without motion has ended.
_ENDED = 10.0
# The chance accuracies of the runs that calibrate are below this value. Above it many test samples
# are right by chance, and z begins near zero.
_CHANCE = 0.15
# Above it a test accuracy of one half says nothing, as with two classes.
_CHANCE_OF_TWO = 0.4

LATER = "Train on, and ask again later."
"""The advice where nothing can be said yet, but can be later."""

_STOP = "It generalises: stop, or repeat with other seeds and with random labels."
_ENDED_ADVICE = "More training data, or another weight decay: a longer training changes little."
_Time = tuple[float, tuple[float, float]]
_UNKNOWN: _Time = (math.nan, (math.nan, math.nan))


@dataclass(frozen=True)
class Remaining:
    r"""A forecast of a training by its curves until now. Times are those of the record.

    - `verdict`, `confidence`, `reasons` and `advice` are as in [`Forecast`][lazyrich.Forecast].
        The verdict is `grok` or `immediate`, depending on the delay, if the training generalises.
        It is that of the transition if this is past, or if nothing moves any more; otherwise it is
        `cannot_say`.
    - `now`, the time of the last record; `unit`, `t`, `step` or `epoch`. It is `step` for every
        record that has steps.
    - `t_half`, at which the test accuracy is one half, NaN if chance is about one half, as with two
        classes; `t_test`, from which it is at least `Thresholds.test`; NaN where unknown.
        `t_half_interval` and `t_test_interval` should contain them in eight of ten trainings that
        generalise.
    """

    verdict: Verdict
    confidence: Confidence
    reasons: tuple[str, ...]
    advice: str
    now: float
    t_half: float
    t_half_interval: tuple[float, float]
    t_test: float
    t_test_interval: tuple[float, float]
    unit: str

    def __str__(self) -> str:
        known = {
            name: f"{self.shown(time)}, from {self.shown(low)} to {self.shown(high)}"
            if time > self.now
            else f"{self.shown(time)} (passed)"
            for name, time, (low, high) in (
                ("t_half", self.t_half, self.t_half_interval),
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
    other optimiser, for logs, and where the chance accuracy is above 0.15, as with few classes, the
    present rate is extrapolated, with confidence `low`, and no time is given until $z$ is above its
    value at the fit and above that of chance, both by four standard errors. The time
    is the sum of the learning rates where the record has it, and the learning rate is assumed to
    stay as it is.

    A record of a [`Monitor`][lazyrich.torch.Monitor] has $z$ as `test_margin_ratio`. For other
    records ([`record`][lazyrich.record]) $z$ is taken from the test accuracy, and is known once
    this is above chance.

    - **Takes** a record, which may be the record of a part of a training; `thresholds`, by default
        those in the record.
    - **Raises** [`InputError`][lazyrich.InputError] for a record without scores, or whose times or
        steps do not increase.
    - **Errors** are in `docs/how-to/remaining.md`, measured on additions modulo 23 to 31.
    - **Source** derived here.
    """
    check_record(record)
    curves = TrainingCurves(record)
    thresholds = thresholds_of(record, thresholds)
    events = transition(record, thresholds)
    outlook = _Outlook(curves, thresholds, events)
    reason = _never(events, thresholds)
    if reason:
        return outlook.nothing(reason, "Judge the training by its transition when it has ended.")
    if math.isnan(events.t_train):
        return outlook.nothing("the training data are not fitted yet")
    if not math.isnan(events.t_test):
        return outlook.reached()
    return outlook.ahead()


def margins_now(record: xr.Dataset) -> MarginClock | None:
    """How the test margins grow at present, as [`remaining`][lazyrich.remaining] sees it.

    Before the fit, or if there are too few records since, all records count. None without enough
    records that have margins.
    """
    curves, events = TrainingCurves(record), transition(record)
    if not curves.has_margins:
        return None
    outlook = _Outlook(curves, thresholds_of(record), events)
    since_fit = None if math.isnan(events.t_train) else outlook.clock(curves.place(events.t_train))
    return since_fit or outlook.clock(0)


def _never(events: Transition, thresholds: Thresholds) -> str:
    """Why there can be no forecast at any time; empty if there can be one."""
    if events.outcome == "unscored":
        return "all test labels are the same: pass more test samples, or other ones"
    if events.outcome == "failed":
        return "the training failed"
    if events.scored_by != "accuracy" or thresholds.loss is not None:
        return "only test accuracies are extrapolated"
    if thresholds.test >= 1:
        return "a test accuracy of 1 is not extrapolated"
    if events.chance >= thresholds.test:
        level = f"not below the level {thresholds.test:g}"
        return f"the chance accuracy is {events.chance:.3g}, {level}"
    return ""


class _Outlook:
    """The forecast of one record."""

    def __init__(self, curves: TrainingCurves, thresholds: Thresholds, events: Transition):
        self.curves, self.thresholds, self.events = curves, thresholds, events

    @property
    def few_classes(self) -> bool:
        """Whether chance is above the range of the runs that calibrate; False if unknown."""
        return self.events.chance > _CHANCE

    @property
    def half_is_chance(self) -> bool:
        """Whether chance is about one half; False if unknown."""
        return self.events.chance > _CHANCE_OF_TWO

    def nothing(self, reason: str, advice: str = LATER) -> Remaining:
        """No forecast."""
        return self._made("cannot_say", [Reason(2, reason)], advice)

    def reached(self) -> Remaining:
        """The test accuracy has been high for long enough."""
        curves, verdict, half = self.curves, verdict_of(self.events), self._half()
        level = float(np.interp(self.events.t_test, curves.events_at, curves.times))
        level_reason = Reason(0, f"the test accuracy was at least {self.thresholds.test:g}")
        good = verdict in ("grok", "immediate")
        return self._made(
            verdict, [level_reason], _STOP if good else self.events.advice,
            (half, (half, half)), (level, (level, level)),
        )  # fmt: skip

    def _half(self) -> float:
        """The time at which the test accuracy passed one half; NaN if that says nothing."""
        return math.nan if self.half_is_chance else self.curves.passed(0.5)

    def clock(self, fit: int) -> MarginClock | None:
        """The growth of the margins from the record `fit` on; None if there are too few records."""
        known = self.curves.is_calibrated and not self.few_classes
        z = self.curves.z(self.events.chance)
        return margin_clock(self.curves.clock, z, fit, is_known=known)

    def ahead(self) -> Remaining:
        """The growth of the test margins, extrapolated if it can be."""
        curves, chance = self.curves, self.events.chance
        if curves.is_resting:
            reason = "the learning rate is 0, or so low that hardly anything moves"
            return self.nothing(reason, "Raise the learning rate if the training should go on.")
        fit = curves.place(self.events.t_train)
        clock = self.clock(fit)
        if clock is None:
            what = curves.quantity if curves.has_margins else f"{curves.quantity} above chance"
            return self.nothing(f"there are too few records since the fit with known {what}")
        if clock.is_past(self.thresholds.test):
            return self.nothing("the test accuracy is near its level, and has not held it yet")
        if clock.is_still:
            return self._still()
        doubt = curves.doubt(fit, chance)
        if doubt and (self.few_classes or not curves.is_calibrated):
            # Times at which nothing is sure yet are far off where no runs calibrate the rate. With
            # few classes, accuracies that say nothing are near one half, and so is z near zero.
            which = f"for all but AdamW with beta_2 up to {BETA:g}"
            if self.few_classes:
                which = f"with a chance accuracy of {chance:.3g}, above {_CHANCE:g},"
            return self.nothing(f"{which} no times are given before they are sure: {doubt}")
        half = self._half()
        around = half, half
        if math.isnan(half) and clock.z < 0 and not self.half_is_chance:
            half, around = self._in_record(clock.time(0.5))
        level = self._in_record(clock.time(self.thresholds.test))
        return self._judged(clock, fit, doubt, (half, around), level)

    def _judged(
        self, clock: MarginClock, fit: int, doubt: str, half: _Time, level: _Time
    ) -> Remaining:
        """Verdict and reasons for given times."""
        curves, chance = self.curves, self.events.chance
        source = "" if curves.has_margins else ", taken from the test accuracy"
        reasons = [Reason(1, f"test margins grow: standardised they are {clock.z:.2f}{source}")]
        if math.isnan(chance):
            reasons.insert(0, Reason(2, "the chance accuracy is not known"))
        if not curves.is_calibrated and not self.few_classes:
            text = "the present rate is extrapolated, as for all but AdamW with beta_2 up to"
            reasons.insert(0, Reason(2, f"{text} {BETA:g}"))
        if self.few_classes:
            text = f"the chance accuracy is {chance:.3g}: the present rate is extrapolated above"
            reasons.insert(0, Reason(2, f"{text} {_CHANCE:g}, where no runs calibrate the law"))
        if math.isnan(chance) and not curves.has_margins and math.isnan(curves.passed(0.5)):
            doubt = "the test accuracy is below one half, and chance is not known (test_chance)"
        if doubt:
            text = f"times hold only if it generalises: {doubt}"
            return self._made("cannot_say", [Reason(2, text), *reasons], LATER, half, level)
        change = half[0] if not self.half_is_chance else self._above_chance(clock)
        change = level[0] if math.isnan(change) else change
        fitted = float(curves.times[fit])
        ratio = change / fitted if fitted > 0 else math.inf
        verdict: Verdict = "grok" if ratio >= self.thresholds.delay else "immediate"
        found = self._made(verdict, reasons, "", half, level)
        until = found.shown(found.t_test_interval[1])
        return replace(found, advice=f"Train to {until}, with random labels as a control.")

    def _above_chance(self, clock: MarginClock) -> float:
        """The time of half of the change above chance."""
        accuracy = (1 + self.events.chance) / 2
        passed = self.curves.passed(accuracy)
        if clock.is_past(accuracy) or not math.isnan(passed):
            return passed
        return self._in_record(clock.time(accuracy))[0]

    def _still(self) -> Remaining:
        """The test margins do not grow."""
        decayed = number_in(self.curves.record, "weight_decay") * float(self.curves.clock[-1])
        if self.events.settled and self.curves.has_flow and decayed >= _ENDED:
            reason = Reason(1, "scores, norm and test margins no longer change")
            return self._made(verdict_of(self.events), [reason], _ENDED_ADVICE)
        verb = "do" if self.curves.has_margins else "does"
        return self.nothing(f"the {self.curves.quantity} {verb} not grow at present")

    def _in_record(self, found: _Time) -> _Time:
        """A time of the clock and its interval as times of the record, at the present rate."""
        at, (low, high) = found
        time = self.curves.from_clock
        return time(at), (time(low), time(high))

    def _made(
        self,
        verdict: Verdict,
        reasons: list[Reason],
        advice: str,
        half: _Time = _UNKNOWN,
        level: _Time = _UNKNOWN,
    ) -> Remaining:
        return Remaining(
            verdict=verdict,
            confidence=confidence_of(reasons),
            reasons=tuple(reason.text for reason in reasons),
            advice=advice,
            now=self.curves.now,
            t_half=half[0],
            t_half_interval=half[1],
            t_test=level[0],
            t_test_interval=level[1],
            unit=self.curves.unit,
        )
