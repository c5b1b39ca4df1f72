"""The result of reading a record: times, scores and outcome."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ..._core.shown import as_html, number, rows
from .scores import ScoredBy
from .words import RECENT, Outcome, State, advice_on, state_of

# A training score at the end below this value is mentioned.
_FITS = 0.99


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
    - `ceiling`: the best test score of a certified predictor; `chance`, that of the best constant
        output.
    - `settled`: whether scores, directions and norm no longer change.
    - `arrived`: whether the run has settled and decay and loss balance, see
        [arrival](../record.md#arrival); None if the record does not contain `arrival`.
    - `t_train_is_bound`: whether the data were fitted before the first record after 0. Then
        `t_train`, the time of that record, is only an upper bound, and delays are lower bounds.
    - `scored_by`: `accuracy`; `R2`, which is 1 - loss / variance of the labels; or `loss at time 0`
        for records of earlier versions without the variance, 1 - loss / loss at time 0.
    - `ending`: how the solve ended.
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
    settled: bool
    t_train_is_bound: bool
    scored_by: ScoredBy
    ending: str
    arrived: bool | None = None
    unit: str = "t"
    logged: bool = False

    def __str__(self) -> str:
        return rows(
            outcome=f"{self.outcome}: {self.says}",
            t_train=number(self.t_train),
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
        # At rest without a balance, as on a plateau, parameters still move.
        rests = self.state == "settled" and self.arrived is False
        state = "moving" if rests else self.state
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
    def says(self) -> str:
        """What happened, in one line."""
        name = {"accuracy": "accuracy", "R2": "R2"}.get(self.scored_by, "score")
        parts = [*self._fit(), *self._change(name)]
        references = [
            f"{word} {value:.3g}"
            for word, value in (("ceiling", self.ceiling), ("chance", self.chance))
            if not math.isnan(value)
        ]
        if references and not math.isnan(self.final_score):
            parts.append(", ".join(references))
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

    def _at(self, time: float) -> str:
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
            fitted = f"fitted {when} {self._at(self.t_train)}"
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
            text += f"{'' if whole else ', half of the change'} at {self._at(self.t_change)}"
            if math.isfinite(self.delay_ratio) and self.delay_ratio >= 1:
                least = "at least " if self.t_train_is_bound else ""
                text += f", {least}{self.delay_ratio:.3g} times the time of the fit"
        return [text]


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
        scored_by="accuracy",
        ending=ending,
        **numbers,
    )
