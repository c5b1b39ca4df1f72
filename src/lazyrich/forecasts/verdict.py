"""The words of a forecast: verdict, confidence, reasons and advice."""

from typing import Literal, NamedTuple

from ..records.transition import Transition

Verdict = Literal["grok", "misgrok", "immediate", "none", "cannot_say"]
Confidence = Literal["high", "medium", "low"]

# The verdict that predicts each outcome. For every other outcome the verdict is `cannot_say`.
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


# A score less than this above chance is no better than that of a constant output.
_ABOVE = 0.03


def verdict_of(events: Transition) -> Verdict:
    """The verdict that predicts the outcome of a record.

    It is `none` for a late rise of the score to no more than chance: noise fell, but nothing was
    learned.
    """
    if events.outcome == "improved" and events.final_score < events.chance + _ABOVE:
        return "none"
    return _SAID.get(events.outcome, "cannot_say")


def condition_of_t50(verdict: str) -> str:
    """A few words on what the time of a verdict means if no change is predicted; else empty."""
    return {
        "cannot_say": " if the test score changes",
        "none": "; the test score changes then, but the net does not generalise",
    }.get(verdict, "")


def is_expected(verdict: str, outcome: str) -> bool | None:
    """Whether a verdict is right about an outcome; None if there is no verdict or no outcome."""
    if verdict == "cannot_say" or verdict not in _SAID.values() or outcome not in _SAID:
        return None
    return verdict == _SAID[outcome] or (verdict, outcome) == ("none", "improved")


class Reason(NamedTuple):
    """The basis of a forecast, or an objection to it; `weight` 0, 1 or 2, see `confidence_of`."""

    weight: int
    text: str


class Scores(NamedTuple):
    """Test scores, see [`Thresholds`][lazyrich.Thresholds]; NaN where unknown.

    `early` is the score of the kernel flow on its plateau, `late` that of the rich predictor.
    """

    early: float
    late: float


def confidence_of(reasons: list[Reason]) -> Confidence:
    """`low` if any reason has weight 2, `medium` if any has weight 1, else `high`."""
    heaviest = max((reason.weight for reason in reasons), default=0)
    levels: tuple[Confidence, ...] = ("high", "medium", "low")
    return levels[heaviest]
