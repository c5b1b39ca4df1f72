"""The records of a solve that several runs share."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Shaped

from ..._integrate.kept import kept
from ..._integrate.stepping import SolveState


@dataclasses.dataclass(frozen=True)
class Records:
    """The records so far: `times` of the solve, and `values` with axes over times and runs."""

    times: Float[np.ndarray, " r"]
    values: Any

    @classmethod
    def of(cls, solve: SolveState) -> "Records":
        """The records of a solve."""
        return cls(*kept((solve.times, solve.values), solve.num_saved))

    def rows_of(
        self, own: Float[np.ndarray, " t"], requested: Float[np.ndarray, " u"]
    ) -> Bool[np.ndarray, " r"]:
        """Which records belong to a run: at its `own` times, and those that no run requested."""
        extra = ~np.isin(self.times, requested) & (self.times <= own[-1])
        return extra | np.isin(self.times, own)

    def values_at(self, rows: Shaped[np.ndarray, " k"], place: int) -> Any:
        """The values of the run at `place`, at some of the records."""
        return jax.tree.map(lambda a: a[rows, place], self.values)


def united(parts: Sequence[Float[np.ndarray, " _"]], more: Sequence[float]) -> Any:
    """All times of several arrays and `more`, increasing, without repetition."""
    return np.unique(np.concatenate([*parts, np.asarray(more, float)]))


def filled(times: Float[np.ndarray, " t"], size: int) -> Float[np.ndarray, " u"]:
    """Times with infinite ones at the end, `size` in all."""
    return np.concatenate([times, np.full(size - len(times), np.inf)])
