"""What to try next, by what a record shows."""

import math
from dataclasses import dataclass
from typing import Literal

Regime = Literal["lazy", "between", "rich", "unknown"]
Norm = Literal["falls", "held", "still", "rises", "unknown"]

_GENERALISES = ("grokked", "immediate", "gradual")
_PILOTS = (
    'ask pilots whether it generalises: monitor.forecast(passage="pilot", steps=N) with the number '
    "of steps still planned, for 19 to 44 % of their cost"
)
# Weight decay times the sum of learning rates that a plateau can last.
_LONG = 10.0


@dataclass
class Facts:
    """What a record shows.

    - `decay`, the weight decay, and `acted`, λt; `resting`, whether the learning rate is so low
        that nothing moves; `settled`, whether scores and norm no longer change; `arrived`, whether
        also loss and decay balance.
    - `norm`: whether it falls by decay, is held up by the loss, stands still, or rises.
    - `learns`, whether the kernel's alignment with the labels rose; `stuck`, whether most samples
        give no gradient; `lost`, whether a fit is lost at the end; `exploded`, the loss.
    - `until`, words for the step by which the test accuracy passes its level, if that is ahead.
    - `sure`, whether `remaining` has a verdict; `later`, whether it can have one later; `piloted`,
        whether pilots can give one now.
    - `num_test`, the number of test samples.
    """

    decay: float
    acted: float = math.nan
    outcome: str = ""
    regime: Regime = "unknown"
    norm: Norm = "unknown"
    resting: bool = False
    settled: bool = False
    arrived: bool = False
    learns: bool = False
    stuck: bool = False
    lost: bool = False
    exploded: bool = False
    until: str = ""
    sure: bool = False
    later: bool = False
    piloted: bool = False
    num_test: int = 0


def advice_on(facts: Facts) -> list[str]:
    """What to try next, the first first."""
    if facts.outcome == "failed" or facts.exploded:
        return ["lower the learning rate, or clip gradients"]
    found: list[str] = []
    if facts.stuck:
        found.append("compute the loss in float64 or raise weight decay: most gradients are zero")
    return [*found, *_by_outcome(facts)]


def _by_outcome(facts: Facts) -> list[str]:
    if facts.lost or facts.outcome == "collapsed":
        return ["lower the learning rate or weight decay: the fit does not hold"]
    if facts.outcome in _GENERALISES:
        on = f"train to {facts.until}, with random labels as a control"
        over = "stop, or repeat with other seeds and with random labels"
        return [f"it generalises: {on if facts.until and not facts.resting else over}"]
    if facts.resting:
        return ["raise the learning rate if the training should go on"]
    if facts.outcome in ("unscored", "untrained", "misgrokked"):
        return [_of_no_gain(facts)]
    # What has arrived, or cannot leave the lazy regime, has its own advice.
    ended = facts.arrived or (facts.regime == "lazy" and facts.decay == 0)
    pilots = [_PILOTS] if facts.piloted and (facts.until or not ended) else []
    on = f"{'or ' if pilots else ''}train to {facts.until}, with random labels as a control: "
    on += "the test margins grow" if facts.sure else "the step holds only if it generalises at all"
    return [*pilots, *([on] if facts.until else _by_regime(facts))]


def _of_no_gain(facts: Facts) -> str:
    if facts.outcome == "unscored":
        one = "pass more test samples: the score of a single one says nothing"
        return one if facts.num_test == 1 else "pass test samples of more than one label"
    if facts.outcome == "misgrokked":
        return "stop earlier, or lower weight decay: the test score was better before"
    if facts.settled:
        return "lower weight decay, or use a net that can fit the data: it has settled"
    return "train on until the training data are fitted, or raise the learning rate"


def _by_regime(facts: Facts) -> list[str]:
    if facts.regime == "lazy":
        return _of_lazy(facts)
    if facts.learns:
        return ["wait: features still change"]
    if facts.arrived:
        return ["a longer run changes little: more data, or another weight decay"]
    if facts.settled:
        return _of_plateau(facts)
    what = "norm" if facts.norm in ("falls", "held", "rises") else "scores"
    if facts.later:
        changes = "changes" if what == "norm" else "change"
        return [f"train on, and ask again later: the {what} still {changes}"]
    return [f"wait until the {what} {'settles' if what == 'norm' else 'settle'}"]


def _of_plateau(facts: Facts) -> list[str]:
    found = ["more training data, or another weight decay: scores and norm have settled"]
    if facts.later and facts.decay > 0 and not facts.acted >= _LONG:
        words = f"or train on to λt = {_LONG:g}: a plateau can last as long, and λt is"
        found.append(f"{words} {facts.acted:.2g}")
    return found


def _of_lazy(facts: Facts) -> list[str]:
    if facts.decay == 0:
        return ["add weight decay, or start from smaller parameters: nothing ends this regime"]
    if facts.norm == "falls" or not facts.acted >= 1:
        return [
            "wait: weight decay shrinks the initialisation, and features can follow",
            "for a shorter wait, raise weight decay or start from smaller parameters",
        ]
    return ["raise weight decay or start from smaller parameters: decay acted, and it is lazy"]
