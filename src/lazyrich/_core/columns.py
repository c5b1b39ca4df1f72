"""Products with a wide data matrix, one block of columns at a time.

Linear models meet their data as `x @ w` with `x` of shape `(n, d)` and `d` far above
`n`. The entries are often exact in a narrow type (`int8` for signs), while sums must be
taken in a wide one. Converting the whole matrix would cost eight times its memory and
would be read from memory at every product; converting a block costs a scratch buffer
that stays in cache. Everything here takes `x` in any real type and computes in the type
of its other operand.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree, Shaped

# Entries of a converted block: 8 MiB of float64. Measured at n = 256, d = 100,000 on two
# cores with `int8` data: `x @ w` wants 4,096 columns (6.9 ms, 10 ms at half of that), a
# product that also forms the Gram matrix wants 2,048 (77 ms, 142 ms at twice that).
_BLOCK_ENTRIES = 2**20
_SMALLEST_BLOCK = 256


def block_columns(num_rows: int) -> int:
    """How many columns of a matrix with `num_rows` rows make a block."""
    return max(_SMALLEST_BLOCK, _BLOCK_ENTRIES // num_rows)


def fold_columns(
    body: Callable[..., PyTree[Array]],
    zero: PyTree[Array],
    x: Shaped[Array, "n d"],
    *per_column: Any,
    block: int | None = None,
) -> PyTree[Array]:
    """Sums `body(x_block, *per_column_blocks)` over blocks of columns of `x`.

    - **Takes** `body`, returning a pytree like `zero`; `per_column`, pytrees of arrays
        whose last axis has length `d` or 1 (then every block sees the same value);
        `block`, columns a block, [`block_columns`][] if left out.
    - **Returns** a pytree like `zero`: the sum over all blocks.
    """
    dtype = jnp.result_type(*jax.tree.leaves(zero))
    num_columns = x.shape[1]

    width = block_columns(x.shape[0]) if block is None else block

    # Left alone, reverse mode would keep every converted block.
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
    """`x @ w` in the type of `w`; differentiable in `w`, forwards and backwards."""
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

    `weights` has length `d`, or 1 for a multiple of the plain Gram matrix.
    """
    n = x.shape[0]

    def body(x: Array, h: Array) -> Array:
        return (x * h[None]) @ x.T

    zero = jnp.zeros((n, n), weights.dtype)
    return fold_columns(body, zero, x, weights, block=block_columns(2 * n))
