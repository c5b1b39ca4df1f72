"""Interpolants of least norm: the scaled problem, and the certificate of a solution."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Shaped

from ._base import Predictor, Status, why_lost
from .products import (
    EPS,
    WIDE_EPS,
    as_labels,
    as_matrix,
    exponents,
    measured_against,
    measured_times,
    row_exponents,
    shifted,
)
from .rows import Rows, independent_rows

# A combination of labels is not zero if it exceeds its largest possible rounding this many times.
_CERTAIN = 1e3
# Times the condition number: the largest relative effect of rounding on a certificate.
_ROUNDING = 30 * EPS


@dataclass(frozen=True)
class Interpolation:
    r"""The problem $\min \|u\|_p$ subject to $X u = y$, $p$ 1 or 2, in scaled units.

    Samples are multiplied by `2**rows`, labels by `2**rows` and `2**labels`. Powers of two avoid
    overflow and underflow without rounding, so a proof for the scaled problem is a proof for the
    original one. A solution of the original problem is `2**-labels` times one of this problem.
    """

    order: int
    x: Shaped[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]
    labels: int
    independent: Rows

    @classmethod
    def of(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        order: int,
        kernel_weights: Float[np.ndarray, " d"] | None = None,
    ) -> "Interpolation":
        """The scaled problem; $u$ is $w / \\sqrt h$ with `kernel_weights` $h$."""
        matrix = as_matrix(x)
        labels = as_labels(y, len(matrix))
        if kernel_weights is not None:
            matrix = matrix * np.sqrt(kernel_weights)
        rows = -row_exponents(matrix)
        matrix = shifted(matrix, rows)
        size = exponents(labels) + rows
        common = -int(np.max(size[labels != 0], initial=np.iinfo(np.int32).min))
        if not np.any(labels):
            common = 0
        labels = np.ldexp(labels, rows + common)
        return cls(order, matrix, labels, rows, common, independent_rows(matrix))

    def norm(self, u: Float[np.ndarray, " d"]) -> float:
        """The norm that is minimised."""
        return float(np.linalg.norm(u, self.order))

    def dual_norm(self, g: Float[np.ndarray, " d"]) -> float:
        """The dual norm."""
        return float(np.linalg.norm(g, np.inf if self.order == 1 else 2))

    @property
    def kept(self) -> tuple[Shaped[np.ndarray, "r d"], Float[np.ndarray, " r"]]:
        """Linearly independent samples, and their labels."""
        kept = self.independent.kept
        return (self.x, self.y) if len(kept) == len(self.y) else (self.x[kept], self.y[kept])

    def refined(self, u: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """An interpolant near `u`."""
        x, y = self.kept
        for _ in range(2):
            u = u + self.independent.shortest(x, measured_times(x, -u, y)[0])
        return u


@dataclass(frozen=True)
class Evidence:
    """What a candidate and its multipliers prove about the scaled problem.

    - `norm` of the candidate; `correction`, an upper bound on the norm of a change that makes it
        interpolate the independent samples, so that the least norm is at most the sum;
        `dependent_misfit`, an upper bound on the further change for dependent samples.
    - `bound`, a lower bound on the norm of interpolants; `dual`, the scaled multipliers that prove
        it.
    - `contradicted`, whether a combination of samples is zero and the same combination of their
        labels is not, so that no interpolant exists.
    - `undecided`, whether it is not certain that a sample depends on others.
    """

    norm: float
    correction: float
    dependent_misfit: float
    bound: float
    dual: Float[np.ndarray, " n"]
    contradicted: bool
    undecided: bool

    @property
    def gap(self) -> float:
        """The uncertainty of the least norm, relative to the candidate's norm."""
        return self.relative(self.norm + self.correction - self.bound)

    def relative(self, length: float) -> float:
        """A length relative to the candidate's norm."""
        if self.norm < np.finfo(float).tiny:
            return 0.0 if length == 0 else np.inf
        return length / self.norm


def evidence(
    posed: Interpolation, u: Float[np.ndarray, " d"], nu: Float[np.ndarray, " r"]
) -> Evidence:
    """What a candidate and multipliers of the independent samples, from any source, prove."""
    rows, (x, y) = posed.independent, posed.kept
    misfit, error = measured_times(x, -u, y)
    delta = rows.shortest(x, misfit)
    # The part of the misfit that is due to rounding is corrected at its largest possible value.
    far = np.sqrt(len(u)) if posed.order == 1 else 1.0
    smallest = np.max(np.abs(np.diag(rows.factor)), initial=1) / rows.condition
    correction = posed.norm(delta) + far * float(np.linalg.norm(error)) / smallest
    pull, unsure = measured_against(x, nu)
    level = posed.dual_norm(np.abs(pull) + unsure)
    value = float(np.sum(nu.astype(np.longdouble) * y))
    value -= (len(y) + 2) * WIDE_EPS * float(np.abs(nu) @ np.abs(y))
    bound = max(value, 0.0) / level if level > 0 else 0.0
    dual = np.zeros(len(posed.y))
    dual[rows.kept] = nu / level if level > 0 else 0.0
    dependent_misfit, contradicted = _of_dependent(posed, u + delta, smallest)
    undecided = not np.all(rows.dependent)
    return Evidence(
        posed.norm(u), correction, dependent_misfit, bound, dual, contradicted, undecided
    )


def _of_dependent(
    posed: Interpolation, u: Float[np.ndarray, " d"], smallest: float
) -> tuple[float, bool]:
    """The misfit of dependent samples, as a distance, and whether it cannot be removed."""
    rows = posed.independent
    if not len(rows.dropped):
        return 0.0, False
    misfit, error = measured_times(posed.x[rows.dropped], -u, posed.y[rows.dropped])
    # A label is consistent if a change within its own rounding, or that of the products, is enough.
    size = np.abs(rows.combinations) @ np.abs(posed.y)
    across = np.abs(rows.combinations @ posed.y)
    left = np.maximum(np.abs(misfit) - error, 0.0)
    terms = np.count_nonzero(rows.combinations, axis=1)
    apart = across > _CERTAIN * (terms + 4) * EPS * size
    contradicted = bool(np.any(apart & rows.dependent))
    far = np.sqrt(len(u)) if posed.order == 1 else 1.0
    return far * float(np.max(left)) / smallest, contradicted


def certify_interpolant(
    name: str,
    posed: Interpolation,
    u: Float[np.ndarray, " d"],
    nu: Float[np.ndarray, " r"],
    tolerance: float,
    kernel_weights: Float[np.ndarray, " d"] | None = None,
) -> Predictor:
    """The predictor for a candidate and multipliers of the independent samples.

    The status is `optimal` if a change of at most `tolerance` times the norm interpolates every
    sample, and if norm and bound agree to the same tolerance.
    """
    found = evidence(posed, u, nu)
    gap, move = found.gap, found.relative(max(found.dependent_misfit, found.correction))
    status: Status
    if found.contradicted and found.relative(found.dependent_misfit) > tolerance:
        status, why = "not_separable", "labels contradict each other, so no interpolant exists"
    elif move <= tolerance and gap <= tolerance and not found.undecided:
        status, why = "optimal", ""
    elif found.undecided or _ROUNDING * posed.independent.condition > tolerance:
        status = "ill_conditioned"
        why = (
            "samples are nearly linearly dependent: condition number "
            f"{posed.independent.condition:.1g} after scaling each to one"
        )
    else:
        status = "not_proven"
        why = f"the gap is {max(gap, move):.1g}, above the tolerance {tolerance:g}"
    weights = u if kernel_weights is None else u * np.sqrt(kernel_weights)
    return unscaled(name, posed, weights, found, status, why)


def unscaled(
    name: str,
    posed: Interpolation,
    weights: Float[np.ndarray, " d"],
    found: Evidence,
    status: Status,
    why: str,
) -> Predictor:
    """The predictor in the original units of samples and labels."""
    by = -posed.labels
    with np.errstate(over="ignore", under="ignore"):
        weights, dual = np.ldexp(weights, by), np.ldexp(found.dual, posed.rows)
        norm, bound = float(np.ldexp(found.norm, by)), float(np.ldexp(found.bound, by))
    lost = why_lost("norm", found.norm, by, "scale inputs or labels")
    if not lost and not np.all(np.isfinite(dual)):
        lost = "the multipliers are out of range of float64: scale the inputs"
    if lost:
        status, why = "out_of_range", lost
        weights = np.zeros_like(weights)
        norm, bound, dual = np.nan, np.nan, np.zeros_like(dual)
    return Predictor(name, weights, norm, bound, dual, abs(found.gap), status, why)
