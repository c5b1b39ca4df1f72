"""The words for how a run came out, in one place: order, meaning, and what to do next."""

from typing import Literal, get_args

Outcome = Literal[
    "grokked",
    "misgrokked",
    "immediate",
    "gradual",
    "improved",
    "unchanged",
    "untrained",
    "collapsed",
    "unscored",
    "failed",
]
"""How a run came out: its change of test score by size, time and direction."""

State = Literal["settled", "moving", "stopped"]
"""Whether a longer run could change the outcome: no; yes; a budget ended it before `t1`."""

FORMER: tuple[str, ...] = ("not_within_budget", "diverged")
"""Words in stores that earlier versions wrote; runs are no longer called so."""

MEANINGS: dict[str, str] = {
    "grokked": "fitted its training data first and generalised long after",
    "misgrokked": "generalised better first and lost it late, its training data still fitted",
    "immediate": "generalises as soon as it fits: no delay",
    "gradual": "generalised after it fitted, with a delay too short to be grokking",
    "improved": "fits its training data and scores better since, by less than half of the way to "
    "the level, or no better than a constant",
    "unchanged": "fits its training data; its test score changes little after, below the level",
    "untrained": "does not fit its training data",
    "collapsed": "fitted its training data and lost most of the fit again",
    "unscored": "labels that do not vary: there is no score to judge by",
    "failed": "the numbers broke; what was reached is shown",
    "not_within_budget": "fitted its training data and did not reach the test level (former word)",
    "diverged": "failed, or spent its budget (former word)",
}

OUTCOMES: tuple[str, ...] = (
    "failed",
    "diverged",
    "unscored",
    "collapsed",
    "untrained",
    "not_within_budget",
    "unchanged",
    "improved",
    "misgrokked",
    "gradual",
    "immediate",
    "grokked",
    "missing",
)
"""Every word of a sweep, the one that claims least first; `missing` has not been run."""

CODES: tuple[str, ...] = (
    "grokked", "misgrokked", "immediate", "not_within_budget", "diverged", "untrained", "failed",
    "missing", "gradual", "improved", "unchanged", "collapsed", "unscored",
)  # fmt: skip
"""The same in the order of their codes in files: new ones come last."""

assert {*CODES} == {*OUTCOMES} == {*get_args(Outcome), *FORMER, "missing"}
assert {*MEANINGS} == {*OUTCOMES} - {"missing"}

FITTED: tuple[str, ...] = (
    "grokked", "misgrokked", "immediate", "gradual", "improved", "unchanged", "not_within_budget",
)  # fmt: skip
"""Outcomes of runs that fitted their training data and did not lose most of the fit again."""

CHANGED: tuple[str, ...] = ("grokked", "misgrokked", "immediate", "gradual", "improved")
"""Outcomes of runs whose test score came to its last value within the horizon."""

LATER: tuple[str, ...] = ("not_within_budget", "unchanged", "improved", "gradual", "grokked")
"""Outcomes of runs in which a time that is missing counts as later than the horizon."""

_BROKEN = ("diverged", "step_underflow")


def is_broken(ending: str) -> bool:
    """Whether a solve ended because its numbers broke."""
    return ending in _BROKEN


def state_of(ending: str, settled: bool) -> State:
    """`settled` and `moving` are of runs that reached their end, or whose user ended them."""
    if settled or ending == "stationary":
        return "settled"
    return "moving" if ending in ("completed", "crossed") else "stopped"


_ENDED = {
    "max_steps": "used up its steps before t1",
    "max_gradients": "used up dynamics.max_gradients before t1",
    "max_seconds": "used up dynamics.max_seconds before t1",
    "too_stiff": "spent its steps where stability kept them short",
    "step_underflow": "could not make its step small enough",
    "diverged": "met values that are not finite",
}
_ENDINGS = {
    "max_steps": "raise dynamics.max_steps or dynamics.rtol, or lower t1",
    "max_gradients": "raise dynamics.max_gradients or dynamics.rtol, or lower t1",
    "max_seconds": "raise dynamics.max_seconds or dynamics.rtol, or lower t1",
    "too_stiff": "set dynamics.method to auto, rkc2 or rosenbrock",
    "step_underflow": "raise dynamics.rtol, or scale inputs and targets to order one",
    "diverged": "lower dynamics.learning_rate, use ReducedFlow or Flow, or scale inputs and "
    "targets to order one",
}


def word_on_ending(ending: str) -> str:
    """How a solve ended early and what to do about it; empty for one that did not."""
    if ending not in _ENDED:
        return ""
    return f"{_ENDED[ending]}; the record ends early: {_ENDINGS[ending]}"


_NEXT: dict[tuple[str, bool], str] = {
    ("grokked", True): "repeat it with other seeds and with random labels as a control",
    ("grokked", False): "raise t1 to see where the test score settles",
    ("misgrokked", True): "stop at the plateau (t10), or lower weight_decay, to keep its score",
    ("misgrokked", False): "raise t1 to see where the test score settles",
    ("immediate", True): "raise init_scale or lower the number of training samples for a delay",
    ("immediate", False): "raise t1: decay has yet to act, and may still change the score",
    ("gradual", True): "raise init_scale or lower weight_decay for a longer delay",
    ("gradual", False): "raise t1 to see where the test score settles",
    ("improved", True): "it has settled: more training samples may raise the score, time does not",
    ("improved", False): "raise t1: the test score is still to settle",
    ("unchanged", True): "it has settled: change the data, the model or weight_decay, not t1",
    ("unchanged", False): "raise t1: the parameters still move, and the score may change",
    ("untrained", True): "it has settled: lower weight_decay, or use a model that can fit the data",
    ("untrained", False): "raise t1: the training data are still to be fitted",
    ("collapsed", True): "lower weight_decay: it outweighs the loss",
    ("collapsed", False): "lower weight_decay: it outweighs the loss",
    ("unscored", True): "give labels that vary, or --threshold loss=VALUE to judge by the loss",
    ("unscored", False): "give labels that vary, or --threshold loss=VALUE to judge by the loss",
    ("failed", True): "look at the ending",
    ("failed", False): "look at the ending",
}


def advice_on(outcome: str, state: State, ending: str) -> str:
    """One line on what to do next; empty for a former word."""
    if (state == "stopped" or outcome == "failed") and ending in _ENDINGS:
        return _ENDINGS[ending]
    return _NEXT.get((outcome, state == "settled"), "")
