"""The times that a reduced flow is solved for: of records, and of snapshots."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._base import Snapshots, Trajectory


@dataclasses.dataclass(frozen=True)
class Asked:
    """The times of the records, and those at which parameters are kept, if any.

    The small states are recorded at both. The steps do not depend on recorded times.
    """

    times: Float[np.ndarray, " t"]
    snapshots: Float[np.ndarray, " k"] | None

    @property
    def all(self) -> Float[np.ndarray, " s"]:
        """All times, increasing, without repetition."""
        return self.times if self.snapshots is None else np.union1d(self.times, self.snapshots)

    def divided(self, solved: Trajectory) -> Trajectory:
        """The trajectory at the times of the records, with the snapshots."""
        if self.snapshots is None:
            return solved
        params = None
        if solved.ending != "running":
            reached = self.snapshots[self.snapshots <= max(solved.times, default=-1.0)]
            part = solved.at(np.searchsorted(solved.times, reached))
            moments = jax.tree.map(jnp.asarray, (part.times, part.states))
            params = Snapshots(reached, _params_along(part.params_at, *moments))
        records = solved.at(np.flatnonzero(np.isin(solved.times, self.times)))
        return dataclasses.replace(records, snapshots=params)


@eqx.filter_jit
def _params_along(params_at: Any, times: Any, states: Any) -> Any:
    return jax.lax.map(lambda part: params_at(*part), (times, states))
