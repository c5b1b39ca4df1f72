"""The L1 margin as a linear program, for data with very different scales."""

import numpy as np
import scipy.linalg
import scipy.optimize
from jaxtyping import Float

from .products import measured_times
from .rows import equilibrated


def by_simplex(
    z: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " n"]] | None:
    r"""Weights and multipliers of $\min \|w\|_1$ subject to $Z w \ge 1$; None without a vertex.

    The simplex method runs on scaled rows and columns. Only the active samples and coordinates of
    its vertex are used, and the vertex is solved for again with refinement.
    """
    level, by_row, by_column = equilibrated(z)
    right = np.ldexp(1.0, by_row - np.max(by_row))
    cost = np.ldexp(1.0, by_column - np.min(by_column))
    cost, unit = cost / np.max(cost), np.max(right)
    found = scipy.optimize.linprog(
        np.concatenate([cost, cost]),
        A_ub=-np.hstack([level, -level]),
        b_ub=-right / unit,
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status != 0:
        return None
    d = z.shape[1]
    v, nu = found.x[:d] - found.x[d:], -found.ineqlin.marginals
    used, carried = np.flatnonzero(v), np.flatnonzero(nu > 0)
    if not len(used) or not len(carried):
        return None
    square = level[np.ix_(carried, used)]
    v_used = _solved(square, right[carried])
    nu_used = _solved(square.T, np.sign(v[used]) * np.ldexp(1.0, by_column[used]))
    w, mu = np.zeros(d), np.zeros(len(z))
    w[used] = np.ldexp(v_used, by_column[used])
    mu[carried] = np.ldexp(nu_used, by_row[carried])
    return w, mu


def _solved(a: Float[np.ndarray, "m k"], b: Float[np.ndarray, " m"]) -> Float[np.ndarray, " k"]:
    """The least-squares solution of `a` against `b`, refined."""
    x = np.zeros(a.shape[1])
    for _ in range(4):
        x = x + scipy.linalg.lstsq(a, measured_times(a, -x, b)[0])[0]
    return x
