"""What claims about an order have in common."""

import abc
import math

import numpy as np

from ._base import ClaimResult, Holds
from ._quantity import AbstractTrendClaim
from ._text import interval, medians
from .resample import bootstrap, spearman
from .sample import Sample

# The probability of an order by chance above which the order says nothing.
_CHANCE = 0.05


class AbstractRankOrder(AbstractTrendClaim):
    """The quantity has an order along a key, by Spearman's rank correlation.

    The correlation is between runs that differ only in the key, and the mean is over such lines of
    runs. It should exceed `value` in size. Times that did not come are the last.
    """

    value: float = 0.0

    @property
    @abc.abstractmethod
    def sign(self) -> int:
        """The sign of the correlation that is claimed."""

    def judge(self, found: Sample) -> ClaimResult:
        x, lines = self.values_along(found), found.lines(self.along)
        parts = [np.flatnonzero(lines == line) for line in np.unique(lines)]
        parts = [rows for rows in parts if len(np.unique(x[rows])) > 1] or [np.arange(len(x))]
        each = np.array([spearman(x[rows], found.values[rows]) for rows in parts])
        estimate = float(np.mean(np.nan_to_num(each))) if not np.all(np.isnan(each)) else math.nan
        name, clusters = found.clusters
        if name == "seeds" and len(parts) > 1:
            over, of_line = "seeds", np.array([clusters[rows[0]] for rows in parts])
        else:
            over, of_line = "lines", np.arange(len(parts))
        if len(parts) > 1:
            low, high = bootstrap(lambda rows: float(np.mean(np.nan_to_num(each[rows]))), of_line)
        else:
            over, (rows,) = "runs", parts
            low, high = bootstrap(lambda i: spearman(x[rows[i]], found.values[rows[i]]), rows)
        chance = math.prod(1 / math.factorial(min(20, len(np.unique(x[rows])))) for rows in parts)
        why = ""
        if math.isnan(estimate):
            why = "no order: nothing changes"
        elif chance > _CHANCE or math.isnan(low):
            why = f"too few runs: such an order by chance has {chance:.2g}"
        bounds = sorted((self.sign * low, self.sign * high))
        holds: Holds = "cannot say"
        if not why and bounds[0] > self.value:
            holds = "yes"
        elif not why and bounds[1] <= self.value:
            holds = "no"
        more = f", rank correlation above {self.value:g}" if self.value else ""
        mean = ", mean over runs that differ in it alone" if len(parts) > 1 else ""
        return self.result(
            found,
            how=f"Spearman's rank correlation of {self.subject} with {self.along}{mean}, 95 % "
            f"bootstrap interval over {over}",
            published=self.kind_name() + more,
            ours=f"ρ = {estimate:.3g}{interval(low, high)}{medians(found.values, x)}",
            numbers=(estimate, low, high),
            holds=holds,
            why=why,
        )
