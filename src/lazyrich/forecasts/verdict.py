"""The words of a forecast: verdict, confidence, reasons and advice."""

from typing import Literal, NamedTuple

from ..records.transition import Transition

Verdict = Literal["grok", "misgrok", "immediate", "none", "cannot_say"]
Confidence = Literal["high", "medium", "low"]

# What a run's outcome is called before the run; every other outcome cannot be foreseen.
_SAID: dict[str, Verdict] = {
    "grokked": "grok",
    "misgrokked": "misgrok",
    "immediate": "immediate",
    "gradual": "immediate",
    "improved": "grok",
    "unchanged": "none",
    "untrained": "none",
    "collapsed": "none",
    "not_within_budget": "none",  # in stores of earlier versions
}


# Scores no further above chance are no better than those of a constant.
_ABOVE = 0.03


def verdict_of(events: Transition) -> Verdict:
    """The verdict that foresees what a record shows. A late rise that ends no better than chance is
    `none`: less noise, and nothing learned."""
    if events.outcome == "improved" and events.final_score < events.chance + _ABOVE:
        return "none"
    return _SAID.get(events.outcome, "cannot_say")


def is_expected(verdict: str, outcome: str) -> bool | None:
    """Whether a verdict is right about an outcome; None where there is nothing to compare."""
    if verdict == "cannot_say" or verdict not in _SAID.values() or outcome not in _SAID:
        return None
    return verdict == _SAID[outcome] or (verdict, outcome) == ("none", "improved")


class Reason(NamedTuple):
    """What a forecast rests on, or what speaks against it: `weight` 0, 1 or 2."""

    weight: int
    text: str


class Scores(NamedTuple):
    """Test scores, see [`Thresholds`][lazyrich.Thresholds]; NaN where unknown.

    `early` is the kernel flow's on its plateau, `late` the rich predictor's.
    """

    early: float
    late: float


def confidence_of(reasons: list[Reason]) -> Confidence:
    """`low` if any reason weighs 2, `medium` if any weighs 1, else `high`."""
    heaviest = max((reason.weight for reason in reasons), default=0)
    levels: tuple[Confidence, ...] = ("high", "medium", "low")
    return levels[heaviest]
