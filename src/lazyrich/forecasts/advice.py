"""Advice on the next step, in one line."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..experiments.experiment import Experiment
from .verdict import Confidence, Verdict

_NO_SIGNAL = "Nothing to learn: this is the control of a run with true labels."
_UNSCORED = "Judge by the loss (threshold loss=VALUE): constant labels have no score."


@dataclass(frozen=True)
class Horizon:
    """The end of the run that is forecast, `at` a time called `name`, written `shown_at`.

    - `unit`, what comes before a time, and `digits`, how its number is written;
    - `has_control`, whether random labels can be tried as a control; `larger`, what to change for
        a delay; `is_end`, whether nothing changes after it; `is_control`, whether the task says
        that its labels are random.
    """

    name: str
    at: float
    shown_at: str
    unit: str
    digits: Callable[[float], str]
    has_control: bool
    larger: str
    is_end: bool = True
    is_control: bool = False

    @classmethod
    def of(cls, experiment: Experiment) -> "Horizon":
        """The horizon of an experiment."""
        control, t1 = experiment.task.null_control(), experiment.t1
        return cls(
            "t1", t1, f"{t1:g}", "t = ", "{:.3g}".format, bool(control), "raise init_scale",
            is_control=control == {},
        )  # fmt: skip

    def shown(self, time: float) -> str:
        """A time with its unit."""
        return f"{self.unit}{self.digits(time)}"


def advice_of(
    verdict: Verdict,
    confidence: Confidence,
    outcome: str | None,
    interval: tuple[float, float],
    experiment: Experiment,
    *,
    solved: bool,
    collapses: bool = False,
) -> str:
    """The next step for a reader of the forecast.

    - **Takes** `interval`, the interval of $t_{50}$; `solved`, whether the transition was solved
        (`--solve`); `collapses`, whether weight decay is close to or above that of the collapse.
    """
    if outcome == "unscored":
        return _UNSCORED
    horizon = Horizon.of(experiment)
    # Both hold without a fit in the kernel phase, for whose lack confidence is low.
    is_control = verdict == "none" and horizon.is_control
    is_collapse = verdict == "none" and collapses and not is_control
    if verdict == "cannot_say" or (confidence == "low" and not is_control and not is_collapse):
        before = "" if verdict == "cannot_say" else " before relying on this verdict"
        if solved:
            return f"Simulate the run (lazyrich run){before}."
        if experiment.dynamics.rescales_gradients:
            return f"Run pilots (lazyrich forecast --pilot, passage='pilot'){before}."
        return f"Solve the transition (lazyrich forecast --solve, passage='solved'){before}."
    said = "collapsed" if is_collapse else outcome
    return advice_by_verdict(verdict, said, interval, horizon)


def advice_by_verdict(
    verdict: Verdict, outcome: str | None, interval: tuple[float, float], horizon: Horizon
) -> str:
    """The next step for a verdict other than `cannot_say`."""
    low, high = interval
    if verdict in ("grok", "misgrok", "immediate") and high > horizon.at:
        target = (
            f"Set {horizon.name} to {horizon.digits(2 * high)} or more: the test score may change"
        )
        return f"{target} after the present {horizon.name} = {horizon.shown_at}."
    if outcome == "untrained":
        what = f"Raise {horizon.name}, or lower weight_decay: the training data are not fitted by"
        return f"{what} {horizon.unit}{horizon.shown_at}."
    if outcome == "collapsed":
        return "Lower weight_decay: it is so strong that the model loses its fit of the data."
    return _UNSCORED if outcome == "unscored" else _of_word(verdict, low, high, horizon)


def _of_word(verdict: Verdict, low: float, high: float, horizon: Horizon) -> str:
    if verdict == "grok":
        control = " As a control, repeat with random labels." if horizon.has_control else ""
        return f"Run to {horizon.shown(2 * high)} or more.{control}"
    if verdict == "misgrok":
        until = horizon.shown(low)
        return f"Stop before {until}, or lower weight_decay: the test score falls later."
    if verdict == "none" and horizon.is_control:
        return _NO_SIGNAL
    if verdict == "none":
        then = "a longer run has no effect" if horizon.is_end else f"or raise {horizon.name}"
        return f"Use more training samples or another model{':' if horizon.is_end else ','} {then}."
    if math.isnan(high):
        text = "Expect no delay: after the fit the test score hardly changes. For a delay,"
        return f"{text} {horizon.larger}."
    # Twice the end of the interval may be later than the end of the run.
    is_before = 2 * high < horizon.at
    until = horizon.shown(2 * high) if is_before else f"{horizon.unit}{horizon.shown_at}"
    return f"Stop at {until}: no change follows. For a longer delay, {horizon.larger}."
