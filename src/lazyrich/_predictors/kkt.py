"""How far parameters are from a KKT point of margin maximisation."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Shaped

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
    outputs = matvec(x, power_difference(params.u, params.v, depth)) * y
    smallest = float(jnp.min(outputs))
    if not smallest > 0:
        return KKTResidual(np.nan, np.nan, np.full(len(y), np.nan))
    u, v = (p * smallest ** (-1 / depth) for p in params)
    slope_u, slope_v = depth * u ** (depth - 1), depth * v ** (depth - 1)
    margins = outputs / smallest
    kernel = np.asarray(gram(x, slope_u**2 + slope_v**2) * jnp.outer(y, y))
    norm = jnp.hypot(jnp.linalg.norm(u), jnp.linalg.norm(v))
    slack = np.asarray((margins - 1) / norm)
    # By Euler's identity the gradients' products with theta are L times the margins.
    mu = minimise_nonnegative(kernel + np.diag(slack**2), np.asarray(depth * margins))
    pull = rmatvec(x, jnp.asarray(mu) * y)
    residual = jnp.hypot(jnp.linalg.norm(u - slope_u * pull), jnp.linalg.norm(v + slope_v * pull))
    complementarity = jnp.asarray(mu) @ (margins - 1) / norm**2
    return KKTResidual(float(residual / norm), float(complementarity), mu)
