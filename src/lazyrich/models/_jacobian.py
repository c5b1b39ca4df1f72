"""Products of a Jacobian with itself, a block of rows at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float

# Rows of the Jacobian held at once: 256 MiB of float64.
_JACOBIAN_ENTRIES = 2**25


def contract(outputs: Callable[[Any], Array], params: Any) -> Float[Array, "m m"]:
    """The tangent kernel of any function of `params`, by one backward pass an output.

    The Jacobian is made a block of rows at a time and never held whole past 256 MiB; two
    blocks meet in a product. Costs `m` backward passes for a small Jacobian and `m` for
    each pair of blocks for a large one.
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
