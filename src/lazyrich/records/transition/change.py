"""The outcome of a run as a function of a few numbers."""

import math
from dataclasses import dataclass

from .thresholds import Thresholds
from .words import Outcome

# Test scores within this distance of the ceiling count as equal to it: a few samples differ.
NEAR = 0.03
# Rounding of differences of scores, which are fractions of counts: 0.95 - 0.85 < 0.1 in float64.
ROUNDING = 1e-9
# If no ceiling is known, a score is good from this fraction of the distance between chance and the
# level on.
_MOST = 0.75
# A rise of this fraction of the distance from the plateau to the level, or to the ceiling, is more
# than an improvement.
_ENOUGH = 0.5


@dataclass(frozen=True)
class Change:
    """The test score of a run that fits its training data, early and late.

    - `plateau`, `final`: the score on the plateau after the fit, and at the end.
    - `t_train`: the time of the fit, 0 if the data are fitted from the beginning; `t_change`, the
        time from which at least half of the change is kept, NaN if there is none.
    - `ceiling`: the best score of a certified predictor; `chance`, that of the best constant
        output; NaN if unknown.
    - `gone`: with `Thresholds.loss`, by which fraction the test loss of the plateau has decreased
        at the end.
    - `reaches`: whether the final score reaches `Thresholds.test`, or the final loss
        `Thresholds.loss`; None to compare `final` with `Thresholds.test`.
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
        """`t_change / t_train`; infinite if the data are fitted from the beginning, but 1 if the
        change is there from the beginning as well."""
        if math.isnan(self.t_change):
            return math.nan
        if self.t_train > 0:
            return self.t_change / self.t_train
        return math.inf if self.t_change > 0 else 1.0

    @property
    def size(self) -> float:
        """The change of the score, with scores below chance replaced by chance."""
        return self.above_chance(self.final) - self.above_chance(self.plateau)

    @property
    def rise(self) -> float:
        """The increase of the score.

        Accuracies below chance are replaced by chance, because they mean nothing. An R2 is not,
        because an R2 below that of a constant output measures the noise."""
        return self.size if self.chance > 0 else self.final - self.plateau

    def above_chance(self, score: float) -> float:
        """The score, or chance if the score is lower, because such scores mean nothing."""
        return score if math.isnan(self.chance) else max(score, self.chance)

    def has_ceiling(self, thresholds: Thresholds) -> bool:
        """Whether a ceiling is known and above chance."""
        return self.ceiling - self.chance >= thresholds.change

    def is_good(self, thresholds: Thresholds) -> bool:
        """Whether the final score reaches the level, or a ceiling that is above chance.

        If no ceiling is known, most of the distance from chance to the level is enough."""
        at_level = self.final >= thresholds.test if self.reaches is None else self.reaches
        return at_level or self._is_high(self.final, thresholds)

    def was_good(self, thresholds: Thresholds) -> bool:
        """Whether the score on the plateau is good in the same sense."""
        at_level = self.plateau >= thresholds.test
        return at_level or self._is_high(self.plateau, thresholds)

    def _is_high(self, score: float, thresholds: Thresholds) -> bool:
        if not math.isnan(self.ceiling):
            return self.has_ceiling(thresholds) and score >= self.ceiling - NEAR
        # If a loss defines generalisation, only this loss counts.
        way = thresholds.test - self.chance
        return thresholds.loss is None and way > 0 and score >= self.chance + _MOST * way


def outcome_of(change: Change, thresholds: Thresholds) -> Outcome:
    """The outcome of a run that fits its training data.

    If the change is smaller than `Thresholds.change`, the outcome is `immediate` for a good score
    and `unchanged` otherwise. A decrease is `misgrokked`. An increase to a good score, or by half
    of the distance to it, is `immediate`, `gradual` or `grokked`, depending on the delay. A
    smaller increase is `improved`, and so is that of an R2 which stays below chance. A change
    counts only if it holds for long enough. With `Thresholds.loss`, a loss that becomes low enough
    is an increase, for any score.
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
