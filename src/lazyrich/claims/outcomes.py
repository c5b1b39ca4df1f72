"""What runs come out as."""

from typing import Annotated, Any, get_args

import numpy as np
import pydantic
import xarray as xr
from annotated_types import Ge, Interval

from .._core.errors import InputError
from ..records.transition import Outcome
from ..sweeps.runs import runs_of
from ._base import AbstractClaim, ClaimResult, Holds
from ._share import share_of, share_text
from ._text import needed
from .sample import chosen


class Outcomes(AbstractClaim):
    """At least `share` of the runs have the outcome `value`, or one of several.

    At least `min_runs` runs are needed; one run is enough to refute what is claimed of all.
    """

    value: str | tuple[str, ...]
    share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    min_runs: Annotated[int, Ge(1)] = 3

    @pydantic.field_validator("value", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    def model_post_init(self, context: object) -> None:
        super().model_post_init(context)
        known = get_args(Outcome)
        if not self.outcomes or not set(self.outcomes) <= set(known):
            raise InputError("value", self.value, f"should be among {', '.join(known)}")

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The outcomes that are claimed."""
        return (self.value,) if isinstance(self.value, str) else self.value

    def check(self, dataset: xr.Dataset) -> ClaimResult:
        all_outcomes = chosen(runs_of(dataset), self.where).outcomes()
        ran = all_outcomes[all_outcomes != "missing"]
        num, missing = len(ran), int(np.sum(all_outcomes == "missing"))
        claimed = np.isin(ran, self.outcomes)
        hits = int(np.sum(claimed))
        (share, low, high), ours = share_of(hits, num)
        others, counts = np.unique(ran[~claimed].astype(str), return_counts=True)
        for kind, count in zip(others, counts, strict=True):
            ours += f"; {count} {kind.replace('_', ' ')}"
        holds: Holds = "yes" if num and hits >= self.share * num else "no"
        refuted = holds == "no" and self.share == 1 and num
        if not refuted and (num < self.min_runs or missing):
            why = f"{missing} runs are missing" if missing else needed(num, self.min_runs)
            holds, ours = "cannot say", f"{ours}; {why}"
        names = " or ".join(self.outcomes).replace("_", " ")
        how = f"runs that come out as {names}, exact 95 % interval"
        published = f"{share_text(self.share)} {names}"
        return ClaimResult(self, how, published, ours, holds, share, low, high, num, 0, missing)
