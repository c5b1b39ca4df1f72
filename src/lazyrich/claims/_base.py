"""What a claim is, and what checking it returns."""

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pydantic
import xarray as xr

from .._core.description import Choice, small_letters

Holds = Literal["yes", "no", "cannot say"]


class AbstractClaim(Choice):
    """A sentence of a paper in a form that runs can confirm, refute or leave open.

    In a panel's file it is a table under `[[claims]]`, whose `kind` is the name of the class in
    small letters with underscores: `AtLeast` is `at_least`. A subclass adds its fields and
    `check`. It can stand in a panel as soon as it is defined.

    - **Takes** `text`, the sentence; `where`, which runs it is about: values by key, a list for
        any of its values; `source`, where it is stated.
    """

    text: str
    where: dict[str, Any] = pydantic.Field(default_factory=dict)
    source: str | None = None

    @classmethod
    def kind_name(cls) -> str:
        return small_letters(cls.__name__)

    @abc.abstractmethod
    def check(self, dataset: xr.Dataset) -> "ClaimResult":
        """Whether the claim holds in the runs of a sweep's dataset.

        - **Raises** [`InputError`][lazyrich.InputError] for a quantity or key that is not there,
            and if the claim is about none of the runs.
        """

    def selections(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Fields that select runs, and the values by key that they select by.

        Each must hold for some of a panel's runs, which is checked before the first is run.
        """
        yield "where", self.where


@dataclass(frozen=True)
class ClaimResult:
    """A claim, what was measured, and whether the claim holds.

    - `how`: what was measured; `published`: what it should be; `ours`: what it is, in words.
    - `holds`: `yes`, `no`, or `cannot say` where there are too few runs or the interval has
        room for both.
    - `estimate`, `low`, `high`: the number behind it and its 95 % interval, NaN without one.
    - `num_runs`, the number of runs used; `num_never`, how many of them did not reach the time by
        the horizon, which counts as later than all others; `num_left_out`, the number of runs
        without the quantity.
    """

    claim: AbstractClaim
    how: str
    published: str
    ours: str
    holds: Holds
    estimate: float
    low: float
    high: float
    num_runs: int
    num_never: int
    num_left_out: int
