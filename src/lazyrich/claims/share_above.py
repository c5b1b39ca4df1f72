"""A quantity that is above a value in most runs."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from ._base import ClaimResult, Holds
from ._quantity import AbstractQuantityClaim
from ._share import share_of, share_text
from ._text import needed
from .sample import Sample


class ShareAbove(AbstractQuantityClaim):
    """The quantity is above `value` (0) in at least `share` of the runs that have it.

    At least `min_runs` runs are needed.
    """

    value: float = 0.0
    share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    min_runs: Annotated[int, Ge(1)] = 3

    def judge(self, found: Sample) -> ClaimResult:
        num, hits = len(found.values), int(np.sum(found.values > self.value))
        measured = share_of(hits, num)
        holds: Holds = "yes" if hits >= self.share * num else "no"
        why = "" if num >= self.min_runs else needed(num, self.min_runs)
        return self.result(
            found,
            how=f"runs with {self.subject} above {self.value:g}, of those that have it, exact 95 % "
            "interval",
            published=share_text(self.share),
            ours=measured.text,
            numbers=measured.numbers,
            holds="cannot say" if why else holds,
            why=why,
            of_all=False,
        )
