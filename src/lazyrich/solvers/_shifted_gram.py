"""Linear systems with a shifted Gram matrix, by Cholesky factors or by conjugate gradients."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.linalg as jsl
import lineax as lx
from jax import lax
from jaxtyping import Array, Bool, Float, Int

# The rank of the Nyström preconditioner. It costs as many products with the Gram matrix.
_RANK = 100
_MAX_ITERATIONS = 200
# The residual is computed anew every this many iterations, which costs one product more.
_REFRESH = 10


def cholesky_solve(
    matrix: Float[Array, "m m"], shift: Array | float = 0.0
) -> tuple[Callable[[Array], Array], Bool[Array, ""]]:
    """Solves with `matrix` plus `shift` times the identity, by a Cholesky factor.

    The sum must be positive definite up to rounding. If the factorisation fails, it is repeated
    once with a larger diagonal: $m$ times the machine epsilon times the largest diagonal entry is
    added.

    - **Returns** the solve, and whether the larger diagonal was needed.
    """
    size, dtype = len(matrix), matrix.dtype
    jitter = size * jnp.finfo(dtype).eps * jnp.max(jnp.diagonal(matrix))

    def broken(carry: tuple[Array, Int[Array, ""]]) -> Array:
        lower, tries = carry
        return (tries == 0) | ((tries == 1) & ~jnp.all(jnp.isfinite(jnp.diagonal(lower))))

    def factor(carry: tuple[Array, Int[Array, ""]]) -> tuple[Array, Int[Array, ""]]:
        _, tries = carry
        raised = matrix + (shift + tries * jitter) * jnp.eye(size, dtype=dtype)
        return jnp.linalg.cholesky(raised), tries + 1

    # A loop instead of a branch: under `vmap` both sides of a branch are computed for all runs.
    lower, tries = lax.while_loop(broken, factor, (jnp.zeros_like(matrix), jnp.zeros((), int)))
    failed = tries > 1
    return lambda v: jsl.cho_solve((lower, True), v), failed


def normal_solve(matrix: Float[Array, "m p"], shift: Array) -> Callable[[Array], Array]:
    r"""Solves with $A^\top A + \text{shift} \cdot I$ without forming $A^\top A$.

    The triangular factor comes from a QR decomposition of $A$ stacked on $\sqrt{\text{shift}} I$.
    If the norms of two columns differ by $10^9$, the products $A^\top A$ and $A A^\top$ lose all
    digits of the smaller column.
    """
    size = matrix.shape[1]
    below = jnp.sqrt(shift) * jnp.eye(size, dtype=matrix.dtype)
    upper = jnp.linalg.qr(jnp.concatenate([matrix, below]), mode="r")
    return lambda v: jsl.cho_solve((upper, False), v)


class Nystrom(NamedTuple):
    """A low-rank approximation $U \\operatorname{diag}(\\Lambda) U^\\top$."""

    basis: Float[Array, "m r"]
    values: Float[Array, " r"]


def nystrom(product: Callable[[Array], Array], size: int, dtype: jnp.dtype) -> Nystrom:
    """Approximates a positive semi-definite matrix from products with random vectors.

    - **Reference** Frangella, Tropp & Udell, SIAM J. Matrix Anal. Appl. 44 (2023),
        718--752, algorithm 2.1 (randomised Nyström), with rank min(100, size).
    """
    rank = min(_RANK, size)
    sketch = jnp.linalg.qr(jr.normal(jr.key(0), (size, rank), dtype))[0]
    image = jax.vmap(product, in_axes=1, out_axes=1)(sketch)
    # Scaled by the largest entry, so that tiny products do not underflow.
    unit = jnp.max(jnp.abs(image))
    unit = jnp.where(unit > 0, unit, jnp.ones_like(unit))
    image = image / unit
    # The shift keeps the small Gram matrix positive definite. It is subtracted from the result.
    shift = jnp.finfo(dtype).eps * jnp.maximum(1.0, jnp.linalg.norm(image))
    image = image + shift * sketch
    core = sketch.T @ image
    lower = jnp.linalg.cholesky(0.5 * (core + core.T))
    factor = jsl.solve_triangular(lower, image.T, lower=True).T
    basis, singular, _ = jnp.linalg.svd(factor, full_matrices=False)
    return Nystrom(basis, unit * jnp.maximum(singular**2 - shift, 0.0))


def conjugate_gradient_solve(
    product: Callable[[Array], Array],
    shift: Array,
    approximation: Nystrom,
    tolerance: float,
) -> Callable[[Array], tuple[Array, Int[Array, ""]]]:
    r"""Solves with $\text{shift} \cdot I + G$ by preconditioned conjugate gradients.

    - **Takes** `product`, $v \mapsto Gv$; `tolerance` for the norm of the residual over the norm
        of the right-hand side.
    - **Returns** the solve. It gives the solution and the number of products with $G$.
    - **Reference** as [`nystrom`][], equation (1.3): the preconditioner.
    """
    basis, values = approximation
    smallest = values[-1]

    def precondition(v: Array) -> Array:
        inside = basis.T @ v
        return v + basis @ (((smallest + shift) / (values + shift) - 1) * inside)

    def solve(v: Array) -> tuple[Array, Int[Array, ""]]:
        like = jax.ShapeDtypeStruct(v.shape, v.dtype)
        tag = lx.positive_semidefinite_tag
        operator = lx.FunctionLinearOperator(lambda u: u + product(u) / shift, like, tag)
        cheap = lx.FunctionLinearOperator(precondition, like, tag)
        # lineax applies its relative tolerance to each entry, and an entry of zero never meets
        # it. For a right-hand side of norm 1, the absolute tolerance is the relative one.
        size = jnp.linalg.norm(v)
        size = jnp.where(size > 0, size, jnp.ones_like(size))
        solution = lx.linear_solve(
            operator,
            v / size,
            lx.CG(
                rtol=0.0,
                atol=tolerance,
                norm=jnp.linalg.norm,
                stabilise_every=_REFRESH,
                max_steps=_MAX_ITERATIONS,
            ),
            options={"preconditioner": cheap},
            throw=False,
        )
        steps = solution.stats["num_steps"]
        return solution.value * (size / shift), 1 + steps + steps // _REFRESH

    return solve
