"""A stationary point of the Lq margin, q < 1, by reweighted L1 margins."""

import numpy as np
from jaxtyping import ArrayLike, Float, Shaped

from .._core.errors import InputError
from .._core.precision import in_double
from ._base import Predictor
from .l1_max_margin import l1_max_margin
from .l2_max_margin import l2_max_margin
from .margin import Margin, verdict
from .products import measured_against, measured_times

_MAX_ROUNDS = 40
# Weights are told from zero down to this part of the largest; below it they are set to zero.
_FIRST, _LAST = 1e-3, 1e-9


@in_double
def lq_max_margin(
    x: Shaped[ArrayLike, "..."],
    y: Shaped[ArrayLike, "..."],
    q: float,
    start: Float[ArrayLike, " d"] | None = None,
    tolerance: float = 1e-6,
) -> Predictor:
    r"""A linear predictor whose Lq margin is stationary: the late one of deeper diagonal nets.

    For a diagonal net of depth $L$ the least $\|\theta\|_2$ at given margins is $\min
    \|w\|_q$, $q = 2/L$, which below one is not convex and has many stationary points. This
    one is reached from `start` as a net reaches it from its kernel predictor: coordinates
    that are large become cheap. With $c_j = (|w_j| + \epsilon)^{q-1}$ a round maximises the
    margin over $\sum_j c_j |w_j| = 1$, an L1 margin of the columns $x_j / c_j$; $\epsilon$ goes
    to zero as rounds change nothing any more.

    - **Takes** labels -1 or 1; `q` above 0 and below 1; `start`, weights to begin from, left
        out those of the L2 margin; `tolerance`, the gap at which it counts as stationary.
    - **Returns** weights with $\sum_j |w_j|^q = 1$. `objective` is their margin, `bound` the
        largest $|w_j|^{1-q} |\sum_i \mu_i y_i x_{ij}|$ among the coordinates in use, which
        equals it where the point is stationary: `gap` is a certificate of that, and says nothing
        of other points. `status` is `stationary` where it closes.
    - **Source** iteratively reweighted L1: Candès, Wakin, Boyd, J. Fourier Anal. Appl. 14
        (2008), 877--905, section 2; as where training ends, Lyu et al. 2024.
    """
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
        return _scaled(found._replace(name=name), posed.unit)
    if not w.any():
        raise InputError("start", 0.0, "should not be zero")
    smallest = _FIRST
    for _ in range(_MAX_ROUNDS):
        cost = (w / w.max() + smallest) ** (q - 1)
        found = l1_max_margin(columns / cost, labels, 0.01 * tolerance)
        if found.status == "not_separable" or not found.weights.any():
            return _scaled(found._replace(name=name), posed.unit)
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
    """The predictor of weights and multipliers: `stationary` if they prove it.

    The margin has to be positive, and the multipliers' pull on every coordinate in use no larger
    than it: their mean, with weights that sum to one, is at least the margin.
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
    status, why = verdict(gap if margin > 0 else np.inf, rounding, tolerance)
    status = "stationary" if status == "optimal" else status
    found = Predictor(name, weights, margin, bound, mu, gap, status, why)
    return _scaled(found, posed.unit)


def _scaled(found: Predictor, unit: int) -> Predictor:
    """In the units of the inputs given."""
    objective, bound = (float(np.ldexp(v, unit)) for v in (found.objective, found.bound))
    return found._replace(objective=objective, bound=bound)
