"""Where a quantity changes sign."""

import math
from typing import Annotated

import numpy as np
import xarray as xr
from annotated_types import Ge, Gt

from .._core.errors import InputError
from ._base import ClaimResult
from ._quantity import LEFT_OUT, AbstractTrendClaim, within
from ._text import interval, needed, percent, shown
from .resample import bootstrap, median, sign_change
from .sample import Sample, sample, words_of


class ChangesSign(AbstractTrendClaim):
    """The quantity changes sign at `along` = `value`, within a ratio of 1 + `tolerance`.

    With `beside`, another quantity, at `value` times the place where that one changes sign. The
    place is on a straight line over the logarithm of the key, and the median is over lines of runs
    that differ in it alone. At least `min_runs` lines are needed.
    """

    value: Annotated[float, Gt(0)]
    tolerance: Annotated[float, Gt(0)] = 0.1
    beside: str | None = None
    min_runs: Annotated[int, Ge(1)] = 3

    def model_post_init(self, context: object) -> None:
        super().model_post_init(context)
        if self.beside is not None:
            words_of(self.beside, "beside")
            if self.against:
                raise InputError("against", self.against, "should be left out with beside")

    def sample(self, dataset: xr.Dataset) -> Sample:
        if self.beside is None:
            return super().sample(dataset)
        return sample(dataset, self.quantity, self.where, self.beside)

    def judge(self, found: Sample) -> ClaimResult:
        x, lines = self.values_along(found), found.lines(self.along)
        if np.any(x <= 0):
            raise InputError("along", self.along, "should be a key whose values are positive")
        name, clusters = found.clusters
        parts = [np.flatnonzero(lines == line) for line in np.unique(lines)]
        places = np.array([sign_change(x[rows], found.values[rows]) for rows in parts])
        over = ""
        if found.beside is not None:
            places /= np.array([sign_change(x[rows], found.beside[rows]) for rows in parts])
            over = f" over where {self.beside} does"
        # A line that keeps its sign turns beyond the values that there are, on an unknown side.
        turned = ~np.isnan(places)
        of_line = np.array([clusters[rows[0]] for rows in parts])[turned]
        places = places[turned]
        num = len(places)
        estimate, low, high = math.nan, math.nan, math.nan
        if num:
            estimate = median(places)
            low, high = bootstrap(lambda rows: median(places[rows]), of_line)
        why = "" if num >= self.min_runs else needed(num, self.min_runs, "lines")
        if not why and num < (1 - LEFT_OUT) * len(parts):
            why = "too many lines keep their sign"
        band = (self.value / (1 + self.tolerance), self.value * (1 + self.tolerance))
        return self.result(
            found,
            how=f"where {self.subject} changes sign along {self.along}{over}, median over lines, "
            f"95 % bootstrap interval over {name if name == 'seeds' else 'lines'}",
            published=f"{self.value:g} ± {percent(self.tolerance)}",
            ours=f"{shown(estimate)}{interval(low, high)}; {num} of {len(parts)} lines",
            numbers=(estimate, low, high),
            holds=within(low, high, band, why),
            why=why,
        )
