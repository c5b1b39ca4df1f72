"""Margins: the scaled problem, and the certificate of a direction."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize
from jaxtyping import ArrayLike, Bool, Float, Shaped

from ._base import Predictor, Status, why_lost
from .products import (
    EPS,
    as_labels,
    as_matrix,
    measured_against,
    measured_times,
    row_exponents,
    weighted_gram,
)
from .rows import WELL_CONDITIONED, equilibrated, independent_rows, vanishes

# How often a combination that should vanish is scaled anew.
_ROUNDS = 3
# Exchanges of single samples if the least squares leave a gap: at most the number of samples, and
# at most this number.
_EXCHANGES = 200
# The largest number of terms in a sum in the type of the data, each of them rounded.
_STORED = 8 * EPS

# Multipliers below this fraction of the largest count as zero.
_NOTHING = 1e-11
_LEAST = 5e-324


@dataclass(frozen=True)
class Margin:
    r"""The problem $\max_{\|u\|_p = 1} \min_i z_i^\top u$, $p$ 1 or 2, with $z_i = y_i x_i$.

    The inputs are scaled by a power of two, `2**-unit`, so that the largest entry is near one.
    Margins of the original inputs are `2**unit` times the margins of this problem.
    """

    order: int
    x: Shaped[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    unit: int

    @classmethod
    def of(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        order: int,
        kernel_weights: Float[np.ndarray, " d"] | None = None,
    ) -> "Margin":
        r"""The problem for inputs and signs; $u$ is $w / \sqrt h$ with `kernel_weights` $h$."""
        matrix = as_matrix(x)
        labels = as_labels(y, len(matrix), signs=True)
        if kernel_weights is not None:
            matrix = matrix * np.sqrt(kernel_weights)
        unit = int(np.max(row_exponents(matrix)[np.any(matrix != 0, axis=1)], initial=-5000))
        unit = 0 if unit == -5000 else unit
        return cls(order, np.ldexp(matrix, -unit) if unit else matrix, labels, unit)

    @property
    def signed(self) -> Float[np.ndarray, "n d"]:
        """The $z_i$."""
        return self.x * self.y[:, None]

    def norm(self, u: Float[np.ndarray, " d"]) -> float:
        """The norm of directions."""
        return float(np.linalg.norm(u, self.order))

    def dual_norm(self, g: Float[np.ndarray, " d"]) -> float:
        """The dual norm."""
        return float(np.linalg.norm(g, np.inf if self.order == 1 else 2))


@dataclass(frozen=True)
class Evidence:
    """What a direction and multipliers prove about the scaled problem.

    - `margin`, a lower bound on the direction's margin after normalisation; `bound`, an upper
        bound on all margins; `rounding`, the part of their difference due to rounding errors.
    - `direction` of norm one, or zero, shape `(d,)`, or `(c, k)` for classes; `dual`, non-negative
        with sum one, shape `(n,)` or `(n, c)`.
    - `inseparable`, whether the multipliers prove that no margin is positive.
    """

    margin: float
    bound: float
    rounding: float
    direction: Float[np.ndarray, "..."]
    dual: Float[np.ndarray, " n *c"]
    inseparable: bool

    @property
    def gap(self) -> float:
        """The uncertainty of the largest margin, relative to the bound."""
        return (self.bound - self.margin) / self.bound if self.bound > 0 else np.inf


def evidence(posed: Margin, u: Float[np.ndarray, " d"], mu: Float[np.ndarray, " n"]) -> Evidence:
    """What a direction and multipliers from any source prove."""
    mu = np.maximum(mu, 0.0)
    mu = mu / np.sum(mu) if np.sum(mu) > 0 else np.full(len(mu), 1 / len(mu))
    pull, unsure = measured_against(posed.x, mu * posed.y)
    bound = posed.dual_norm(np.abs(pull) + unsure)
    size = posed.norm(u)
    direction = u / size if size > 0 else np.zeros(len(pull))
    margins, error = measured_times(posed.x, direction, np.zeros(len(mu)))
    margin = float(np.min(posed.y * margins - error))
    size_of_terms = measured_times(np.abs(posed.x), np.abs(direction), np.zeros(len(mu)))[0]
    rounding = posed.dual_norm(unsure) + _STORED * float(np.max(size_of_terms))
    inseparable = margin <= 0 and vanishes(posed.x, mu * posed.y)
    return Evidence(margin, bound, rounding, direction, mu, inseparable)


def certify_margin(
    name: str,
    posed: Margin,
    u: Float[np.ndarray, " d"],
    mu: Float[np.ndarray, " n"],
    tolerance: float,
    kernel_weights: Float[np.ndarray, " d"] | None = None,
) -> Predictor:
    """The predictor for a direction and multipliers, with the status that they prove.

    The status is `optimal` if margin and bound agree to the tolerance, and `not_separable` if these
    or other multipliers prove that no margin is positive.
    """
    found = evidence(posed, u, mu)
    if found.margin <= 0 and not found.inseparable:
        other = contradiction(posed.signed)
        found = found if other is None else evidence(posed, u, other)
    direction = found.direction
    if kernel_weights is not None:
        direction = direction * np.sqrt(kernel_weights)
    return predictor_of(name, found, posed.unit, tolerance, direction)


def predictor_of(
    name: str,
    found: Evidence,
    unit: int,
    tolerance: float,
    weights: Float[np.ndarray, "..."],
) -> Predictor:
    """The predictor for some evidence, in the original units of the inputs."""
    margin, gap = found.margin, (found.bound - found.margin) / max(found.bound, _LEAST)
    status, why = status_for(gap, found.rounding / max(found.bound, _LEAST), tolerance)
    if found.inseparable:
        status, why = "not_separable", "a weighted mean of the labelled samples is zero"
        weights, margin, gap = np.zeros_like(weights), 0.0, np.nan
    with np.errstate(over="ignore", under="ignore"):
        achieved, bound = float(np.ldexp(margin, unit)), float(np.ldexp(found.bound, unit))
    if status == "optimal" and (lost := why_lost("margin", margin, unit, "scale the inputs")):
        status, why = "out_of_range", lost
    return Predictor(name, weights, achieved, bound, found.dual, gap, status, why)


def status_for(gap: float, rounding: float, tolerance: float) -> tuple[Status, str]:
    """The status for a relative gap, of which `rounding` is due to rounding errors."""
    if gap <= tolerance:
        return "optimal", ""
    if rounding > 0.1 * tolerance:
        why = f"the margin is so small that rounding errors are {rounding:.1g} of it"
        return "ill_conditioned", why
    return "not_proven", f"the gap is {gap:.1g}, above the tolerance {tolerance:g}"


def nearest(
    factor: Float[np.ndarray, "r n"], level: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    r"""The $\nu \ge 0$, $\langle$ `level`, $\nu\rangle = 1$, with the shortest `factor` $\nu$."""
    weight, best, shortest = 1.0, np.full(len(level), np.nan), np.inf
    for _ in range(_ROUNDS):
        system = np.vstack([factor, weight * level])
        target = np.zeros(len(system))
        target[-1] = weight
        try:
            found = scipy.optimize.nnls(system, target, maxiter=30 * len(level))[0]
        except RuntimeError:
            break
        if not level @ found > 0:
            break
        found = found / (level @ found)
        length = float(np.linalg.norm(factor @ found))
        if length >= shortest:
            break
        # The constraint is scaled like the remainder. Otherwise rounding hides the active samples.
        best, shortest, weight = found, length, length
        if length < 1e-12:
            break
    return best


def exchange_samples(
    x: Float[np.ndarray, "n d"], level: Float[np.ndarray, " n"], carried: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " n"]] | None:
    r"""The shortest $u$ with $X u \ge$ `level` and its multipliers, from samples `carried` on.

    One sample is removed or added at a time, and an orthogonal factor solves for both vectors, so
    the errors are proportional to the condition number and not to its square. None if rounding
    ends the search.
    """
    carried, met = carried.copy(), set()
    for _ in range(min(2 * len(level), _EXCHANGES)):
        used = np.flatnonzero(carried)
        if not len(used) or carried.tobytes() in met:
            return None
        met.add(carried.tobytes())
        rows = independent_rows(x[used])
        if len(rows.dropped):
            carried[used[rows.dropped]] = False
            continue
        u = rows.shortest(x[used], level[used])
        for _ in range(2):
            u = u + rows.shortest(x[used], measured_times(x[used], -u, level[used])[0])
        nu = rows.multipliers(x[used], u)
        for _ in range(2):
            nu = nu + rows.multipliers(x[used], u - measured_against(x[used], nu)[0])
        if np.min(nu) < 0:
            carried[used[np.argmin(nu)]] = False
            continue
        # Above its own rounding error, which is estimated from the size of the terms.
        left, error = measured_times(x, -u, level)
        left = np.where(carried, 0.0, left - error - 1e-12 * level)
        if np.max(left) <= 0:
            mu = np.zeros(len(level))
            mu[used] = nu
            return u, mu
        carried[np.argmax(left)] = True
    return None


def triangle(x: Shaped[np.ndarray, "n d"]) -> Float[np.ndarray, "r n"]:
    r"""An $R$ with $R^\top R = X X^\top$ and the condition number of $X$."""
    n, d = x.shape
    if n <= d:
        gram = weighted_gram(x)
        factor, info = scipy.linalg.lapack.dpotrf(gram)
        if info == 0:
            inverse = scipy.linalg.lapack.dpocon(factor, np.max(np.sum(np.abs(gram), axis=0)))[0]
            if inverse * WELL_CONDITIONED >= 1:
                return np.triu(factor)
    return scipy.linalg.qr(x.astype(np.float64, copy=False).T, mode="r")[0][: min(n, d)]


def contradiction(z: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"] | None:
    """Non-negative multipliers for which the combination of rows of `z` is zero, or None.

    The result does not depend on the scales of rows and columns, so both are scaled first.
    """
    for i in np.flatnonzero(~np.any(z, axis=1))[:1]:
        return np.eye(1, len(z), i)[0]
    used = np.arange(len(z))
    for _ in range(_ROUNDS):
        level, shift, _ = equilibrated(z[used])
        mu = nearest(triangle(level), np.ones(len(used)))
        if not np.all(np.isfinite(mu)):
            return None
        # Rounding errors in multipliers that should be zero would prevent an exact zero.
        mu = np.where(mu > _NOTHING * np.max(mu), mu, 0.0)
        whole = np.zeros(len(z))
        whole[used] = np.ldexp(mu, shift - np.max(shift))
        if vanishes(z, whole):
            return whole
        used = used[mu > 0]
    return None
