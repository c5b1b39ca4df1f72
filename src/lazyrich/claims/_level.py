"""What claims about a median have in common."""

import abc
import math
from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Shaped

from ._base import ClaimResult
from ._quantity import AbstractQuantityClaim, within
from ._text import interval, needed, shown
from .resample import bootstrap, median
from .sample import Sample


class AbstractLevel(AbstractQuantityClaim):
    """The median of the quantity lies in a band around or beside `value`.

    The whole interval of the median must lie in the band. At least `min_runs` runs are needed.
    Times that did not come are above any bound within the horizon.
    """

    value: float
    min_runs: Annotated[int, Ge(1)] = 3

    @abc.abstractmethod
    def band(self) -> tuple[float, float]:
        """Where the median should lie."""

    @abc.abstractmethod
    def band_text(self) -> str:
        """The same in words."""

    def judge(self, found: Sample) -> ClaimResult:
        name, clusters = found.clusters

        def median_of(rows: Shaped[np.ndarray, " k"]) -> float:
            return median(found.values[rows])

        num = len(found.values)
        estimate = median_of(np.arange(num)) if num else math.nan
        low, high = bootstrap(median_of, clusters) if num > 1 else (estimate, estimate)
        why = ""
        if num < self.min_runs:
            why = needed(num, self.min_runs)
        # Beyond the horizon nothing is known of a time that did not come.
        elif found.never.any() and self.value > np.min(found.runs.key("t1", "t1")[found.never]):
            why = "some runs end before it"
        return self.result(
            found,
            how=f"median of {self.subject}, 95 % bootstrap interval over {name}",
            published=self.band_text(),
            ours=f"{shown(estimate)}{interval(low, high)}",
            numbers=(estimate, low, high),
            holds=within(low, high, self.band(), why),
            why=why,
        )
