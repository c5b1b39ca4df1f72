"""How far parameters are from a KKT point of margin maximisation."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from .._columns import gram, matvec, rmatvec
from .._models import DiagonalParams, power_difference
from .._precision import in_double
from ._base import as_data, minimise_nonnegative


class KKTResidual(NamedTuple):
    r"""Residuals at parameters scaled to a smallest margin of 1; all dimensionless.

    - `stationarity`, $\|\theta - \sum_i \mu_i y_i \nabla f_i\|_2 / \|\theta\|_2$.
    - `complementarity`, $\sum_i \mu_i (y_i f_i - 1) / \|\theta\|_2^2$.
    - `multipliers`, $\mu \ge 0$, shape `(n,)`: those that make the squares of both least, the
        second sample by sample.

    NaN where some sample is not fitted, for then no scaling is feasible, or where the
    search for multipliers did not end.
    """

    stationarity: float
    complementarity: float
    multipliers: Float[np.ndarray, " n"]


@in_double
def diagonal_kkt(
    params: DiagonalParams, x: Shaped[ArrayLike, "n d"], y: Shaped[ArrayLike, " n"], depth: int
) -> KKTResidual:
    r"""Residual of a diagonal net in margin maximisation.

    The problem is $\min \frac12 \|\theta\|_2^2$ subject to $y_i f(\theta; x_i) \ge 1$. In
    terms of $w = u^{\odot L} - v^{\odot L}$ this is $\min \|w\|_{2/L}$ subject to $y_i
    \langle w, x_i\rangle \ge 1$: convex at $L = 2$, where
    [`l1_max_margin`][lazyrich.predictors.l1_max_margin] solves it, and a quasi-norm with
    many KKT points beyond.

    - **Source** Lyu & Li, ICLR 2020, arXiv:1906.05890: approximate KKT points, in relative form.
    """
    x, y = as_data(x, y, signs=True)
    params = DiagonalParams(*map(jnp.asarray, params))
    system = kkt_system(params, x, y, depth)
    mu = kkt_multipliers(np.asarray(system.matrix), np.asarray(system.linear))
    residual, complementarity = kkt_residual(params, x, y, depth, jnp.asarray(mu))
    return KKTResidual(float(residual), float(complementarity), mu)


class KKTSystem(NamedTuple):
    r"""Multipliers minimise $\frac12 \mu^\top M \mu - b^\top \mu$ over $\mu \ge 0$.

    NaN where some sample is not fitted.
    """

    matrix: Float[Array, "n n"]
    linear: Float[Array, " n"]


@eqx.filter_jit
def kkt_system(
    params: DiagonalParams, x: Shaped[Array, "n d"], y: Float[Array, " n"], depth: int
) -> KKTSystem:
    """What the multipliers solve."""
    scaled, margins, norm = _scaled(params, x, y, depth)
    weights = depth**2 * (scaled.u ** (2 * depth - 2) + scaled.v ** (2 * depth - 2))
    kernel = gram(x, weights) * jnp.outer(y, y)
    # By Euler's identity the gradients' products with theta are L times the margins.
    return KKTSystem(kernel + jnp.diag(((margins - 1) / norm) ** 2), depth * margins)


def kkt_multipliers(
    matrix: Float[np.ndarray, "n n"], linear: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The multipliers; NaN where there is no system for them or the search did not end."""
    if not np.all(np.isfinite(linear)):
        return np.full(len(linear), np.nan)
    return minimise_nonnegative(matrix, linear)


@eqx.filter_jit
def kkt_residual(
    params: DiagonalParams,
    x: Shaped[Array, "n d"],
    y: Float[Array, " n"],
    depth: int,
    mu: Float[Array, " n"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Stationarity and complementarity with given multipliers."""
    scaled, margins, norm = _scaled(params, x, y, depth)
    pull = rmatvec(x, mu * y)
    residual = jnp.hypot(
        jnp.linalg.norm(scaled.u - depth * scaled.u ** (depth - 1) * pull),
        jnp.linalg.norm(scaled.v + depth * scaled.v ** (depth - 1) * pull),
    )
    return residual / norm, mu @ (margins - 1) / norm**2


def _scaled(
    params: DiagonalParams, x: Array, y: Array, depth: int
) -> tuple[DiagonalParams, Array, Array]:
    """Parameters at a smallest margin of 1, all margins there and the norm; NaN without a fit."""
    outputs = matvec(x, power_difference(params.u, params.v, depth)) * y
    smallest = jnp.min(outputs)
    smallest = jnp.where(smallest > 0, smallest, jnp.nan)
    u, v = (p * smallest ** (-1 / depth) for p in params)
    norm = jnp.hypot(jnp.linalg.norm(u), jnp.linalg.norm(v))
    return DiagonalParams(u, v), outputs / smallest, norm
