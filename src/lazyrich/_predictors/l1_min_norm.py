"""The interpolant of least L1 norm, by an interior-point method."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from .._columns import gram, matvec, rmatvec
from .._precision import in_double
from ._base import Predictor, Status, as_data, room
from .l2_min_norm import l2_min_norm

_MAX_ITERATIONS = 100
_PATIENCE = 8  # iterations without a better certificate: the limit of rounding


@in_double
def l1_min_norm(
    x: Shaped[ArrayLike, "n d"], y: Shaped[ArrayLike, " n"], tolerance: float = 1e-6
) -> Predictor:
    r"""The linear interpolant of least L1 norm: the late predictor of regression by a diagonal
    net of depth 2.

    $\min \|w\|_1$ subject to $\langle w, x_i \rangle = y_i$, whose dual maximises $\nu^\top y$ over
    $\|X^\top \nu\|_\infty \le 1$. Of $w = w_+ - w_-$ the interpolant of least L2 norm, the same
    added to both parts, is a strictly feasible start, and so is $\nu = 0$; Mehrotra's
    predictor--corrector method stays feasible, and an iteration costs one weighted Gram matrix.

    - **Takes** any real labels; `tolerance`, the relative gap at which it counts as optimal
        (iterations go on to a hundredth of it).
    - **Returns** weights that are not normalised, `objective` their norm; `not_separable` if
        no weights interpolate. The norm is one number; the weights need not be unique.
    - **Source** Mehrotra, SIAM J. Optim. 2 (1992), 575--601; basis pursuit as in Chen, Donoho &
        Saunders, SIAM Rev. 43 (2001), 129--159; as the late predictor, Lyu et al. 2024.
    """
    start = l2_min_norm(x, y, tolerance)
    name = "L1 min norm"
    if start.status == "not_separable" or start.objective == 0:
        norm = float(np.sum(np.abs(start.weights)))
        return start._replace(name=name, objective=norm)
    x, y = as_data(x, y, signs=False)
    point = _start(jnp.asarray(start.weights), y)
    best = _certificate(x, y, point)
    stalled = 0
    for _ in range(_MAX_ITERATIONS):
        point = _iterate(x, point)
        new = _certificate(x, y, point)
        if not np.isfinite(new.gap):
            break
        stalled = 0 if new.gap < best.gap else stalled + 1
        best = new if stalled == 0 else best
        if best.gap <= 0.01 * tolerance or stalled == _PATIENCE:
            break
    fits = best.misfit <= tolerance * float(jnp.max(jnp.abs(y)))
    status: Status = "optimal" if best.gap <= tolerance and fits else "not_proven"
    return Predictor(
        name,
        np.asarray(best.weights),
        float(best.norm),
        float(best.bound),
        np.asarray(best.nu),
        float(best.gap),
        status,
    )


class _Point(NamedTuple):
    """A strictly feasible pair: the two parts of the weights, and the dual."""

    nu: Float[Array, " n"]
    above: Float[Array, " d"]
    below: Float[Array, " d"]


class _Certificate(NamedTuple):
    weights: Array
    norm: Array
    bound: Array
    nu: Array
    gap: Array
    misfit: Array


@jax.jit
def _start(weights: Array, y: Array) -> _Point:
    half, spare = 0.5 * weights, jnp.max(jnp.abs(weights))
    return _Point(jnp.zeros_like(y), spare + half, spare - half)


@jax.jit
def _certificate(x: Array, y: Array, point: _Point) -> _Certificate:
    weights = point.above - point.below
    norm = jnp.sum(jnp.abs(weights))
    nu = point.nu / jnp.maximum(jnp.max(jnp.abs(rmatvec(x, point.nu))), 1.0)
    bound = nu @ y
    misfit = jnp.max(jnp.abs(matvec(x, weights) - y))
    return _Certificate(weights, norm, bound, nu, jnp.abs(norm - bound) / norm, misfit)


class _Targets(NamedTuple):
    """Where the products of complementary pairs should go, less what they are."""

    above: Float[Array, " d"]
    below: Float[Array, " d"]


@eqx.filter_jit
def _iterate(x: Shaped[Array, "n d"], point: _Point) -> _Point:
    """One predictor--corrector step."""
    nu, above, below = point
    g = rmatvec(x, nu)
    slack_above, slack_below = 1 - g, 1 + g
    stiff_above, stiff_below = above / slack_above, below / slack_below
    factor = jsl.cho_factor(gram(x, stiff_above + stiff_below))

    def direction(targets: _Targets) -> tuple[_Point, Array]:
        pull_above, pull_below = targets.above / slack_above, targets.below / slack_below
        d_nu = -jsl.cho_solve(factor, matvec(x, pull_above - pull_below))
        d_g = rmatvec(x, d_nu)
        return _Point(d_nu, pull_above + stiff_above * d_g, pull_below - stiff_below * d_g), d_g

    def lengths(move: _Point, d_g: Array) -> tuple[Array, Array]:
        primal = jnp.minimum(room(above, move.above), room(below, move.below))
        return primal, jnp.minimum(room(slack_above, -d_g), room(slack_below, d_g))

    move, d_g = direction(_Targets(-above * slack_above, -below * slack_below))
    primal, dual = (jnp.minimum(length, 1) for length in lengths(move, d_g))
    now = above @ slack_above + below @ slack_below
    then = (above + primal * move.above) @ (slack_above - dual * d_g)
    then += (below + primal * move.below) @ (slack_below + dual * d_g)
    centre = (then / now) ** 3 * now / (2 * above.size)
    move, d_g = direction(
        _Targets(
            centre - above * slack_above + move.above * d_g,
            centre - below * slack_below - move.below * d_g,
        )
    )
    primal, dual = (jnp.minimum(0.99 * length, 1) for length in lengths(move, d_g))
    return _Point(nu + dual * move.nu, above + primal * move.above, below + primal * move.below)
