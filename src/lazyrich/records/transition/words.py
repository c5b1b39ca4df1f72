"""The outcomes of runs: their order, their meaning, and what to do next."""

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
"""The outcome of a run: size, time and direction of the change of its test score."""

State = Literal["settled", "moving", "stopped"]
"""Whether a longer run could change the outcome: no; yes; or a budget ended it before `t1`."""

FORMER: tuple[str, ...] = ("not_within_budget", "diverged")
"""Outcomes in stores that earlier versions wrote; no longer used for new runs."""

MEANINGS: dict[str, str] = {
    "grokked": "fitted its training data first and generalised much later",
    "misgrokked": "generalised better at first and worse later; it still fits its training data",
    "immediate": "generalises at the time of the fit: no delay",
    "gradual": "generalised after it fitted, with a delay too short to be grokking",
    "improved": "fits its training data, and its score rises later, but by less than half of the "
    "distance to the level, or not above that of a constant output",
    "unchanged": "fits its training data; its test score changes little later, and stays below the "
    "level",
    "untrained": "does not fit its training data",
    "collapsed": "fitted its training data and lost most of the fit later",
    "unscored": "has labels that do not vary, so no score is defined",
    "failed": "the solve failed; the results up to that time are shown",
    "not_within_budget": "fitted its training data and did not reach the test level (former name)",
    "diverged": "failed, or used up its budget (former name)",
}

# From the weakest claim to the strongest, with the code in files. New ones get the next code.
_CODES = {
    "failed": 6,
    "diverged": 4,
    "unscored": 12,
    "collapsed": 11,
    "untrained": 5,
    "not_within_budget": 3,
    "unchanged": 10,
    "improved": 9,
    "misgrokked": 1,
    "gradual": 8,
    "immediate": 2,
    "grokked": 0,
    "missing": 7,
}
assert sorted(_CODES.values()) == [*range(len(_CODES))]

OUTCOMES: tuple[str, ...] = tuple(_CODES)
"""Every outcome of a sweep, from the weakest claim to the strongest; `missing` was not run."""

CODES: tuple[str, ...] = tuple(sorted(_CODES, key=_CODES.__getitem__))
"""The same in the order of their codes in files."""

assert {*OUTCOMES} == {*get_args(Outcome), *FORMER, "missing"}
assert {*MEANINGS} == {*OUTCOMES} - {"missing"}

FITTED: tuple[str, ...] = (
    "grokked", "misgrokked", "immediate", "gradual", "improved", "unchanged", "not_within_budget",
)  # fmt: skip
"""Outcomes of runs that fitted their training data and kept most of the fit."""

CHANGED: tuple[str, ...] = ("grokked", "misgrokked", "immediate", "gradual", "improved")
"""Outcomes of runs whose test score reached its last value within the horizon."""

LATER: tuple[str, ...] = ("not_within_budget", "unchanged", "improved", "gradual", "grokked")
"""Outcomes for which a missing time counts as later than the horizon."""

_BROKEN = ("diverged", "step_underflow", "off_manifold")


def is_broken(ending: str) -> bool:
    """Whether a solve ended because of values that are not finite, or of too small a step."""
    return ending in _BROKEN


def state_of(ending: str, settled: bool) -> State:
    """`settled` or `moving`, unless a solve ended early and not by a condition of the user."""
    if settled or ending == "stationary":
        return "settled"
    return "moving" if ending in ("completed", "crossed", "running") else "stopped"


_ENDED = {
    "max_steps": "used up its steps before t1",
    "max_gradients": "used up dynamics.max_gradients before t1",
    "max_seconds": "used up dynamics.max_seconds before t1",
    "too_stiff": "used up its steps, which stability kept small",
    "chattering": "used up its steps, which kinks of the model kept small",
    "step_underflow": "could not make its step small enough",
    "diverged": "met values that are not finite",
    "imprecise": "was spoiled by errors of rounding or of its steps",
    "not_interpolated": "did not fit the training data before t1, or before decay acts",
    "off_manifold": "could not keep the training data fitted",
}
_ENDINGS = {
    "max_steps": "raise dynamics.max_steps or dynamics.rtol, or lower t1",
    "max_gradients": "raise dynamics.max_gradients or dynamics.rtol, or lower t1",
    "max_seconds": "raise dynamics.max_seconds or dynamics.rtol, or lower t1",
    "too_stiff": "set dynamics.method to auto, rkc2 or rosenbrock",
    "chattering": "raise dynamics.max_steps or dynamics.rtol, scale the columns of the inputs to "
    "similar sizes, or lower t1",
    "step_underflow": "raise dynamics.rtol, or scale inputs and targets to order one",
    "imprecise": "lower t1 or dynamics.rtol, or set precision to float64",
    "not_interpolated": "raise t1, lower weight_decay, use a model that can fit the data, or set "
    "dynamics.kind to Flow",
    "off_manifold": "set dynamics.kind to Flow, which does not need an invertible kernel",
    "diverged": "lower dynamics.learning_rate, use ReducedFlow or Flow, or scale inputs and "
    "targets to order one",
}


def advice_on_ending(ending: str, state: State = "stopped") -> str:
    """How a solve failed or ended early, and what to do; empty for a solve that did not."""
    if ending not in _ENDED:
        return ""
    if state == "settled":
        return f"{_ENDED[ending]}, but had settled: lower t1, a longer run would not change it"
    if ending == "imprecise":
        return f"{_ENDED[ending]}: {_ENDINGS[ending]}"
    return f"{_ENDED[ending]}; the record ends early: {_ENDINGS[ending]}"


REPEAT = "repeat it with other seeds"
"""The advice on a run that grokked."""

_NEXT: dict[tuple[str, bool], str] = {
    ("grokked", True): REPEAT,
    ("grokked", False): "raise t1 until the test score settles",
    ("misgrokked", True): "stop at the plateau (t10), or lower weight_decay, to keep its score",
    ("misgrokked", False): "raise t1 until the test score settles",
    ("immediate", True): "raise init_scale or lower the number of training samples for a delay",
    ("immediate", False): "raise t1: weight decay has not acted yet, and can change the score",
    ("gradual", True): "raise init_scale or lower weight_decay for a longer delay",
    ("gradual", False): "raise t1 until the test score settles",
    ("improved", True): "it has settled: more training samples may raise the score, a longer run "
    "will not",
    ("improved", False): "raise t1: the test score still changes",
    ("unchanged", True): "it has settled: change the data, the model or weight_decay, not t1",
    ("unchanged", False): "raise t1: the parameters still change, and so may the score",
    ("untrained", True): "it has settled: lower weight_decay, or use a model that can fit the data",
    ("untrained", False): "raise t1: the training data are not fitted yet",
    ("collapsed", True): "lower weight_decay: it outweighs the loss",
    ("collapsed", False): "lower weight_decay: it outweighs the loss",
    ("unscored", True): "use labels that vary, or judge by the loss: --threshold loss=VALUE",
    ("unscored", False): "use labels that vary, or judge by the loss: --threshold loss=VALUE",
    ("failed", True): "see how the solve ended",
    ("failed", False): "see how the solve ended",
}

# Of a log the weight decay is mostly not known.
_PLATEAU = (
    "the scores no longer change; unless weight decay is given and has acted, a plateau before a "
    "late transition looks the same: log the norm of the weights, give --weight-decay and "
    "--time-per-step, or train to several times 1 / (learning rate x weight decay) in steps"
)

# The same for a log. Its reader has a training script, and no fields of an experiment.
_NEXT_OF_LOG: dict[tuple[str, bool], str] = {
    ("grokked", False): "train for longer until the test score settles",
    ("misgrokked", True): "stop at the plateau (t10), or lower the weight decay, to keep its score",
    ("misgrokked", False): "train for longer until the test score settles",
    ("immediate", True): "for a delay raise the scale of the initial weights, or train on fewer "
    "samples",
    ("immediate", False): "train for longer: the score or the norm of the weights still changes",
    ("gradual", True): "for a longer delay raise the scale of the initial weights, or lower the "
    "weight decay",
    ("gradual", False): "train for longer until the test score settles",
    ("improved", False): "train for longer: the test score still changes",
    ("improved", True): _PLATEAU,
    ("unchanged", True): _PLATEAU,
    ("unchanged", False): "train for longer: the curves still change, and so may the score",
    ("untrained", True): "the scores no longer change: lower the weight decay, or use a model that "
    "can fit the data",
    ("untrained", False): "train for longer: the training data are not fitted yet",
    ("collapsed", True): "lower the weight decay or the learning rate: the fit is lost",
    ("collapsed", False): "lower the weight decay or the learning rate: the fit is lost",
    (
        "failed",
        True,
    ): "lower the learning rate, or clip gradients: the logged values are not finite",
    ("failed", False): "lower the learning rate, or clip gradients: the logged values are not "
    "finite",
}
assert {*_NEXT_OF_LOG} <= {*_NEXT}

RECENT = (
    "record more often, or for longer; or lower the threshold `sustained`, the number of records "
)
RECENT += "for which a fit or a change must hold"

EARLIER = "record earlier: lower times.first; the fit was before the first record, so the delay is "
EARLIER += "not known"
EARLIER_LOG = "log from the first steps on: the fit was before the first record, so the delay is "
EARLIER_LOG += "not known"

IN_EVAL_MODE = (
    "the test accuracy is above the training accuracy: if that is of train mode, dropout or "
    "augmented data, log it in eval mode; or say what counts as a fit: --threshold train=VALUE"
)
MORE_TESTS = "use more test samples: the change is within two standard errors of the accuracy"
STRICTER = (
    "judge the run by the threshold {} as well: outcome and times depend on what counts as a fit"
)


def advice_on(outcome: str, state: State, ending: str, *, logged: bool = False) -> str:
    """One line on what to do next; empty for a former outcome.

    - **Takes** `logged`, whether another program made the run: then no field of an experiment is
        named.
    """
    key = (outcome, state == "settled")
    if logged and key in _NEXT_OF_LOG:
        return _NEXT_OF_LOG[key]
    if not logged and (state == "stopped" or outcome == "failed") and ending in _ENDINGS:
        return _ENDINGS[ending]
    return _NEXT.get(key, "")
