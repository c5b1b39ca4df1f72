"""The result of reading a record: times, scores and outcome."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ..._core.shown import as_html, number, rows
from .scores import ScoredBy, standard_error
from .words import (
    EARLIER,
    EARLIER_LOG,
    IN_EVAL_MODE,
    MORE_TESTS,
    RECENT,
    STRICTER,
    Outcome,
    State,
    advice_on,
    state_of,
)

# A training score at the end below this value is mentioned.
_FITS = 0.99
# A change of an accuracy by fewer standard errors is doubtful.
ERRORS = 2.0
# Two standard errors from this value on are mentioned: by default it is a change that counts.
_COARSE = 0.1
# Rounding of differences of scores.
_ROUNDING = 1e-9
# Test accuracies are above training accuracies by chance, but hardly by so much.
_ABOVE_TRAINING = 0.05
# The outcomes that are decided by a change of the test score.
_BY_CHANGE = ("grokked", "misgrokked", "gradual", "improved")


@dataclass(frozen=True)
class Transition:
    """Times are gradient-flow times; a time is NaN if the event did not happen within the budget.

    - `outcome`, the outcome of the run; `state`, whether a longer run could change the outcome;
        `says`, both in a sentence; `advice`, what to do next.
    - `t_train`, `t_test`: the first time from which the score holds for `sustained`
        recorded times; `t_train_first`, `t_test_first`: the first crossing.
    - `t10`, `t50`, `t90`: first crossings of 10, 50 and 90 % of the change of the test
        score from its plateau to its end; `t10_loss`, `t50_loss`, `t90_loss`: of the test
        loss, from its extremum after the fit; `t50_sustained`: as `t50`, held.
    - `t_change`: the time from which at least half of the change of the score is kept, where scores
        below chance count as chance; with `Thresholds.loss`, `t_test`. `delay_ratio` and
        `delay_difference` compare `t_change` with `t_train`. If `t_train` is 0 the ratio is
        infinite, or 1 if `t_change` is 0 as well.
    - `plateau`: first and last time of the window that defines the kernel plateau;
        `plateau_score`, the median test score in the window; `final_score`, that of the last
        `sustained` records; `train_score`, the same for the training data.
    - `ceiling`: the best test score of a certified predictor, with which theory expects training to
        end. It is no bound, so a run can exceed it; `says` mentions this.
    - `chance`: the score of the best constant output.
    - `num_test`, the number of test samples, and `standard_error`, the binomial one of
        `final_score` if the score is an accuracy.
    - `excursion`: by how much the test score has dipped below its values on the plateau and at the
        end (negative), or had risen above both (positive), if by at least `Thresholds.change` and
        two standard errors; `excursion_score`, the extreme score that holds for `sustained`
        records; `excursion_times`, the first record with half of the excursion, that of the
        extreme, and the last with half of it.
    - `settled`: whether scores, directions and norm no longer change.
    - `arrived`: whether the run has settled and decay and loss balance, see
        [arrival](../record.md#arrival); None if the record does not contain `arrival`.
    - `t_train_is_bound`: whether the data were fitted before the first record after 0. Then
        `t_train`, the time of that record, is only an upper bound, and delays are lower bounds.
    - `moves_with_fit`: whether a quarter or more of the change of an R2 comes while the training
        loss falls to a tenth of that at the fit. Then the plateau is the end of the fit, and the
        times of the change are early.
    - `scored_by`: `accuracy`; `R2`, which is 1 - loss / variance of the labels; or `loss at time 0`
        for records of earlier versions without the variance, 1 - loss / loss at time 0.
    - `ending`: how the solve ended.
    - `stricter_fit`: a threshold at which a fit is stricter, such as `train=0.999`: a tenth of the
        misfit for R2, half of the training loss for accuracies; `outcome_by_stricter_fit`, the
        outcome that it gives, None if the run does not reach it or test samples are too few.
    - `unit`: `t`, or `step` or `epoch` if these are the times of a log; `logged`: whether another
        program logged the run.
    """

    outcome: Outcome
    t_train: float
    t_train_first: float
    t_test: float
    t_test_first: float
    t10: float
    t50: float
    t90: float
    t50_sustained: float
    t10_loss: float
    t50_loss: float
    t90_loss: float
    t_change: float
    delay_ratio: float
    delay_difference: float
    plateau: tuple[float, float]
    plateau_score: float
    final_score: float
    train_score: float
    ceiling: float
    chance: float
    num_test: float
    standard_error: float
    excursion: float
    excursion_score: float
    settled: bool
    t_train_is_bound: bool
    moves_with_fit: bool
    scored_by: ScoredBy
    ending: str
    arrived: bool | None = None
    excursion_times: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    stricter_fit: str = ""
    outcome_by_stricter_fit: Outcome | None = None
    unit: str = "t"
    logged: bool = False

    def __str__(self) -> str:
        return rows(
            outcome=f"{self.outcome}: {self.says}",
            t_train=("< " if self.t_train_is_bound else "") + number(self.t_train),
            t_test=number(self.t_test),
            t50=number(self.t50),
            score=f"{number(self.plateau_score)} on the plateau, {number(self.final_score)} at the "
            f"end, by {self.scored_by}",
            next=self.advice,
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    @property
    def state(self) -> State:
        """`settled`; `moving`; or `stopped`, if a budget ended the run before `t1`."""
        return state_of(self.ending, self.settled)

    @property
    def advice(self) -> str:
        """What to do next, in one line."""
        if self.is_recent:
            return RECENT.replace("record", "log", 1) if self.logged else RECENT
        if self.has_unknown_delay:
            return EARLIER_LOG if self.logged else EARLIER
        if self.is_above_training:
            return IN_EVAL_MODE
        # At rest without a balance, as on a plateau, parameters still move.
        rests = self.state == "settled" and self.arrived is False
        state = "moving" if rests else self.state
        if state == "settled" and self.is_within_error:
            return MORE_TESTS
        unsure = self.depends_on_fit or self.moves_with_fit
        if state == "settled" and unsure and self.stricter_fit:
            return STRICTER.format(self.stricter_fit)
        return advice_on(self.outcome, state, self.ending, logged=self.logged)

    @property
    def is_recent(self) -> bool:
        """Whether a fit or a change is seen, but not for as many records as it must hold."""
        fit = self.outcome == "untrained" and self.train_score >= _FITS
        fit = fit and not math.isnan(self.t_train_first)
        change = self.outcome == "unchanged" and not math.isnan(self.t50)
        times = (self.t_train,) if fit else (self.t_change, self.t50_sustained)
        return (fit or change) and all(map(math.isnan, times))

    @property
    def is_above_training(self) -> bool:
        """Whether a log has a final test accuracy well above the training accuracy, and no fit.

        So do logs of training accuracies in train mode, whose level is not that of a fit."""
        above = self.final_score > self.train_score + _ABOVE_TRAINING
        is_log = self.logged and self.scored_by == "accuracy"
        return is_log and self.outcome == "untrained" and above

    @property
    def has_unknown_delay(self) -> bool:
        """Whether the score rises after a fit that is only known to be before the first record.

        Then `immediate` or `gradual` follows from the least delay, and the true one is unknown."""
        rises = self.outcome in ("immediate", "gradual") and not math.isnan(self.t_change)
        return rises and self.t_train_is_bound

    @property
    def change_error(self) -> float:
        """The standard error of the change of an accuracy, as if of two sets of test samples.

        Both accuracies are of the same samples, so the error is at most about as large."""
        early = standard_error(self.scored_by, self.plateau_score, self.num_test)
        return math.hypot(early, self.standard_error)

    @property
    def is_within_error(self) -> bool:
        """Whether the outcome is decided by a change of less than two standard errors."""
        size = abs(self.final_score - self.plateau_score)
        return self.outcome in _BY_CHANGE and size < ERRORS * self.change_error

    @property
    def depends_on_fit(self) -> bool:
        """Whether a stricter fit gives another outcome."""
        return self.outcome_by_stricter_fit not in (None, self.outcome)

    @property
    def uncertainties(self) -> tuple[str, ...]:
        """What makes the outcome uncertain, one part of a sentence each."""
        found = []
        if self.has_unknown_delay:
            found.append(
                f"the fit was before the first record, so the delay is at least a factor of "
                f"{self.delay_ratio:.3g} and not known"
            )
        if self.is_within_error:
            error = f"{self.change_error:.2g} for {self.num_test:.0f} test samples"
            found.append(f"the change is within two standard errors ({error})")
        if self.moves_with_fit:
            found.append(
                "a part of the change comes with the end of the fit, so its times are early"
            )
        if self.depends_on_fit:
            other = f"{self.outcome_by_stricter_fit} by {self.stricter_fit}"
            found.append(f"the outcome depends on what counts as a fit: {other}")
        return tuple(found)

    @property
    def says(self) -> str:
        """What happened, in one line."""
        name = {"accuracy": "accuracy", "R2": "R2"}.get(self.scored_by, "score")
        parts = [*self._fit(), *self._change(name), *self._excursion()]
        parts += self._references()
        parts += self.uncertainties
        if self.is_recent:
            parts.append("the change is seen in too few records to count")
        stopped = f"stopped by {self.ending}" if self.state == "stopped" else self.state
        if self.arrived is not None:
            stopped += ", arrived" if self.arrived else ", not arrived"
        return "; ".join([*parts, stopped])

    def numbers(self) -> dict[str, float]:
        """Every field that is a number; true is 1 and false is 0. Without `arrived`."""
        return {
            field.name: float(value)
            for field in _MEASURED
            if isinstance(value := getattr(self, field.name), float | bool)
            and field.name != "arrived"
        }

    def table(self) -> dict[str, Any]:
        """Every field by name, and `state`, `says` and `advice`."""
        parts = {field.name: getattr(self, field.name) for field in _MEASURED}
        return parts | {"state": self.state, "says": self.says, "advice": self.advice}

    def at_time(self, time: float) -> str:
        """A time with its unit."""
        if self.unit == "step":
            return f"step {round(time):,}"
        return f"t = {time:.3g}" if self.unit == "t" else f"{self.unit} {time:.3g}"

    def _fit(self) -> list[str]:
        if self.outcome in ("untrained", "unscored", "failed") and math.isnan(self.t_train):
            known = not math.isnan(self.train_score)
            return [f"train score {self.train_score:.3g}"] if known else []
        if math.isnan(self.t_train):
            return []
        if self.t_train <= 0:
            fitted = "fitted from the beginning"
        else:
            when = "before" if self.t_train_is_bound else "at"
            fitted = f"fitted {when} {self.at_time(self.t_train)}"
        if self.t_train_is_bound:
            fitted += " (the first record)"
        if self.outcome in ("untrained", "collapsed"):
            fitted += ", lost again"
        if self.train_score < _FITS:
            fitted += f" (train score {self.train_score:.3g} at the end)"
        return [fitted]

    def _change(self, name: str) -> list[str]:
        if math.isnan(self.final_score):
            return []
        if math.isnan(self.plateau_score):
            return [f"test {name} {self.final_score:.3g}"]
        text = f"test {name} {self.plateau_score:.3g} to {self.final_score:.3g}"
        if not math.isnan(self.t_change):
            # With a threshold for the loss the time is that of the threshold.
            whole = self.t_change in (self.t_test, self.t_train)
            text += f"{'' if whole else ', half of the change'} at {self.at_time(self.t_change)}"
            if math.isfinite(self.delay_ratio) and self.delay_ratio >= 1:
                least = "at least " if self.t_train_is_bound else ""
                text += f", {least}{self.delay_ratio:.3g} times the time of the fit"
        return [text]

    def _excursion(self) -> list[str]:
        if math.isnan(self.excursion):
            return []
        begin, extreme, end = (self.at_time(time) for time in self.excursion_times)
        word = "a dip to" if self.excursion < 0 else "a rise that falls back, to"
        text = f"{word} {self.excursion_score:.3g} at {extreme}"
        return [f"{text} (from {begin} to {end})" if begin != end else text]

    def _references(self) -> list[str]:
        """Ceiling, chance, and the standard error if it is large for the change that counts."""
        if math.isnan(self.final_score):
            return []
        parts = []
        if not math.isnan(self.ceiling):
            above = self.final_score - self.ceiling
            exceeded = f", exceeded by {above:.2g}" if above > _ROUNDING else ""
            parts.append(f"ceiling {self.ceiling:.3g}{exceeded}")
        if not math.isnan(self.chance):
            parts.append(f"chance {self.chance:.3g}")
        coarse = ERRORS * self.standard_error >= _COARSE
        if coarse and not self.is_within_error and not math.isnan(self.plateau_score):
            error = f"{self.standard_error:.2g} for {self.num_test:.0f} test samples"
            parts.append(f"standard error {error}")
        return [", ".join(parts)] if parts else []


# The fields that describe the run; the other fields describe the log.
_MEASURED = tuple(
    field for field in dataclasses.fields(Transition) if field.name not in ("unit", "logged")
)


def time_names() -> tuple[str, ...]:
    """The fields of a [`Transition`][lazyrich.Transition] that are times."""
    return tuple(
        field.name
        for field in dataclasses.fields(Transition)
        if field.name.startswith("t") and field.type is float and field.name != "train_score"
    )


def unknown_transition(outcome: Outcome, ending: str) -> Transition:
    """A result whose numbers are all unknown."""
    numbers: dict[str, Any] = {
        field.name: math.nan for field in dataclasses.fields(Transition) if field.type is float
    }
    return Transition(
        outcome=outcome,
        plateau=(math.nan, math.nan),
        settled=False,
        t_train_is_bound=False,
        moves_with_fit=False,
        scored_by="accuracy",
        ending=ending,
        **numbers,
    )
