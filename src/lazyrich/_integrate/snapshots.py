"""Parameters at requested times, kept besides the observed values."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from .interpolation import evaluated
from .kept import kept
from .log_state import params_of


class Snapshots(eqx.Module):
    """The parameters at `requests`, increasing times on the clock of the records.

    They do not count as records: neither steps nor records depend on them.
    """

    requests: Float[Array, " k"]
    values: PyTree  # with a leading axis over requests; zeros beyond `num`
    num: Int[Array, ""]

    @classmethod
    def begin(cls, requests: Float[Array, " k"], params: PyTree) -> "Snapshots":
        """The snapshots at time 0, with initial parameters `params`."""
        asked = (requests == 0).astype(jnp.int64)  # a time may be requested repeatedly

        def first(leaf: Array) -> Array:
            at_start = asked.reshape(-1, *[1] * jnp.ndim(leaf)) == 1
            return jnp.where(at_start, leaf[None], jnp.zeros((), leaf.dtype))

        return cls(requests, jax.tree.map(first, params), jnp.sum(asked))

    def after_step(
        self, interpolation: Any, clock: Any, accepted: Array, y1: PyTree
    ) -> "Snapshots":
        """Adds the parameters at all requests inside a step that ends in the state `y1`."""
        reached = clock.read(interpolation.t1, y1)
        size = self.requests.size

        def request(num: Array) -> Array:
            return jnp.where(num < size, self.requests[jnp.minimum(num, size - 1)], jnp.inf)

        def more(found: "Snapshots") -> Array:
            return accepted & (request(found.num) <= reached)

        def save(found: "Snapshots") -> "Snapshots":
            time = clock.locate(interpolation, request(found.num))
            y = evaluated(interpolation, time, y1)
            values = jax.tree.map(lambda a, v: a.at[found.num].set(v), found.values, params_of(y))
            return Snapshots(found.requests, values, found.num + 1)

        return lax.while_loop(more, save, self)

    def reached(self, unit: float) -> tuple[np.ndarray, PyTree]:
        """The requests so far, on a clock of this unit, and the parameters at them."""
        times, params = kept((self.requests, self.values), self.num)
        return times / unit, params
