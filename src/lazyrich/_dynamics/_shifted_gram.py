"""Linear systems with a shifted Gram matrix: by Cholesky, or by products alone."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.linalg as jsl
import lineax as lx
from jax import lax
from jaxtyping import Array, Bool, Float, Int

# A Nyström preconditioner of this rank costs as many products with the Gram matrix.
_RANK = 100
_MAX_ITERATIONS = 200


def cholesky_solve(
    matrix: Float[Array, "m m"],
) -> tuple[Callable[[Array], Array], Bool[Array, ""]]:
    """Solves with a matrix that is positive definite but for rounding.

    - **Returns** the solve, and whether the diagonal had to be raised, by $m$ roundings of
        the largest entry, before the factorisation went through.
    """
    size, dtype = len(matrix), matrix.dtype
    jitter = size * jnp.finfo(dtype).eps * jnp.max(jnp.diagonal(matrix))

    def broken(carry: tuple[Array, Int[Array, ""]]) -> Array:
        lower, tries = carry
        return (tries == 0) | ((tries == 1) & ~jnp.all(jnp.isfinite(jnp.diagonal(lower))))

    def factor(carry: tuple[Array, Int[Array, ""]]) -> tuple[Array, Int[Array, ""]]:
        _, tries = carry
        raised = matrix + tries * jitter * jnp.eye(size, dtype=dtype)
        return jnp.linalg.cholesky(raised), tries + 1

    # A loop and not a branch: in a batch of runs, a branch would be taken by all of them.
    lower, tries = lax.while_loop(broken, factor, (jnp.zeros_like(matrix), jnp.zeros((), int)))
    failed = tries > 1
    return lambda v: jsl.cho_solve((lower, True), v), failed


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
    # A shift keeps the small Gram matrix positive definite; it is taken off again.
    shift = jnp.finfo(dtype).eps * jnp.linalg.norm(image)
    image = image + shift * sketch
    core = sketch.T @ image
    lower = jnp.linalg.cholesky(0.5 * (core + core.T))
    factor = jsl.solve_triangular(lower, image.T, lower=True).T
    basis, singular, _ = jnp.linalg.svd(factor, full_matrices=False)
    return Nystrom(basis, jnp.maximum(singular**2 - shift, 0.0))


def conjugate_gradient_solve(
    product: Callable[[Array], Array],
    shift: Array,
    approximation: Nystrom,
    tolerance: float,
) -> Callable[[Array], tuple[Array, Int[Array, ""]]]:
    r"""Solves with $\text{shift} \cdot I + G$ from products with $G$, preconditioned.

    - **Returns** the solve, giving the solution and the number of products it took.
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
        operator = lx.FunctionLinearOperator(lambda u: shift * u + product(u), like, tag)
        cheap = lx.FunctionLinearOperator(precondition, like, tag)
        solution = lx.linear_solve(
            operator,
            v,
            lx.CG(rtol=tolerance, atol=0.0, max_steps=_MAX_ITERATIONS),
            options={"preconditioner": cheap},
            throw=False,
        )
        return solution.value, solution.stats["num_steps"]

    return solve
