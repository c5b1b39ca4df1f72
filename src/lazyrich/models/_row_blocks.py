"""Functions of rows, applied to blocks of rows that fit in cache."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

# The number of entries of the widest layer in memory: 8 MB of float64. For 3763 rows and width
# 1024, a gradient then takes 35 ms. It takes 47 ms with blocks of a quarter of this size, and
# 87 ms without blocks.
_BLOCK_ENTRIES = 2**20


def in_blocks(
    function: Callable[[Shaped[Array, "b d"]], Float[Array, "b c"]],
    x: Shaped[Array, "n d"],
    width: int,
) -> Float[Array, "n c"]:
    """Applies a function of rows to blocks of rows, so that layers of this `width` fit in cache.

    For derivatives, the layers of a block are computed again and not stored. The memory does not
    grow with the number of rows. The time is halved, because less memory is read.
    """
    n = x.shape[0]
    num = -(-n * width // _BLOCK_ENTRIES)
    if num <= 1:
        return function(x)
    rows = -(-n // num)
    num = -(-n // rows)
    # The last block is padded with the first rows. Their outputs are dropped.
    padded = jnp.concatenate([x, x[: num * rows - n]]).reshape(num, rows, -1)
    outputs = jax.lax.map(jax.checkpoint(function), padded)
    return outputs.reshape(num * rows, -1)[:n]
