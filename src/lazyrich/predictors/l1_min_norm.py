"""The interpolant of least L1 norm, by an interior-point method."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import ArrayLike, Float, Shaped

from .._core.precision import in_double
from ._base import Predictor
from .interior_point import Move, best_along, predictor_corrector
from .interpolation import Interpolation, certify_interpolant, evidence
from .products import Data, against, for_many_products, measured_against, times, weighted_gram


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
    found = best_along(_path(posed), tolerance)
    return certify_interpolant("L1 min norm", posed, found.weights, found.nu, tolerance)


class _Candidate(NamedTuple):
    weights: Float[np.ndarray, " d"]
    nu: Float[np.ndarray, " r"]
    gap: float


def _path(posed: Interpolation) -> Iterator[_Candidate]:
    """The candidates along the central path, as interpolants of the independent samples."""
    rows, (kept, labels) = posed.independent, posed.kept
    x = for_many_products(kept if rows.basis is None else rows.basis.T)
    point = _start(rows.shortest(kept, labels), len(x))
    while True:
        weights, nu = posed.refined(point.halves[0] - point.halves[1]), point.nu
        if rows.basis is not None:
            pull = rows.basis @ nu
            nu = rows.outer(nu)
            for _ in range(2):
                nu = nu + rows.multipliers(kept, pull - measured_against(kept, nu)[0])
        yield _Candidate(weights, nu, evidence(posed, weights, nu).gap)
        try:
            with np.errstate(all="ignore"):
                point = _iterate(x, point)
        except np.linalg.LinAlgError:  # rounding errors dominate
            return


class _Point(NamedTuple):
    """A strictly feasible pair: the dual, and the two parts of the weights with their slacks.

    Slacks are stored, because 1 minus a number near 1 would lose all digits.
    """

    nu: Float[np.ndarray, " r"]
    halves: Float[np.ndarray, "2 d"]
    slack: Float[np.ndarray, "2 d"]


def _start(weights: Float[np.ndarray, " d"], num: int) -> _Point:
    half, spare = 0.5 * weights, np.max(np.abs(weights))
    halves = np.stack([spare + half, spare - half])
    return _Point(np.zeros(num), halves, np.ones_like(halves))


def _iterate(x: Shaped[Data, "r d"], point: _Point) -> _Point:
    """One predictor--corrector step."""
    nu, halves, slack = point
    stiff = halves / slack
    matrix = weighted_gram(x, stiff[0] + stiff[1])
    if not np.all(np.isfinite(matrix)):
        raise np.linalg.LinAlgError("a slack is zero")
    factor = scipy.linalg.cho_factor(matrix)

    def direction(centre: float, first: Move | None) -> Move:
        target = centre - halves * slack
        if first is not None:
            target = target - first.primal * first.dual
        pull = target / slack
        d_nu = -scipy.linalg.cho_solve(factor, times(x, pull[0] - pull[1]))
        d_g = against(x, d_nu)
        d_slack = np.stack([-d_g, d_g])
        return Move(pull - stiff * d_slack, d_slack, d_nu)

    step = predictor_corrector(halves, slack, halves.size, direction)
    return _Point(
        nu + step.dual * step.move.other,
        halves + step.primal * step.move.primal,
        slack + step.dual * step.move.dual,
    )
