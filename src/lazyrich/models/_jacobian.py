"""The product of a Jacobian with its transpose, computed by blocks of rows."""

from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float

# The largest number of entries of the Jacobian in memory: 256 MiB of float64.
_JACOBIAN_ENTRIES = 2**25


def contract(outputs: Callable[[Any], Array], params: Any) -> Float[Array, "m m"]:
    """The tangent kernel of any function of `params`, by one backward pass for each output.

    At most 256 MiB of the Jacobian are in memory at a time. A small Jacobian costs `m` backward
    passes. A Jacobian in `k > 1` blocks of rows costs `k + 1` times as many.
    """
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def raveled(flat: Array) -> Array:
        return jnp.ravel(outputs(unravel(flat)))

    values, pullback = jax.vjp(raveled, flat)
    num_outputs = values.size
    rows = max(1, min(num_outputs, _JACOBIAN_ENTRIES // flat.size))
    identity = jnp.eye(num_outputs, dtype=values.dtype)

    def block(start: int) -> Array:
        return jax.vmap(lambda row: pullback(row)[0])(identity[start : start + rows])

    starts = range(0, num_outputs, rows)
    if len(starts) == 1:
        jacobian = block(0)
        return jacobian @ jacobian.T
    lines = []
    for i in starts:
        left = block(i)
        lines.append(jnp.concatenate([left @ block(j).T for j in starts], axis=1))
    return jnp.concatenate(lines, axis=0)
