"""The kernel predictor of matrix completion, and the observed entries."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Shaped

from .._core.errors import InputError
from .._core.precision import in_double
from ._base import Predictor, Status, why_lost


@in_double
def kernel_completion(
    index: Shaped[ArrayLike, "..."],
    values: Shaped[ArrayLike, "..."],
    size: int,
    tolerance: float = 1e-6,
) -> Predictor:
    r"""The kernel completion of a symmetric matrix: the early predictor of its factorisation.

    At $U = V = \alpha I$ the tangent kernel of $W = U U^\top - V V^\top$ is $K_{(ij),(kl)} = 4
    \alpha^2 (\delta_{ik}\delta_{jl} + \delta_{il}\delta_{jk})$. It couples an entry only to its
    transposed entry. So the minimum-norm interpolant has the observed entries and their
    transposes, and is zero elsewhere. The certificate compares its norm with the dual value
    $\nu^\top y / (\nu^\top K \nu)^{1/2}$, a lower bound for all interpolants.

    - **Takes** `index`, shape `(n, 2)`, integers in `[0, size)`; `values`, shape `(n,)`, the
        entries $y_k$ there. An entry may be given several times, also transposed.
    - **Returns** weights of shape `(size, size)`, not normalised; `objective`, their norm
        $(y^\top K^{+} y)^{1/2}$ at $\alpha = 1$, which is $\|W\|_F / \sqrt 8$ (for another
        $\alpha$ divide by $\alpha$); `dual`, $\nu = K^{+} y$ at $\alpha = 1$; `not_separable` if
        values of one entry differ from their mean by more than `tolerance` times the largest
        entry. Then no interpolant exists, and the other fields belong to the least-squares fit.
    - **Raises** `InputError` on entries outside the matrix or values that are not finite.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817: kernel regime of matrix completion.
    """
    observed = observe(index, values, size)
    # K is 8 on the diagonal and 4 off it, for all copies of one entry.
    y = observed.values / observed.unit
    dual = y / np.where(observed.places[:, 0] == observed.places[:, 1], 8, 4)
    weights = scatter(observed.places, y, size)
    objective = float(np.linalg.norm(weights)) / np.sqrt(8)
    # From the multipliers only: nu^T K nu = 8 |Y|^2.
    pulled = float(np.linalg.norm(pull(observed.places, dual, size))) * np.sqrt(8)
    bound = float(dual @ y) / max(pulled, np.finfo(float).tiny)
    dual = observed.share(dual * observed.unit)
    return certified("Kernel completion", observed, weights, objective, bound, dual, tolerance)


@dataclass(frozen=True)
class Observed:
    """The known entries of a symmetric matrix, without repetition, on or above the diagonal."""

    places: Int[np.ndarray, "m 2"]
    values: Float[np.ndarray, " m"]  # the mean if given several times
    which: Int[np.ndarray, " n"]  # the entry of each observation
    spread: float  # the largest distance of an observation from its entry's mean

    @property
    def unit(self) -> float:
        """A power of two near the largest value, for scaling without overflow or underflow."""
        return float(np.ldexp(0.5, np.frexp(np.max(np.abs(self.values), initial=0))[1]))

    def share(self, dual: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
        """Multipliers of entries as multipliers of observations, equal for copies."""
        return (dual / np.bincount(self.which, minlength=len(dual)))[self.which]


def observe(index: ArrayLike, values: ArrayLike, size: int) -> Observed:
    """Observations as distinct entries; raises `InputError` for wrong shapes or values."""
    if size < 1:
        raise InputError("size", size, "should be at least 1")
    index, values = np.asarray(index), np.asarray(values)
    if index.ndim != 2 or index.shape[1] != 2:
        raise InputError("index", index.shape, "should have shape (n, 2)")
    if index.dtype.kind not in "iuf" or np.any(index != np.floor(index)):
        raise InputError("index", str(index.dtype), "should be integers")
    if values.shape != index.shape[:1]:
        raise InputError("values", values.shape, f"should have shape ({len(index)},), as `index`")
    if np.iscomplexobj(values):
        raise InputError("values", str(values.dtype), "should be real")
    values = values.astype(np.float64)
    for k in np.flatnonzero(np.any((index < 0) | (index >= size), axis=1))[:1]:
        raise InputError(f"index[{k}]", index[k].tolist(), f"should lie in [0, {size})")
    for k in np.flatnonzero(~np.isfinite(values))[:1]:
        raise InputError(f"values[{k}]", float(values[k]), "should be finite")
    if not len(index):
        return Observed(np.zeros((0, 2), np.int64), values, np.zeros(0, np.int64), 0.0)

    ordered = np.sort(index.astype(np.int64), axis=1)
    places, first, which = np.unique(ordered, axis=0, return_index=True, return_inverse=True)
    # Differences from the first value, so that the mean of equal values is exact.
    off = values - values[first][which]
    means = values[first] + np.bincount(which, off) / np.bincount(which)
    return Observed(places, means, which, float(np.max(np.abs(values - means[which]))))


def scatter(
    places: Int[np.ndarray, "m 2"], values: Float[np.ndarray, " m"], size: int
) -> Float[np.ndarray, "d d"]:
    """The symmetric matrix with `values` at `places`, zero elsewhere."""
    matrix = np.zeros((size, size))
    matrix[places[:, 0], places[:, 1]] = values
    matrix[places[:, 1], places[:, 0]] = values
    return matrix


def pull(
    places: Int[np.ndarray, "m 2"], dual: Float[np.ndarray, " m"], size: int
) -> Float[np.ndarray, "d d"]:
    r"""$Y = \sum_k \nu_k (E_{ij} + E_{ji}) / 2$."""
    half = scatter(places, dual / 2, size)
    return half + np.diag(np.diag(half))


def relative_gap(objective: float, bound: float) -> float:
    """The relative difference of norm and bound; infinite if the bound is not positive."""
    if bound > 0:
        return (objective - bound) / bound
    return 0.0 if objective == 0 else np.inf


def certified(
    name: str,
    observed: Observed,
    weights: Float[np.ndarray, "d d"],
    objective: float,
    bound: float,
    dual: Float[np.ndarray, " n"],
    tolerance: float,
) -> Predictor:
    """The predictor for a feasible pair; weights, objective and bound in that unit."""
    gap = abs(relative_gap(objective, bound))
    status: Status = "optimal"
    why = ""
    if observed.spread > tolerance * np.max(np.abs(observed.values), initial=0):
        status, why = "not_separable", "an entry has several different values"
    elif not gap <= tolerance:
        status, why = "not_proven", f"the gap is {gap:.1g}, above the tolerance {tolerance:g}"
    exponent = int(np.frexp(observed.unit)[1]) - 1
    if lost := why_lost("norm", objective, exponent, "scale the values"):
        status, why = "out_of_range", lost
    with np.errstate(over="ignore", under="ignore"):
        objective, bound = objective * observed.unit, bound * observed.unit
        weights = weights * observed.unit
    return Predictor(name, weights, objective, bound, dual, gap, status, why)
