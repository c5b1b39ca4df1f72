"""Products with a wide data matrix, computed for one block of columns at a time.

Linear models compute `x @ w` with `x` of shape `(n, d)`, where `d` is much larger than `n`. The
entries are often exact in a narrow type (`int8` for signs), but sums need a wide type. The whole
matrix in a wide type would take eight times as much memory, and every product would read all of
it. A converted block is a small buffer that stays in the cache. All functions take `x` in any real
type and compute in the type of the other operand.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree, Shaped

# Entries of a converted block: 8 MiB of float64. Measured at n = 256, d = 100,000 on two cores with
# `int8` data: the best block for `x @ w` has 4,096 columns (6.9 ms; 10 ms with half as many), the
# best block for a product that also forms the Gram matrix 2,048 (77 ms; 142 ms with twice as many).
_BLOCK_ENTRIES = 2**20
_SMALLEST_BLOCK = 256


def block_columns(num_rows: int) -> int:
    """The number of columns in a block of a matrix with `num_rows` rows."""
    return max(_SMALLEST_BLOCK, _BLOCK_ENTRIES // num_rows)


def fold_columns(
    body: Callable[..., PyTree[Array]],
    zero: PyTree[Array],
    x: Shaped[Array, "n d"],
    *per_column: Any,
    block: int | None = None,
) -> PyTree[Array]:
    """Sums `body(x_block, *per_column_blocks)` over blocks of columns of `x`.

    - **Takes** `body`, which returns a pytree like `zero`; `per_column`, pytrees of arrays
        whose last axis has length `d`, or 1 for a value that all blocks share;
        `block`, the columns in a block, by default [`block_columns`][].
    - **Returns** a pytree like `zero`: the sum over all blocks.
    """
    dtype = jnp.result_type(*jax.tree.leaves(zero))
    num_columns = x.shape[1]

    width = block_columns(x.shape[0]) if block is None else block

    # Without a checkpoint, reverse mode would store every converted block.
    @functools.partial(jax.checkpoint, static_argnums=1)
    def part(start: Any, size: int) -> PyTree[Array]:
        def cut(a: Array) -> Array:
            if a.shape[-1] != num_columns or num_columns == 1:
                return a
            return lax.dynamic_slice_in_dim(a, start, size, axis=-1)

        return body(cut(x).astype(dtype), *jax.tree.map(cut, per_column))

    num_blocks, rest = divmod(num_columns, width)
    total = zero
    if num_blocks > 0:

        def step(i: Array, carry: PyTree[Array]) -> PyTree[Array]:
            return jax.tree.map(jnp.add, carry, part(i * width, width))

        total = lax.fori_loop(0, num_blocks, step, total)
    if rest > 0:
        total = jax.tree.map(jnp.add, total, part(num_blocks * width, rest))
    return total


@jax.jit
def matvec(x: Shaped[Array, "n d"], w: Float[Array, " d"]) -> Float[Array, " n"]:
    """`x @ w` in the type of `w`, differentiable in `w` in forward and reverse mode."""
    return fold_columns(lambda x, w: x @ w, jnp.zeros(x.shape[0], w.dtype), x, w)


@jax.jit
def rmatvec(x: Shaped[Array, "n d"], v: Float[Array, " n"]) -> Float[Array, " d"]:
    """`v @ x` in the type of `v`."""
    num_columns, width = x.shape[1], block_columns(x.shape[0])
    num_blocks, rest = divmod(num_columns, width)
    parts = []
    if num_blocks > 0:

        def part(i: Array) -> Array:
            return v @ lax.dynamic_slice_in_dim(x, i * width, width, axis=1).astype(v.dtype)

        parts.append(lax.map(part, jnp.arange(num_blocks)).reshape(-1))
    if rest > 0:
        parts.append(v @ x[:, num_columns - rest :].astype(v.dtype))
    return jnp.concatenate(parts)


@jax.jit
def gram(x: Shaped[Array, "n d"], weights: Float[Array, " _"]) -> Float[Array, "n n"]:
    r"""$X \operatorname{diag}(\text{weights})\, X^\top$, in the type of `weights`.

    `weights` has length `d`, or length 1 for a multiple of the Gram matrix without weights.
    """
    n = x.shape[0]

    def body(x: Array, h: Array) -> Array:
        return (x * h[None]) @ x.T

    zero = jnp.zeros((n, n), weights.dtype)
    return fold_columns(body, zero, x, weights, block=block_columns(2 * n))
