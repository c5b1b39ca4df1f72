"""What will come of a run, by comparing its early and its late predictor."""

import math
from typing import Literal, NamedTuple

from .._transition import Thresholds

Verdict = Literal["grok", "misgrok", "immediate", "none", "cannot_say"]
Confidence = Literal["high", "medium", "low"]


class Reason(NamedTuple):
    """What a forecast rests on, or what speaks against it: `weight` 0, 1 or 2."""

    weight: int
    text: str


class Scores(NamedTuple):
    """Test scores from 0 to 1, see [`Thresholds`][lazyrich.Thresholds]; NaN where unknown.

    `early` is the kernel flow's on its plateau, `late` the rich predictor's.
    """

    early: float
    late: float


# How far a run's end may stay from its rich predictor within a horizon: scores nearer than this to
# where the verdict turns decide nothing.
_MARGIN = 0.03
_FROM_BELOW = 0.1


def judge(
    scores: Scores, t_fit: float, t_kernel_end: float, thresholds: Thresholds
) -> tuple[Verdict, Reason]:
    """The verdict before it is known how long the passage takes, and why."""
    early, late = scores
    generalises = early >= thresholds.test
    if math.isnan(t_kernel_end):
        text = "the kernel phase does not end within the horizon, so its predictor stays"
        word = "generalises" if generalises else "does not generalise"
        return "immediate" if generalises else "none", Reason(0, f"{text}; it {word}")
    if math.isnan(late):
        return _without_rich(early, generalises)
    words = f"kernel predictor scores {early:.3g} on test data, rich predictor {late:.3g}"
    drop, stays = early - late - thresholds.change, late - thresholds.test
    near = stays < 0 if generalises else abs(stays) < _MARGIN
    # Weights of a run are less sparse than those of the most margin, and may score better.
    near = near or (-_FROM_BELOW < stays < 0 and late - early >= thresholds.change)
    verdict: Verdict = "grok"
    if drop >= _MARGIN:
        verdict = "misgrok"
    elif drop > -_MARGIN or near:
        return "cannot_say", Reason(1, f"{words}: too near to where the verdict turns")
    elif generalises:
        verdict = "immediate"
    elif stays < 0:
        verdict, words = "none", f"{words}: neither generalises"
    elif math.isnan(t_fit):
        verdict = "immediate"
        words += "; the kernel phase ends before the training data are fitted: no delay"
    return verdict, Reason(0, words)


def _without_rich(early: float, generalises: bool) -> tuple[Verdict, Reason]:
    if generalises:
        text = (
            f"the kernel predictor generalises (test score {early:.3g}); the rich one is "
            "not computable, so a later loss is not excluded"
        )
        return "immediate", Reason(1, text)
    text = (
        f"the kernel predictor scores {early:.3g} on test data; the rich one is not computable for "
        "this model, so that the direction of a change is unknown; times are those of one, if any"
    )
    return "cannot_say", Reason(1, text)


def confidence_of(reasons: list[Reason]) -> Confidence:
    """`low` if any reason weighs 2, `medium` if any weighs 1, else `high`."""
    heaviest = max((reason.weight for reason in reasons), default=0)
    levels: tuple[Confidence, ...] = ("high", "medium", "low")
    return levels[heaviest]
