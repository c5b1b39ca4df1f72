"""The L1 max-margin predictor, by an interior-point method on its dual."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from .._core.columns import gram, matvec, rmatvec
from .._core.precision import in_double
from ._base import Predictor, max_step
from .margin import Margin, certify_margin
from .programme import by_simplex

_MAX_ITERATIONS = 100
# The largest data, in entries, for which the simplex method is tried if a gap remains.
_SMALL = 2**17
_PATIENCE = 8  # iterations without a better certificate, which end the search


@in_double
def l1_max_margin(
    x: Shaped[ArrayLike, "..."],
    y: Shaped[ArrayLike, "..."],
    tolerance: float = 1e-6,
    progress: Callable[[float], None] = lambda gap: None,
) -> Predictor:
    r"""The linear predictor of largest L1 margin: the late predictor of a diagonal net of depth 2.

    $\max_{\|w\|_1 = 1} \min_i y_i \langle w, x_i \rangle$ is a linear program in $2d$ variables.
    Its dual has $n + 1$ variables: minimise $t$ over the simplex of $\mu$ with $|\sum_i
    \mu_i y_i x_{ij}| \le t$ for every $j$. Mehrotra's predictor--corrector method starts from a
    strictly feasible pair and stays feasible; an iteration costs one weighted Gram matrix. The
    central path needs no basis, so a degenerate dual, for which column generation stalls, is no
    problem. The certificate is computed afterwards from the final weights and multipliers, with
    all $2d$ variables.

    - **Takes** labels -1 or 1; `tolerance`, the relative gap for the status `optimal` (iterations
        continue to a hundredth of it); `progress`, called with the relative gap.
    - **Source** Mehrotra, SIAM J. Optim. 2 (1992), 575--601; as the late predictor, Lyu et
        al. 2024.
    """
    posed = Margin.of(x, y, 1)
    inputs, labels = jnp.asarray(posed.x), jnp.asarray(posed.y)
    point = _start(inputs, labels)
    best = _certificate(inputs, labels, point)
    stalled = 0
    for _ in range(_MAX_ITERATIONS):
        point = _iterate(inputs, labels, point)
        new = _certificate(inputs, labels, point)
        if not np.isfinite(new.gap):
            break
        # The gap is absolute and zero weights count as a candidate. If no margin is positive, the
        # relative gap stays at one or above while the bound goes to zero.
        better = _gap(new) < _gap(best)
        stalled = 0 if better else stalled + 1
        best = new if stalled == 0 else best
        progress(float(best.gap))
        closed = best.gap <= 0.01 * tolerance or best.bound <= 1e-14
        if closed or stalled == _PATIENCE:
            break
    weights, mu = np.asarray(best.weights), np.asarray(best.mu)
    found = certify_margin("L1 max margin", posed, weights, mu, tolerance)
    if found.status in ("optimal", "not_separable") or posed.x.size > _SMALL:
        return found
    vertex = by_simplex(posed.signed)
    if vertex is None:
        return found
    other = certify_margin("L1 max margin", posed, *vertex, tolerance)
    return other if other.gap < found.gap else found


class _Point(NamedTuple):
    """A strictly feasible pair; `above` and `below` are the multipliers of ±g <= t."""

    mu: Array
    t: Array
    above: Array
    below: Array
    gamma: Array


class _Certificate(NamedTuple):
    weights: Array
    achieved: Array
    bound: Array
    mu: Array
    gap: Array


def _gap(pair: _Certificate) -> float:
    return float(pair.bound) - max(float(pair.achieved), 0.0)


@jax.jit
def _certificate(x: Array, y: Array, point: _Point) -> _Certificate:
    mu = jnp.maximum(point.mu, 0)
    mu = mu / jnp.sum(mu)
    bound = jnp.max(jnp.abs(rmatvec(x, y * mu)))
    weights = point.above - point.below
    norm = jnp.sum(jnp.abs(weights))
    weights = jnp.where(norm > 0, weights / norm, 0)
    achieved = jnp.min(y * matvec(x, weights))
    gap = (bound - achieved) / jnp.maximum(bound, jnp.finfo(bound.dtype).tiny)
    return _Certificate(weights, achieved, bound, mu, gap)


@jax.jit
def _start(x: Array, y: Array) -> _Point:
    n, d = x.shape
    mu = jnp.full(n, 1 / n)
    t = 1.5 * jnp.max(jnp.abs(rmatvec(x, y * mu)))
    t = jnp.where(t > 0, t, 1.0)
    half = jnp.full(d, 0.5 / d)
    return _Point(mu, t, half, half, -t)


class _Targets(NamedTuple):
    """Target values for the products of complementary pairs."""

    above: Float[Array, " d"]
    below: Float[Array, " d"]
    mu: Float[Array, " n"]


@eqx.filter_jit
def _iterate(x: Shaped[Array, "n d"], y: Float[Array, " n"], point: _Point) -> _Point:
    """One predictor--corrector step."""
    n, d = x.shape
    mu, t, above, below, gamma = point
    g = rmatvec(x, y * mu)
    slack_above, slack_below = t - g, t + g
    excess = y * matvec(x, above - below) - gamma  # multipliers of mu >= 0
    stiff_above, stiff_below = above / slack_above, below / slack_below

    # The Newton system in (mu, t, gamma), with t eliminated.
    matrix = gram(x, stiff_above + stiff_below) * jnp.outer(y, y) + jnp.diag(excess / mu)
    edge = y * matvec(x, stiff_above - stiff_below)
    total = jnp.sum(stiff_above + stiff_below)
    factor = jsl.cho_factor(matrix - jnp.outer(edge, edge) / total)
    by_ones = jsl.cho_solve(factor, jnp.ones(n))

    def direction(targets: _Targets) -> tuple[_Point, Array, Array, Array]:
        pull_above = targets.above / slack_above
        pull_below = targets.below / slack_below
        right = targets.mu / mu - y * matvec(x, pull_above - pull_below)
        pull = jnp.sum(pull_above + pull_below)
        free = jsl.cho_solve(factor, right + edge * pull / total)
        d_gamma = -jnp.sum(free) / jnp.sum(by_ones)
        d_mu = free + d_gamma * by_ones
        d_t = (edge @ d_mu + pull) / total
        d_g = rmatvec(x, y * d_mu)
        d_above = pull_above - stiff_above * (d_t - d_g)
        d_below = pull_below - stiff_below * (d_t + d_g)
        d_excess = (targets.mu - excess * d_mu) / mu
        return _Point(d_mu, d_t, d_above, d_below, d_gamma), d_t - d_g, d_t + d_g, d_excess

    def lengths(step: tuple[_Point, Array, Array, Array]) -> tuple[Array, Array]:
        move, d_slack_above, d_slack_below, d_excess = step
        dual = jnp.minimum(max_step(mu, move.mu), max_step(slack_above, d_slack_above))
        dual = jnp.minimum(dual, max_step(slack_below, d_slack_below))
        primal = jnp.minimum(max_step(above, move.above), max_step(below, move.below))
        return jnp.minimum(primal, max_step(excess, d_excess)), dual

    def products(step: tuple[_Point, Array, Array, Array], primal: Array, dual: Array) -> Array:
        move, d_slack_above, d_slack_below, d_excess = step
        return (
            (above + primal * move.above) @ (slack_above + dual * d_slack_above)
            + (below + primal * move.below) @ (slack_below + dual * d_slack_below)
            + (excess + primal * d_excess) @ (mu + dual * move.mu)
        )

    straight = direction(_Targets(-above * slack_above, -below * slack_below, -excess * mu))
    primal, dual = (jnp.minimum(length, 1) for length in lengths(straight))
    now = products(straight, jnp.zeros(()), jnp.zeros(()))
    then = products(straight, primal, dual)
    centre = (then / now) ** 3 * now / (2 * d + n)
    move, d_slack_above, d_slack_below, d_excess = straight
    step = direction(
        _Targets(
            centre - above * slack_above - move.above * d_slack_above,
            centre - below * slack_below - move.below * d_slack_below,
            centre - excess * mu - d_excess * move.mu,
        )
    )
    primal, dual = (jnp.minimum(0.99 * length, 1) for length in lengths(step))
    move = step[0]
    return _Point(
        mu + dual * move.mu,
        t + dual * move.t,
        above + primal * move.above,
        below + primal * move.below,
        gamma + primal * move.gamma,
    )
