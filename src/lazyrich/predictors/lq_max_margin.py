"""A stationary point of the Lq margin with q < 1, by reweighted L1 margins."""

from dataclasses import replace
from numbers import Real

import numpy as np
from jaxtyping import ArrayLike, Float, Shaped

from .._core.errors import InputError
from .._core.given import check_kind
from .._core.precision import in_double
from ._base import Predictor, why_lost
from .l1_max_margin import l1_max_margin
from .l2_max_margin import l2_max_margin
from .margin import Margin, status_for
from .products import measured_against, measured_times

_MAX_ROUNDS = 40
# Weights below this fraction of the largest weight are set to zero.
_FIRST, _LAST = 1e-3, 1e-9


@in_double
def lq_max_margin(
    x: Shaped[ArrayLike, "..."],
    y: Shaped[ArrayLike, "..."],
    q: float,
    start: Float[ArrayLike, " d"] | None = None,
    tolerance: float = 1e-6,
) -> Predictor:
    r"""A linear predictor with a stationary Lq margin: the late predictor of deeper diagonal nets.

    For a diagonal net of depth $L$ the least $\|\theta\|_2$ at given margins is $\min \|w\|_q$
    with $q = 2/L$. For $q < 1$ the problem is not convex and has many stationary points. The
    search starts from `start`, as a net starts from its kernel predictor: large coordinates get
    a small cost. With $c_j = (|w_j| + \epsilon)^{q-1}$ a round maximises the margin over
    $\sum_j c_j |w_j| = 1$, which is an L1 margin for the columns $x_j / c_j$. When the rounds no
    longer change the weights, $\epsilon$ is reduced towards zero.

    - **Takes** labels -1 or 1; `q` above 0 and below 1; `start`, initial weights, by default
        those of the L2 margin; `tolerance`, the gap for the status `stationary`.
    - **Returns** weights with $\sum_j |w_j|^q = 1$. `objective` is their margin, `bound` the
        largest $|w_j|^{1-q} |\sum_i \mu_i y_i x_{ij}|$ among the non-zero coordinates. Both are
        equal at a stationary point, so `gap` certifies stationarity; it does not compare with
        other stationary points. `status` is `stationary` if the gap is small enough.
    - **Source** iteratively reweighted L1: Candès, Wakin, Boyd, J. Fourier Anal. Appl. 14
        (2008), 877--905, section 2; as the limit of training, Lyu et al. 2024.
    """
    check_kind("q", q, Real, "a number between 0 and 1")
    if not 0 < q < 1:
        raise InputError("q", q, "should lie between 0 and 1")
    posed = Margin.of(x, y, 1)
    columns, labels = posed.x.astype(np.float64, copy=False), posed.y
    name = f"L{q:.3g} max margin, stationary"
    found = l2_max_margin(columns, labels) if start is None else None
    w = np.abs(np.asarray(start if found is None else found.weights, np.float64))
    if w.shape != columns.shape[1:] or not np.all(np.isfinite(w)):
        raise InputError("start", w.shape, f"should be {columns.shape[1]} finite numbers")
    if found is not None and (found.status == "not_separable" or not w.any()):
        return _scaled(replace(found, name=name), posed.unit)
    if not w.any():
        raise InputError("start", 0.0, "should not be zero")
    smallest = _FIRST
    for _ in range(_MAX_ROUNDS):
        cost = (w / w.max() + smallest) ** (q - 1)
        found = l1_max_margin(columns / cost, labels, 0.01 * tolerance)
        if found.status == "not_separable" or not found.weights.any():
            return _scaled(replace(found, name=name), posed.unit)
        weights = found.weights / cost
        before, w = w / w.max(), np.abs(weights)
        if np.max(np.abs(w / w.max() - before)) < max(smallest, _LAST):
            if smallest <= _LAST:
                break
            smallest *= 0.03
    assert found is not None
    weights[w <= 1e2 * _LAST * w.max()] = 0.0
    return certify_stationary(name, posed, q, weights, found.dual, tolerance)


def certify_stationary(
    name: str,
    posed: Margin,
    q: float,
    weights: Float[np.ndarray, " d"],
    mu: Float[np.ndarray, " n"],
    tolerance: float,
) -> Predictor:
    """The predictor for weights and multipliers, `stationary` if they prove it.

    The margin must be positive, and the pull of the multipliers on every non-zero coordinate must
    not exceed the margin. The mean of the pulls, with weights that sum to one, is at least the
    margin.
    """
    mu = np.maximum(mu, 0.0)
    mu = mu / np.sum(mu)
    weights = weights / np.max(np.abs(weights))
    weights = weights / np.sum(np.abs(weights) ** q) ** (1 / q)
    pull, unsure = measured_against(posed.x, mu * posed.y)
    bound = float(np.max((np.abs(pull) + unsure) * np.abs(weights) ** (1 - q)))
    margins, error = measured_times(posed.x, weights, np.zeros(len(mu)))
    margin = float(np.min(posed.y * margins - error))
    gap = abs(bound - margin) / bound if bound > 0 else np.inf
    rounding = float(np.max(error) + np.max(unsure)) / bound if bound > 0 else np.inf
    status, why = status_for(gap if margin > 0 else np.inf, rounding, tolerance)
    status = "stationary" if status == "optimal" else status
    found = Predictor(name, weights, margin, bound, mu, gap, status, why)
    return _scaled(found, posed.unit)


def _scaled(found: Predictor, unit: int) -> Predictor:
    """The predictor in the original units of the inputs."""
    lost = why_lost("margin", found.objective, unit, "scale the inputs")
    if found.is_certified and lost:
        found = replace(found, status="out_of_range", why=lost)
    with np.errstate(over="ignore", under="ignore"):
        objective, bound = (float(np.ldexp(v, unit)) for v in (found.objective, found.bound))
    return replace(found, objective=objective, bound=bound)
