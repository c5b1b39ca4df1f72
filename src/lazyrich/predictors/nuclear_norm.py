"""The completion of least nuclear norm, by an interior-point method with sparse multipliers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import ArrayLike, Float, Int, Shaped

from .._core.given import check_function
from .._core.precision import in_double
from ._base import Predictor
from .interior_point import Move, best_along, predictor_corrector
from .kernel_completion import certified, observe, pull, relative_gap, scatter

_PATIENCE = 5  # iterations without a better certificate, which end the search
_RIDGE = 1e-13  # relative to the diagonal of the Newton matrix
_SIGNS = np.array([1.0, -1.0])[:, None, None]  # of the two halves of W


@in_double
def min_nuclear_norm(
    index: Shaped[ArrayLike, "..."],
    values: Shaped[ArrayLike, "..."],
    size: int,
    tolerance: float = 1e-6,
    progress: Callable[[float], None] = lambda gap: None,
) -> Predictor:
    r"""The symmetric completion of least nuclear norm: the late predictor of factorisation.

    The problem is $\min \|W\|_*$ over $W = W^\top$ with $W_{ij} = y_k$ at the observed entries.
    With $W = P - N$ and $P, N \succeq 0$ this is a semidefinite program. Its dual maximises
    $\nu^\top y$ over multipliers with $-I \preceq Y = \sum_k \nu_k (E_{ij} + E_{ji}) / 2 \preceq
    I$. A primal--dual predictor--corrector method starts from a strictly feasible pair and stays
    feasible. Each multiplier belongs to one entry, so the Newton system consists of entries of
    $P$, $N$ and $(I \mp Y)^{-1}$, and an iteration costs $O(d^3 + n^3)$. The certificate is
    computed afterwards, from $W$ with the observed entries set and $Y$ scaled to norm one.

    - **Takes** `index`, `values`, `size` as
        [`kernel_completion`][lazyrich.predictors.kernel_completion]; `tolerance`, the relative
        gap for the status `optimal` (iterations continue to a hundredth of it); `progress`,
        called with the relative gap.
    - **Returns** weights of shape `(size, size)`, not normalised, zero in rows without an
        observation; `objective`, their nuclear norm; `dual`, the $\nu$ of a $Y$ of spectral
        norm at most one; `not_separable` as in `kernel_completion`. The least norm is unique, but
        the matrix need not be.
    - **Raises** `InputError` as `kernel_completion`.
    - **Source** Candès & Recht, Found. Comput. Math. 9 (2009): the convex program; Helmberg,
        Rendl, Vanderbei & Wolkowicz, SIAM J. Optim. 6 (1996): the direction; Toh, Todd &
        Tütüncü, Optim. Methods Softw. 11 (1999): steps and centring; as the late predictor,
        Gunasekar et al., NeurIPS 2017, arXiv:1705.09280, and Lyu et al., ICLR 2024,
        arXiv:2311.18817.
    """
    check_function("progress", progress, "gap")
    observed = observe(index, values, size)
    # Rows without an observation would only add zeros.
    used, inverse = np.unique(observed.places, return_inverse=True)
    places = inverse.reshape(observed.places.shape)
    path = _path(places, observed.values / observed.unit, len(used))
    best = best_along(path, tolerance, _PATIENCE, progress=progress)
    weights = np.zeros((size, size))
    weights[np.ix_(used, used)] = best.weights
    dual, pair = observed.share(best.dual), (best.objective, best.bound)
    return certified("Min nuclear norm", observed, weights, *pair, dual, tolerance)


class _Point(NamedTuple):
    """A strictly feasible pair: W is the difference of the positive definite `halves`."""

    halves: Float[np.ndarray, "2 d d"]
    dual: Float[np.ndarray, " m"]


@dataclass(frozen=True)
class Certificate:
    """A completion of distinct entries, with the bound that its multipliers prove."""

    weights: Float[np.ndarray, "d d"]
    objective: float
    bound: float
    dual: Float[np.ndarray, " m"]
    gap: float


def certify_completion(
    places: Int[np.ndarray, "m 2"],
    values: Float[np.ndarray, " m"],
    weights: Float[np.ndarray, "d d"],
    dual: Float[np.ndarray, " m"],
) -> Certificate:
    """The certificate for any symmetric matrix and multipliers, which are made feasible first."""
    weights = weights.copy()
    weights[places[:, 0], places[:, 1]] = weights[places[:, 1], places[:, 0]] = values
    objective = float(np.sum(np.abs(np.linalg.eigvalsh(weights))))
    spectrum = np.linalg.eigvalsh(pull(places, dual, len(weights)))
    dual = dual / np.max(np.abs(spectrum), initial=1)
    bound = float(dual @ values)
    return Certificate(weights, objective, bound, dual, relative_gap(objective, bound))


def _path(
    places: Int[np.ndarray, "m 2"], values: Float[np.ndarray, " m"], size: int
) -> Iterator[Certificate]:
    """The certificate of the known entries, and those along the central path."""
    known = scatter(places, values, size)
    yield certify_completion(places, values, known, np.zeros(len(places)))
    shift = np.linalg.norm(known, 2) * np.eye(size)
    point = _Point(shift + _SIGNS * known / 2, np.zeros(len(places)))
    while True:
        try:
            point = _iterate(places, values, point)
        except np.linalg.LinAlgError:  # no longer positive definite, because of rounding
            return
        yield certify_completion(places, values, point.halves[0] - point.halves[1], point.dual)


def _symmetric(matrix: Float[np.ndarray, "2 d d"]) -> Float[np.ndarray, "2 d d"]:
    return (matrix + np.swapaxes(matrix, -1, -2)) / 2


def _newton_matrix(
    places: Int[np.ndarray, "m 2"],
    halves: Float[np.ndarray, "2 d d"],
    inverse: Float[np.ndarray, "2 d d"],
) -> Float[np.ndarray, "m m"]:
    r"""$\sum_\pm \operatorname{tr}(A_k P_\pm A_l S_\pm^{-1})$, $A_k = (E_{ij} + E_{ji})/2$."""
    i, j = places.T
    total = np.zeros((len(places), len(places)))
    for p, s in zip(halves, inverse, strict=True):
        p_i, p_j, s_i, s_j = p[i], p[j], s[i], s[j]
        total += p_j[:, i] * s_i[:, j] + p_j[:, j] * s_i[:, i]
        total += p_i[:, i] * s_j[:, j] + p_i[:, j] * s_j[:, i]
    return total / 4


def _max_step(matrices: Float[np.ndarray, "2 d d"], change: Float[np.ndarray, "2 d d"]) -> float:
    """The largest step that keeps `matrices` positive definite."""
    root = np.linalg.inv(np.linalg.cholesky(matrices))
    least = np.min(np.linalg.eigvalsh(_symmetric(root @ change @ np.swapaxes(root, -1, -2))))
    return float(-1 / least) if least < 0 else np.inf


def _iterate(
    places: Int[np.ndarray, "m 2"], values: Float[np.ndarray, " m"], point: _Point
) -> _Point:
    """One predictor--corrector step."""
    halves, dual = point
    size = halves.shape[-1]
    slack = np.eye(size) - _SIGNS * pull(places, dual, size)
    inverse = _symmetric(np.linalg.inv(slack))
    matrix = _newton_matrix(places, halves, inverse)
    # Without the ridge, rounding makes the factorisation fail at gaps near 1e-8; with the ridge,
    # below 1e-9. The next step sees and removes the misfit due to the ridge.
    matrix += _RIDGE * np.diag(np.diag(matrix))
    factor = scipy.linalg.cho_factor(matrix)

    def direction(centre: float, first: Move | None) -> Move:
        # The value of the halves at fixed multipliers.
        target = centre * inverse
        if first is not None:
            target = target - _symmetric(first.primal @ first.dual @ inverse)
        misfit = values - (target[0] - target[1])[places[:, 0], places[:, 1]]
        d_dual = scipy.linalg.cho_solve(factor, misfit)
        d_slack = -_SIGNS * pull(places, d_dual, size)
        return Move(target - halves - _symmetric(halves @ d_slack @ inverse), d_slack, d_dual)

    step = predictor_corrector(halves, slack, 2 * size, direction, _max_step, _rule)
    move = step.move
    return _Point(_symmetric(halves + step.primal * move.primal), dual + step.dual * move.other)


def _rule(left: float, length: float) -> tuple[float, float]:
    """If the affine step is short, centres more and stays further from the boundary, as SDPT3.

    With the third power and 0.98 for all steps, one mask in a hundred stalled.
    """
    left = np.clip(left, 0, 1)  # rounding can make it negative at the end
    return left ** max(1, 3 * length**2), 0.9 + 0.09 * length
