"""Advice on the next step, in one line."""

import math

from ..experiments.experiment import Experiment
from .verdict import Confidence, Verdict

_WORDS = {
    "unscored": "Judge by the loss (threshold loss=VALUE): constant labels have no score.",
    "untrained": "Raise t1, or lower weight_decay: the training data are not fitted by t1.",
    "collapsed": "Lower weight_decay: it is so strong that the model loses its fit of the data.",
}


def advice_of(
    verdict: Verdict,
    confidence: Confidence,
    outcome: str | None,
    interval: tuple[float, float],
    experiment: Experiment,
    *,
    solved: bool,
) -> str:
    """The next step for a reader of the forecast.

    - **Takes** `interval`, the interval of $t_{50}$; `solved`, whether the transition was solved
        (`--solve`).
    """
    if outcome == "unscored":
        return _WORDS["unscored"]
    if verdict == "cannot_say" or confidence == "low":
        before = "" if verdict == "cannot_say" else " before relying on this verdict"
        if solved:
            return f"Simulate the run (lazyrich run){before}."
        if experiment.dynamics.rescales_gradients:
            return f"Run pilots (lazyrich forecast --pilot, passage='pilot'){before}."
        return f"Solve the transition (lazyrich forecast --solve, passage='solved'){before}."
    low, high = interval
    if verdict in ("grok", "misgrok") and high > experiment.t1:
        target = f"Set t1 to {2 * high:.3g} or more"
        return f"{target}: the test score may change after the present t1 = {experiment.t1:g}."
    return _WORDS.get(outcome or "", _of_word(verdict, low, high, experiment))


def _of_word(verdict: Verdict, low: float, high: float, experiment: Experiment) -> str:
    if verdict == "grok":
        has_control = bool(experiment.task.null_control())
        control = " As a control, repeat with random labels." if has_control else ""
        return f"Run to t = {2 * high:.3g} or more.{control}"
    if verdict == "misgrok":
        return f"Stop before t = {low:.3g}, or lower weight_decay: the test score falls later."
    if verdict == "none":
        return "Use more training samples or another model: a longer run has no effect."
    if math.isnan(high):
        return (
            "Stop at the fit: the test score does not change later. For a delay, raise init_scale."
        )
    return f"Stop at t = {2 * high:.3g}: no change follows. For a longer delay, raise init_scale."
