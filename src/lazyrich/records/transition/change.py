"""The word for a change of the test score, from numbers alone."""

import math
from dataclasses import dataclass

from .thresholds import Thresholds
from .words import Outcome

# Test scores nearer than this to the ceiling have reached it: a few test samples differ.
NEAR = 0.03
# What scores of counted samples may lack of a difference that they have: 0.95 - 0.85 < 0.1.
ROUNDING = 1e-9
# The share of the way from chance to the level from which a score is good, where no ceiling says
# how much of it there is to go.
_MOST = 0.75
# The share of the way from the plateau to the level, or to the ceiling, from which a rise is more
# than an improvement.
_ENOUGH = 0.5


@dataclass(frozen=True)
class Change:
    """The test score of a run that fits its training data, before and after.

    - `plateau`, `final`: the score on the plateau after the fit, and at the end.
    - `t_train`: the time of the fit, 0 where the data are fitted from the beginning; `t_change`,
        that at which half of the change is done for good, NaN where it has not held.
    - `ceiling`: the best score of a certified predictor; `chance`, that of the best constant; NaN
        where they are unknown.
    - `gone`: under `Thresholds.loss`, the fraction of the plateau's test loss that is gone at the
        end.
    - `reaches`: whether the final score is at the level of `Thresholds.test`, or the final loss at
        that of `Thresholds.loss`; None to compare `final` with `Thresholds.test`.
    """

    plateau: float
    final: float
    t_train: float
    t_change: float = math.nan
    ceiling: float = math.nan
    chance: float = math.nan
    reaches: bool | None = None
    gone: float = math.nan

    @property
    def delay_ratio(self) -> float:
        """`t_change / t_train`; infinite where the data are fitted from the beginning."""
        if math.isnan(self.t_change):
            return math.nan
        return self.t_change / self.t_train if self.t_train > 0 else math.inf

    @property
    def size(self) -> float:
        """The change of the score, from where both are at least at chance."""
        return self.above_chance(self.final) - self.above_chance(self.plateau)

    @property
    def rise(self) -> float:
        """How far the score rises: an accuracy from where it is at least at chance, below which
        all are alike; an R2 as it is, since below that of a constant it says how much noise there
        is."""
        return self.size if self.chance > 0 else self.final - self.plateau

    def above_chance(self, score: float) -> float:
        """The score, chance where it is below: what is no better than a constant is all alike."""
        return score if math.isnan(self.chance) else max(score, self.chance)

    def has_ceiling(self, thresholds: Thresholds) -> bool:
        """Whether there is a ceiling that stands above chance."""
        return self.ceiling - self.chance >= thresholds.change

    def is_good(self, thresholds: Thresholds) -> bool:
        """Whether the final score is at the level, or at the ceiling where that stands above
        chance; where no ceiling is known, whether it is most of the way from chance to the
        level."""
        at_level = self.final >= thresholds.test if self.reaches is None else self.reaches
        return at_level or self._is_high(self.final, thresholds)

    def was_good(self, thresholds: Thresholds) -> bool:
        """The same of the plateau."""
        at_level = self.plateau >= thresholds.test
        return at_level or self._is_high(self.plateau, thresholds)

    def _is_high(self, score: float, thresholds: Thresholds) -> bool:
        if not math.isnan(self.ceiling):
            return self.has_ceiling(thresholds) and score >= self.ceiling - NEAR
        # Where a loss says what generalising is, nothing short of it will do.
        way = thresholds.test - self.chance
        return thresholds.loss is None and way > 0 and score >= self.chance + _MOST * way


def word_of(change: Change, thresholds: Thresholds) -> Outcome:
    """The outcome of a run that fits its training data.

    Below `Thresholds.change` in size it is `immediate` or `unchanged`, by whether the score is
    good. A fall is `misgrokked`. A rise that ends well or makes half of the way there is, by its
    delay, `immediate`, `gradual` or `grokked`; one that does not is `improved`, as is one of
    an R2 that stays below chance. A change that has not held for long enough has not come. Under
    `Thresholds.loss` a loss that comes to be low enough is a rise, too, whatever the score.
    """
    good, least = change.is_good(thresholds), thresholds.change - ROUNDING
    falls = change.size <= -least
    rises = not falls and change.rise >= least
    rises = rises or (bool(change.reaches) and change.gone >= least)
    if not (falls or rises):
        return "immediate" if good else "unchanged"
    if math.isnan(change.t_change):
        return "immediate" if falls and change.was_good(thresholds) else "unchanged"
    if falls:
        return "misgrokked"
    target = thresholds.test
    if change.has_ceiling(thresholds):
        target = min(target, change.ceiling)
    way = target - change.above_chance(change.plateau)
    near = thresholds.loss is None and change.size >= max(least, _ENOUGH * way)
    if not (good or near):
        return "improved"
    ratio = change.delay_ratio
    if ratio >= thresholds.delay:
        return "grokked"
    return "immediate" if good and ratio < thresholds.immediate else "gradual"
