"""Linear dependence of samples, and solutions with independent samples."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Int, Shaped

from .products import EPS, against, exponents, measured_against, shifted, times, weighted_gram

# The largest condition number of a Gram matrix for which its Cholesky factor is used. The loss of
# accuracy is this number times float64's epsilon, before a step of refinement.
WELL_CONDITIONED = 1e3
# The rounding error of a sum is at most its number of terms times this times EPS. The largest error
# found in combinations that vanish was a quarter of it.
_SAFETY = 16.0


@dataclass(frozen=True)
class Rows:
    r"""Independent rows of a matrix $X$, factorised: $X_{kept}^\top = Q R$.

    - `kept`, shape `(r,)`, and `dropped` rows, which equal combinations of the kept rows up to
        rounding of the solver.
    - `factor`, $R$; `basis`, $Q$, or None if $X_{kept}$ is so well conditioned that $X^\top
        R^{-1}$ is accurate enough.
    - `combinations`, shape `(m, n)` with $m = n - r$: $X^\top \nu$ vanishes for each row $\nu$;
        `dependent`, whether it vanishes up to rounding of the entries, which is a proof for data
        known to this accuracy.
    - `condition`, an estimate of the condition number of $X_{kept}$.
    """

    kept: Int[np.ndarray, " r"]
    dropped: Int[np.ndarray, " m"]
    factor: Float[np.ndarray, "r r"]
    basis: Float[np.ndarray, "d r"] | None
    combinations: Float[np.ndarray, "m n"]
    dependent: Bool[np.ndarray, " m"]
    condition: float

    def inner(self, b: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
        r"""$R^{-\top} b$. Its norm is that of the shortest solution of $X_{kept} w = b$."""
        return scipy.linalg.solve_triangular(self.factor, b, trans="T", check_finite=False)

    def outer(self, b: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
        r"""$R^{-1} b$."""
        return scipy.linalg.solve_triangular(self.factor, b, check_finite=False)

    def shortest(
        self, x: Shaped[np.ndarray, "r d"], b: Float[np.ndarray, " r"]
    ) -> Float[np.ndarray, " d"]:
        r"""The shortest solution of $X_{kept} w = b$; `x` are the kept rows."""
        inner = self.inner(b)
        if self.basis is not None:
            return self.basis @ inner
        return against(x, self.outer(inner))

    def multipliers(
        self, x: Shaped[np.ndarray, "r d"], g: Float[np.ndarray, " d"]
    ) -> Float[np.ndarray, " r"]:
        r"""The $\nu$ for which $X_{kept}^\top \nu$ is nearest to `g`."""
        if self.basis is not None:
            return self.outer(g @ self.basis)
        return self.outer(self.inner(times(x, g)))


def vanishes(x: Shaped[np.ndarray, "n d"], nu: Float[np.ndarray, " n"]) -> bool:
    r"""Whether $X^\top \nu$ is zero up to rounding of the entries of $X$ and $\nu$.

    This means that relative changes of the entries of at most 16 (n + 4) times the spacing of
    float64 could make it exactly zero.
    """
    used = np.flatnonzero(nu)
    pull = measured_against(x[used], nu[used])[0]
    size = measured_against(np.abs(x[used].astype(np.float64)), np.abs(nu[used]))[0]
    return bool(np.all(np.abs(pull) <= _SAFETY * (len(used) + 4) * EPS * size))


def independent_rows(x: Shaped[np.ndarray, "n d"]) -> Rows:
    """The independent rows of `x`, whose rows should have largest entries near one."""
    n, d = x.shape
    if n <= d:
        gram = weighted_gram(x)
        factor, info = scipy.linalg.lapack.dpotrf(gram)
        if info == 0:
            one_norm = np.max(np.sum(np.abs(gram), axis=0))
            inverse = scipy.linalg.lapack.dpocon(factor, one_norm)[0]
            if inverse * WELL_CONDITIONED >= 1:
                every, nothing = np.arange(n), np.zeros(0, np.int64)
                none = np.zeros((0, n)), np.zeros(0, bool)
                return Rows(every, nothing, factor, None, *none, float(inverse**-0.5))
    dense = x.astype(np.float64, copy=False)
    kept, dropped, combinations = _split(dense)
    proven = np.array([vanishes(dense, nu) for nu in combinations], bool)
    # If columns have different scales, sorting the rows of the transpose by decreasing size keeps
    # rounding errors proportional to each column's own scale: Cox & Higham, BIT 38 (1998).
    order = np.argsort(-np.max(np.abs(dense), axis=0), kind="stable")
    basis = np.zeros((d, len(kept)))
    basis[order], factor = scipy.linalg.qr(dense[kept][:, order].T, mode="economic")
    inverse = scipy.linalg.lapack.dtrcon(factor)[0] if len(kept) else 1.0
    condition = float(1 / inverse) if inverse > 0 else np.inf
    return Rows(kept, dropped, factor, basis, combinations, proven, condition)


def _split(
    x: Float[np.ndarray, "n d"],
) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " n-r"], Float[np.ndarray, "n-r n"]]:
    """Kept rows, rows that depend on them, and the combinations that vanish.

    Scaling columns does not change linear dependence, so the columns are scaled alike first.
    """
    n = len(x)
    level, shift, _ = equilibrated(x)
    factor, order = scipy.linalg.qr(level.T, mode="r", pivoting=True)
    size = np.abs(np.diag(factor))
    rank = int(np.sum(size > 10 * n * EPS * np.max(size, initial=0)))
    kept, dropped = order[:rank], order[rank:]
    combinations = np.zeros((n - rank, n))
    if rank and len(dropped):
        parts = scipy.linalg.solve_triangular(factor[:rank, :rank], factor[:rank, rank:])
        basis, inner = scipy.linalg.qr(level[kept].T, mode="economic")
        for place, (row, part) in enumerate(zip(dropped, parts.T, strict=True)):
            nu = combinations[place]
            nu[kept], nu[row] = -part, 1.0
            for _ in range(2):
                left = measured_against(level, nu)[0]
                nu[kept] -= scipy.linalg.solve_triangular(inner, left @ basis)
            # Zeros up to rounding are set to zero: a copy is a combination of one row.
            nu[np.abs(nu) <= 4 * n * EPS * np.max(np.abs(nu))] = 0.0
    elif len(dropped):
        combinations[np.arange(len(dropped)), dropped] = 1.0
    return np.sort(kept), dropped, np.ldexp(combinations, shift)


def equilibrated(
    x: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"], Int[np.ndarray, " d"]]:
    """Rows and columns scaled by powers of two to largest entries near one, and the exponents."""
    by_row, by_column = np.zeros(len(x), np.int64), np.zeros(x.shape[1], np.int64)
    for _ in range(3):
        by = -exponents(np.max(np.abs(x), axis=1, initial=0))
        x, by_row = shifted(x, by), by_row + by
        by = -exponents(np.max(np.abs(x), axis=0, initial=0))
        x, by_column = shifted(x.T, by).T, by_column + by
    return x, by_row, by_column
