"""Parameters at requested steps of a discrete optimiser."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .._integrate.kept import kept
from ._base import Snapshots


class StepSnapshots(eqx.Module):
    """The parameters at `steps`, which do not decrease."""

    steps: Int[Array, " k"]
    values: PyTree  # with a leading axis over steps; zeros beyond `num`
    num: Int[Array, ""]

    @classmethod
    def begin(cls, steps: Int[Array, " k"], params: PyTree) -> "StepSnapshots":
        """The snapshots before the first step."""
        empty = jax.tree.map(lambda p: jnp.zeros((steps.size, *p.shape), p.dtype), params)
        zero = jnp.zeros((), steps.dtype)
        return cls(steps, empty, zero).at(zero, params)

    @property
    def next(self) -> Array:
        """The next of the steps; past all of them, the largest number."""
        last = self.steps.size
        found = self.steps[jnp.minimum(self.num, last - 1)]
        return jnp.where(self.num < last, found, jnp.iinfo(found.dtype).max)

    def at(self, step: Array, params: PyTree) -> "StepSnapshots":
        """The snapshots after `step`, which is at most the next of the steps."""
        rows = self.steps == step

        def leaf(values: Array, new: Array) -> Array:
            return jnp.where(rows.reshape(-1, *[1] * new.ndim), new[None], values)

        values = jax.tree.map(leaf, self.values, params)
        return StepSnapshots(self.steps, values, jnp.sum(self.steps <= step))

    def reached(self, learning_rate: float) -> Snapshots:
        """The snapshots so far, at their times."""
        steps, params = kept((self.steps, self.values), self.num)
        return Snapshots(steps * learning_rate, params, 0.5 * learning_rate)
