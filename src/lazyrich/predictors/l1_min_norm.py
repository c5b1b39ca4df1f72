"""The interpolant of least L1 norm, by an interior-point method."""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import ArrayLike, Float, Shaped

from .._core.precision import in_double
from ._base import Predictor
from .interpolation import Evidence, Interpolation, certify_interpolant, evidence
from .products import against, measured_against, times, weighted_gram

_MAX_ITERATIONS = 100
_PATIENCE = 8  # iterations without a better certificate, which end the search


@in_double
def l1_min_norm(
    x: Shaped[ArrayLike, "..."], y: Shaped[ArrayLike, " n"], tolerance: float = 1e-6
) -> Predictor:
    r"""The linear interpolant of least L1 norm: the late predictor of regression by a diagonal
    net of depth 2.

    The problem is $\min \|w\|_1$ subject to $\langle w, x_i \rangle = y_i$. Its dual maximises
    $\nu^\top y$ over $\|X^\top \nu\|_\infty \le 1$. Samples that depend linearly on others are
    left out and checked afterwards. If the remaining samples are ill-conditioned, an orthonormal
    basis $Q$ of their span replaces $X^\top$. A strictly feasible start for $w = w_+ - w_-$ is the
    interpolant of least L2 norm with the same number added to both parts; for the dual it is
    $\nu = 0$. Mehrotra's predictor--corrector method stays feasible, and an iteration costs one
    weighted Gram matrix.

    - **Takes** any real labels; `tolerance`, the relative gap for the status `optimal` (iterations
        continue to a hundredth of it).
    - **Returns** weights that are not normalised, with their norm as `objective`; `not_separable`
        if it is proven that no weights interpolate. The least norm is unique, but the weights need
        not be.
    - **Raises** [`InputError`][lazyrich.InputError] unless `x` is a matrix of finite numbers.
    - **Source** Mehrotra, SIAM J. Optim. 2 (1992), 575--601; basis pursuit as in Chen, Donoho &
        Saunders, SIAM Rev. 43 (2001), 129--159; as the late predictor, Lyu et al. 2024.
    """
    posed = Interpolation.of(x, y, 1)
    rows, (kept, labels) = posed.independent, posed.kept
    a, b = (kept, labels) if rows.basis is None else (rows.basis.T, rows.inner(labels))
    point = _start(rows.shortest(kept, labels), len(b))
    best: tuple[Evidence, Float[np.ndarray, " d"], Float[np.ndarray, " r"]] | None = None
    stalled = 0
    for _ in range(_MAX_ITERATIONS):
        weights, nu = posed.refined(point.above - point.below), point.nu
        if rows.basis is not None:
            pull = rows.basis @ nu
            nu = rows.outer(nu)
            for _ in range(2):
                nu = nu + rows.multipliers(kept, pull - measured_against(kept, nu)[0])
        new = evidence(posed, weights, nu)
        if not np.isfinite(new.gap):
            break
        better = best is None or new.gap < best[0].gap
        stalled = 0 if better else stalled + 1
        best = (new, weights, nu) if better or best is None else best
        if best[0].gap <= 0.01 * tolerance or stalled == _PATIENCE:
            break
        try:
            with np.errstate(all="ignore"):
                point = _iterate(a, point)
        except np.linalg.LinAlgError:  # rounding errors dominate
            break
    assert best is not None
    return certify_interpolant("L1 min norm", posed, best[1], best[2], tolerance)


class _Point(NamedTuple):
    """A strictly feasible pair: the two parts of the weights, the dual, and its slacks.

    Slacks are stored, because 1 minus a number near 1 would lose all digits.
    """

    nu: Float[np.ndarray, " r"]
    above: Float[np.ndarray, " d"]
    below: Float[np.ndarray, " d"]
    slack_above: Float[np.ndarray, " d"]
    slack_below: Float[np.ndarray, " d"]


def _start(weights: Float[np.ndarray, " d"], num: int) -> _Point:
    half, spare, one = 0.5 * weights, np.max(np.abs(weights)), np.ones(len(weights))
    return _Point(np.zeros(num), spare + half, spare - half, one, one)


class _Targets(NamedTuple):
    """Target values for the products of complementary pairs, minus the present values."""

    above: Float[np.ndarray, " d"]
    below: Float[np.ndarray, " d"]


def _max_step(values: Float[np.ndarray, " d"], change: Float[np.ndarray, " d"]) -> float:
    """The largest step that keeps `values` positive."""
    falling = change < 0
    return float(np.min(-values[falling] / change[falling], initial=np.inf))


def _iterate(x: Shaped[np.ndarray, "r d"], point: _Point) -> _Point:
    """One predictor--corrector step."""
    _, above, below, slack_above, slack_below = point
    stiff_above, stiff_below = above / slack_above, below / slack_below
    matrix = weighted_gram(x, stiff_above + stiff_below)
    if not np.all(np.isfinite(matrix)):
        raise np.linalg.LinAlgError("a slack is zero")
    factor = scipy.linalg.cho_factor(matrix)

    def direction(targets: _Targets) -> _Point:
        pull_above, pull_below = targets.above / slack_above, targets.below / slack_below
        d_nu = -scipy.linalg.cho_solve(factor, times(x, pull_above - pull_below))
        d_g = against(x, d_nu)
        d_above, d_below = pull_above + stiff_above * d_g, pull_below - stiff_below * d_g
        return _Point(d_nu, d_above, d_below, -d_g, d_g)

    def lengths(move: _Point) -> tuple[float, float]:
        primal = min(_max_step(above, move.above), _max_step(below, move.below))
        return primal, min(
            _max_step(slack_above, move.slack_above), _max_step(slack_below, move.slack_below)
        )

    def ahead(move: _Point, primal: float, dual: float) -> _Point:
        part = (dual, primal, primal, dual, dual)
        return _Point(*(now + by * step for now, by, step in zip(point, part, move, strict=True)))

    move = direction(_Targets(-above * slack_above, -below * slack_below))
    now = _product(point)
    then = _product(ahead(move, *(min(length, 1.0) for length in lengths(move))))
    centre = (then / now) ** 3 * now / (2 * above.size)
    move = direction(
        _Targets(
            centre - above * slack_above - move.above * move.slack_above,
            centre - below * slack_below - move.below * move.slack_below,
        )
    )
    return ahead(move, *(min(0.99 * length, 1.0) for length in lengths(move)))


def _product(point: _Point) -> float:
    """The quantity that is zero at the optimum."""
    return float(point.above @ point.slack_above + point.below @ point.slack_below)
