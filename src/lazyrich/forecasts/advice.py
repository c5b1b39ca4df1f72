"""Advice on the next step, in one line."""

import math

from ..experiments.experiment import Experiment
from .verdict import Confidence, Verdict

_WORDS = {
    "unscored": "Judge by a loss (threshold loss=VALUE): labels that do not vary have no score.",
    "untrained": "Raise t1, or lower weight_decay: the training data are not fitted by t1.",
    "collapsed": "Lower weight_decay: it outweighs the loss.",
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
        return f"Follow the run itself (lazyrich forecast --solve, passage='solved'){before}."
    low, high = interval
    if verdict in ("grok", "misgrok") and high > experiment.t1:
        return f"Set t1 to {2 * high:.3g} or more to see the change; t1 is {experiment.t1:g}."
    return _WORDS.get(outcome or "", _of_word(verdict, low, high))


def _of_word(verdict: Verdict, low: float, high: float) -> str:
    if verdict == "grok":
        return f"Run to t = {2 * high:.3g} or more, and random labels beside it as a control."
    if verdict == "misgrok":
        return f"Stop training before t = {low:.3g}, or lower weight_decay."
    if verdict == "none":
        return "Use more training samples or another model: a longer run changes nothing."
    if math.isnan(high):
        return "Stop at the fit, or raise init_scale for a delay: nothing comes later."
    return f"Stop at t = {2 * high:.3g}, or raise init_scale for a longer delay."
