"""Claims about a number that every run has."""

import abc
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pydantic
import xarray as xr
from jaxtyping import Float

from .._core.errors import InputError
from ._base import AbstractClaim, ClaimResult, Holds
from .sample import Sample, paired, sample, words_of

# The share of runs without the quantity from which on the others do not stand for all.
LEFT_OUT = 0.2


class AbstractQuantityClaim(AbstractClaim):
    """A claim about a quantity of the runs. A subclass adds its fields and `judge`.

    - **Takes** `quantity`, a number of the dataset, dotted keys such as `late.test_loss` allowed;
        `first.`, `max.` and `min.` before the name of a curve for its value at time 0, its maximum
        and its minimum, `when_max.` and `when_min.` for the time of these; `t10.`, `t50.` and
        `t90.` for the time when that share is done of its change from the value farthest from the
        last one to the last; or two of these, keys or numbers with `+`, `-`, `*` or `/` between
        blanks (`t_test / t_train`, `weight_decay * t50`).
    - `against`, values by key. Each run is then compared with the run that has these values and
        all others in common with it (`{"loss.kind" = "Logistic"}`): the quantity is the `ratio` of
        the two or, as `compared` says, their `difference`.
    """

    quantity: str
    against: dict[str, Any] = pydantic.Field(default_factory=dict)
    compared: Literal["ratio", "difference"] = "ratio"

    def model_post_init(self, context: object) -> None:
        super().model_post_init(context)
        words_of(self.quantity, "quantity")
        if self.quantity == "outcome":
            raise InputError("quantity", self.quantity, "should be a number, not a word")

    @property
    def subject(self) -> str:
        """The quantity in words."""
        if not self.against:
            return self.quantity
        others = ", ".join(f"{key} = {value}" for key, value in self.against.items())
        joint = "over" if self.compared == "ratio" else "less"
        return f"{self.quantity} {joint} that at {others}"

    def selections(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        yield from super().selections()
        yield "against", self.against

    def check(self, dataset: xr.Dataset) -> ClaimResult:
        return self.judge(self.sample(dataset))

    @abc.abstractmethod
    def judge(self, found: Sample) -> ClaimResult:
        """Whether the claim holds, from the quantity in the runs that have it."""

    def sample(self, dataset: xr.Dataset) -> Sample:
        """The quantity in the runs of a sweep's dataset that the claim is about."""
        found = sample(dataset, self.quantity, self.where)
        if not self.against:
            return found
        others = sample(dataset, self.quantity, self.against)
        return paired(found, others, set(self.against), self.compared)

    def result(
        self,
        found: Sample,
        *,
        how: str,
        published: str,
        ours: str,
        numbers: tuple[float, float, float],
        holds: Holds,
        why: str = "",
        of_all: bool = True,
    ) -> ClaimResult:
        """The result with the counts of its runs.

        - **Takes** `numbers`, the estimate and the ends of its interval, NaN for none; `why`
            nothing can be said, empty if something can; `of_all`, whether the claim is about all
            runs. Then nothing is said where more than a fifth of them do not have the quantity.
        """
        used, never, left_out = len(found.values), int(np.sum(found.never)), found.num_left_out
        if of_all and not why and left_out > LEFT_OUT * (used + left_out):
            holds, why = "cannot say", "too many runs without it"
        name, clusters = found.clusters
        of = f" of {len(np.unique(clusters))} seeds" if name == "seeds" else ""
        ours += f"; {used} {'run' if used == 1 else 'runs'}{of}"
        ours += f", {never} never" if never else ""
        ours += f", {left_out} left out" if left_out else ""
        ours += f"; {why}" if why else ""
        estimate, low, high = (n if math.isfinite(n) else math.nan for n in numbers)
        return ClaimResult(
            self, how, published, ours, holds, estimate, low, high, used, never, left_out
        )


class AbstractTrendClaim(AbstractQuantityClaim):
    """A claim about how a quantity changes `along` a key whose values are numbers."""

    along: str

    def values_along(self, found: Sample) -> Float[np.ndarray, " run"]:
        """The value of the key in every run.

        - **Raises** [`InputError`][lazyrich.InputError] if the values are not numbers.
        """
        x = found.runs.key(self.along, "along")
        if x.dtype.kind not in "fiu":
            raise InputError("along", self.along, "should be a key whose values are numbers")
        return x.astype(float)


def within(low: float, high: float, band: tuple[float, float], why: str = "") -> Holds:
    """Whether an interval lies inside of a band, outside, or neither; `why` nothing can be said."""
    if why or math.isnan(low):
        return "cannot say"
    if band[0] <= low and high <= band[1]:
        return "yes"
    return "no" if high < band[0] or low > band[1] else "cannot say"
