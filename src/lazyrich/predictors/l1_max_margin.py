"""The L1 max-margin predictor, by an interior-point method on its dual."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import ArrayLike, Float, Shaped

from .._core.given import check_function
from .._core.precision import in_double
from ._base import Predictor
from .interior_point import Move, best_along, predictor_corrector
from .margin import Margin, certify_margin
from .products import Data, against, for_many_products, times, weighted_gram
from .programme import by_simplex

# The largest data, in entries, for which the simplex method is tried if a gap remains.
_SMALL = 2**17
# Below this bound no margin can be positive: entries are near one.
_ZERO = 1e-14


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
    check_function("progress", progress, "gap")
    posed = Margin.of(x, y, 1)
    best = best_along(_path(posed), tolerance, measure=_distance, progress=progress)
    found = certify_margin("L1 max margin", posed, best.weights, best.mu, tolerance)
    if found.status in ("optimal", "not_separable") or posed.x.size > _SMALL:
        return found
    vertex = by_simplex(posed.signed)
    if vertex is None:
        return found
    other = certify_margin("L1 max margin", posed, *vertex, tolerance)
    return other if other.gap < found.gap else found


class _Point(NamedTuple):
    """A strictly feasible pair; `halves` are the multipliers of ±g <= t."""

    mu: Float[np.ndarray, " n"]
    t: float
    halves: Float[np.ndarray, "2 d"]
    gamma: float


class _Candidate(NamedTuple):
    weights: Float[np.ndarray, " d"]
    mu: Float[np.ndarray, " n"]
    achieved: float
    bound: float

    @property
    def gap(self) -> float:
        """The relative gap."""
        return (self.bound - self.achieved) / max(self.bound, np.finfo(float).tiny)


def _distance(candidate: _Candidate) -> float:
    """The absolute gap; zero weights count as a candidate.

    If no margin is positive, the relative gap stays at one or above while the bound goes to zero.
    """
    return candidate.bound - max(candidate.achieved, 0.0)


def _path(posed: Margin) -> Iterator[_Candidate]:
    """The candidates along the central path, until no margin can be positive."""
    x, y = for_many_products(posed.x), posed.y
    point = _start(x, y)
    while True:
        candidate = _candidate(x, y, point)
        yield candidate
        if candidate.bound <= _ZERO:
            return
        try:
            with np.errstate(all="ignore"):
                point = _iterate(x, y, point)
        except np.linalg.LinAlgError:  # rounding errors dominate
            return


def _candidate(x: Shaped[Data, "n d"], y: Float[np.ndarray, " n"], point: _Point) -> _Candidate:
    mu = np.maximum(point.mu, 0.0)
    mu = mu / np.sum(mu)
    weights = point.halves[0] - point.halves[1]
    norm = np.sum(np.abs(weights))
    weights = weights / norm if norm > 0 else np.zeros_like(weights)
    achieved = float(np.min(y * times(x, weights)))
    return _Candidate(weights, mu, achieved, float(np.max(np.abs(against(x, y * mu)))))


def _start(x: Shaped[Data, "n d"], y: Float[np.ndarray, " n"]) -> _Point:
    n, d = x.shape
    mu = np.full(n, 1 / n)
    t = 1.5 * float(np.max(np.abs(against(x, y * mu)))) or 1.0
    return _Point(mu, t, np.full((2, d), 0.5 / d), -t)


def _iterate(x: Shaped[Data, "n d"], y: Float[np.ndarray, " n"], point: _Point) -> _Point:
    """One predictor--corrector step."""
    mu, t, halves, gamma = point
    n, sides = len(mu), halves.shape
    g = against(x, y * mu)
    slack = np.stack([t - g, t + g])
    excess = y * times(x, halves[0] - halves[1]) - gamma  # multipliers of mu >= 0
    stiff = halves / slack

    # The Newton system in (mu, t, gamma), with t eliminated.
    edge, total = y * times(x, stiff[0] - stiff[1]), float(np.sum(stiff))
    matrix = weighted_gram(x, stiff[0] + stiff[1]) * np.outer(y, y)
    matrix += np.diag(excess / mu) - np.outer(edge, edge) / total
    if not np.all(np.isfinite(matrix)):
        raise np.linalg.LinAlgError("a slack is zero")
    # Because the sum of mu does not change, adding a constant has no effect on the solution.
    # Without it rounding makes the matrix singular at gaps near 1e-8.
    factor = scipy.linalg.cho_factor(matrix + np.trace(matrix) / n**2)
    by_ones = scipy.linalg.cho_solve(factor, np.ones(n))

    # The pairs: both halves with their slacks, and the multipliers of mu >= 0 with mu.
    primal, dual = np.append(halves, excess), np.append(slack, mu)

    def direction(centre: float, first: Move | None) -> Move:
        target = centre - primal * dual
        if first is not None:
            target = target - first.primal * first.dual
        pull, push = target[:-n].reshape(sides) / slack, target[-n:] / mu
        free = push - y * times(x, pull[0] - pull[1])
        free = scipy.linalg.cho_solve(factor, free + edge * np.sum(pull) / total)
        d_gamma = -np.sum(free) / np.sum(by_ones)
        d_mu = free + d_gamma * by_ones
        d_t = (edge @ d_mu + np.sum(pull)) / total
        d_g = against(x, y * d_mu)
        d_slack = np.stack([d_t - d_g, d_t + d_g])
        d_halves, d_excess = pull - stiff * d_slack, push - excess * d_mu / mu
        other = np.array([d_t, d_gamma])
        return Move(np.append(d_halves, d_excess), np.append(d_slack, d_mu), other)

    step = predictor_corrector(primal, dual, primal.size, direction)
    d_t, d_gamma = step.move.other
    return _Point(
        mu + step.dual * step.move.dual[-n:],
        t + step.dual * d_t,
        halves + step.primal * step.move.primal[:-n].reshape(sides),
        gamma + step.primal * d_gamma,
    )
