"""Interpolants of least norm: the problem as posed, in good units, and what certifies one."""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Shaped

from ._base import Predictor, Status
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

# A combination of labels that is not zero: so many times more than its rounding could be.
_CERTAIN = 1e3
# Times the condition number: what rounding leaves of a certificate, relative, at the most.
_ROUNDING = 30 * EPS


class Interpolation(NamedTuple):
    r"""The problem $\min \|u\|_p$ subject to $X u = y$, $p$ 1 or 2, in good units.

    The samples are those given times powers of two, `2**rows`, the labels these times `2**labels`
    besides, so that nothing over- or underflows and nothing is rounded: what holds of this problem
    holds of the one posed. A solution of that is `2**-labels` times one of this.
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
        """That of samples and labels; $u$ is $w / \\sqrt h$ with `kernel_weights` $h$."""
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
        """The one that is least."""
        return float(np.linalg.norm(u, self.order))

    def dual_norm(self, g: Float[np.ndarray, " d"]) -> float:
        """The one dual to it."""
        return float(np.linalg.norm(g, np.inf if self.order == 1 else 2))

    @property
    def kept(self) -> tuple[Shaped[np.ndarray, "r d"], Float[np.ndarray, " r"]]:
        """Samples that do not depend on others, and their labels."""
        kept = self.independent.kept
        return (self.x, self.y) if len(kept) == len(self.y) else (self.x[kept], self.y[kept])

    def refined(self, u: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """An interpolant near `u`."""
        x, y = self.kept
        for _ in range(2):
            u = u + self.independent.shortest(x, measured_times(x, -u, y)[0])
        return u


class Evidence(NamedTuple):
    """What a candidate and its multipliers prove of the problem in its good units.

    - `norm` of the candidate; `correction`, the norm of what would make it interpolate the samples
        that do not depend on others, so that the least norm is at most the sum; `astray`, how much
        further it could have to move for those that do.
    - `bound`, what no interpolant goes below; `dual`, the multipliers scaled so that they prove it.
    - `contradicted`, whether a combination of samples vanishes and that of their labels does not:
        nothing interpolates.
    - `doubtful`, whether a sample depends on others neither certainly nor certainly not.
    """

    norm: float
    correction: float
    astray: float
    bound: float
    dual: Float[np.ndarray, " n"]
    contradicted: bool
    doubtful: bool

    @property
    def gap(self) -> float:
        """What is not known of the least norm, relative to the candidate's."""
        return self.relative(self.norm + self.correction - self.bound)

    def relative(self, length: float) -> float:
        """A length relative to the candidate's."""
        if self.norm < np.finfo(float).tiny:
            return 0.0 if length == 0 else np.inf
        return length / self.norm


def evidence(
    posed: Interpolation, u: Float[np.ndarray, " d"], nu: Float[np.ndarray, " r"]
) -> Evidence:
    """Of a candidate and multipliers of the samples kept, wherever both come from."""
    rows, (x, y) = posed.independent, posed.kept
    misfit, error = measured_times(x, -u, y)
    delta = rows.shortest(x, misfit)
    # What rounding has left of the misfit is corrected for at its largest.
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
    astray, contradicted = _of_dependent(posed, u + delta, smallest)
    doubtful = not np.all(rows.dependent)
    return Evidence(posed.norm(u), correction, astray, bound, dual, contradicted, doubtful)


def _of_dependent(
    posed: Interpolation, u: Float[np.ndarray, " d"], smallest: float
) -> tuple[float, bool]:
    """How far samples that depend on others are from being fitted; whether they cannot be."""
    rows = posed.independent
    if not len(rows.dropped):
        return 0.0, False
    misfit, error = measured_times(posed.x[rows.dropped], -u, posed.y[rows.dropped])
    # A label is consistent if a change of its own rounding, or of the products', would make it so.
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
    """The predictor of a candidate and multipliers of the samples kept: what they prove of it.

    It is `optimal` if every sample is interpolated, or could be by a move of at most `tolerance` of
    the norm, and if norm and bound agree to the same tolerance.
    """
    found = evidence(posed, u, nu)
    gap, move = found.gap, found.relative(max(found.astray, found.correction))
    status: Status
    if found.contradicted and found.relative(found.astray) > tolerance:
        status, why = "not_separable", "labels contradict each other: nothing interpolates them"
    elif move <= tolerance and gap <= tolerance and not found.doubtful:
        status, why = "optimal", ""
    elif found.doubtful or _ROUNDING * posed.independent.condition > tolerance:
        status = "ill_conditioned"
        why = (
            "samples depend on each other nearly: condition number "
            f"{posed.independent.condition:.1g} once each is scaled to one"
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
    """In the units of the samples and labels given."""
    by = -posed.labels
    with np.errstate(over="ignore", under="ignore"):
        weights, dual = np.ldexp(weights, by), np.ldexp(found.dual, posed.rows)
        norm, bound = float(np.ldexp(found.norm, by)), float(np.ldexp(found.bound, by))
    lost = not np.isfinite(norm) or (found.norm > 0 and norm < np.finfo(float).tiny)
    if lost or not np.all(np.isfinite(dual)):
        status = "out_of_range"
        size = np.log10(max(found.norm, np.finfo(float).tiny)) + by * np.log10(2)
        why = f"the norm is about 1e{size:.0f}, which no double is: scale inputs or labels"
        weights = np.zeros_like(weights)
        norm, bound, dual = np.nan, np.nan, np.zeros_like(dual)
    return Predictor(name, weights, norm, bound, dual, abs(found.gap), status, why)
