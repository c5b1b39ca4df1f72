"""Products with the data of a certificate, with bounds on their rounding errors."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from .._core.columns import block_columns, gram, matvec, rmatvec
from .._core.errors import InputError

Data = Array | np.ndarray
EPS = float(np.finfo(np.float64).eps)
# Up to this many entries NumPy computes the products, and measured products use the widest type,
# which costs as much as twenty BLAS products. Larger data use compiled products by column blocks.
_LARGE = 2**20
WIDE_EPS = float(np.finfo(np.longdouble).eps)


def as_matrix(x: ArrayLike) -> Shaped[np.ndarray, "n d"]:
    """Inputs as float64. A large `int8` array is kept, because it needs an eighth of the memory.

    - **Raises** [`InputError`][lazyrich.InputError] unless `x` is a matrix of finite real numbers.
    """
    matrix = np.asarray(x)
    if matrix.ndim != 2 or not matrix.size:
        raise InputError("x", matrix.shape, "should have shape (n, d), n and d at least 1")
    if np.iscomplexobj(matrix):
        raise InputError("x", str(matrix.dtype), "should be real")
    if matrix.dtype == np.int8 and matrix.size > _LARGE:
        return matrix
    matrix = matrix.astype(np.float64)
    for i, j in np.argwhere(~np.isfinite(matrix))[:1]:
        raise InputError(f"x[{i}, {j}]", float(matrix[i, j]), "should be finite")
    return matrix


def as_labels(y: ArrayLike, num: int, *, signs: bool = False) -> Float[np.ndarray, " n"]:
    """Labels as float64; raises if one is not finite, or not a sign if `signs` are required."""
    labels = np.asarray(y)
    if labels.shape != (num,):
        raise InputError(
            "y", labels.shape, f"should have shape ({num},), one label for each row of x"
        )
    if np.iscomplexobj(labels):
        raise InputError("y", str(labels.dtype), "should be real")
    labels = labels.astype(np.float64)
    for i in np.flatnonzero(~np.isfinite(labels))[:1]:
        raise InputError(f"y[{i}]", float(labels[i]), "should be finite")
    for i in np.flatnonzero((np.abs(labels) != 1) & signs)[:1]:
        raise InputError(f"y[{i}]", float(labels[i]), "labels should be -1 or 1")
    return labels


def for_many_products(x: Shaped[np.ndarray, "n d"]) -> Shaped[Data, "n d"]:
    """`x` as an array that compiled products need not copy."""
    return jnp.asarray(x) if is_large(x) else x


def times(x: Shaped[Data, "n d"], w: Float[np.ndarray, " d"]) -> Float[np.ndarray, " n"]:
    """`x @ w`."""
    return np.asarray(matvec(x, jnp.asarray(w)) if is_large(x) else x @ w)


def against(x: Shaped[Data, "n d"], v: Float[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
    """`v @ x`."""
    return np.asarray(rmatvec(x, jnp.asarray(v)) if is_large(x) else v @ x)


def weighted_gram(
    x: Shaped[Data, "n d"], h: Float[np.ndarray, " d"] | None = None
) -> Float[np.ndarray, "n n"]:
    r"""$X \operatorname{diag}(h) X^\top$."""
    if is_large(x):
        return np.array(gram(x, jnp.ones(1) if h is None else jnp.asarray(h)))
    return np.asarray((x if h is None else x * h) @ x.T)


def is_large(x: Shaped[Data, "n d"]) -> bool:
    """Whether products are compiled, by blocks of columns."""
    return x.size > _LARGE


def measured_times(
    x: Shaped[np.ndarray, "n d"], w: Float[np.ndarray, " d"], start: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """`start + x @ w` as accurately as possible, and a bound on its error."""
    if is_large(x):
        value = start + times(x, w)
        size = np.abs(start) + _largest(x, 1) * np.sum(np.abs(w))
        return value, (_terms(x) + 2) * EPS * size
    size = np.abs(start) + np.abs(x) @ np.abs(w)
    value = (x.astype(np.longdouble) @ w.astype(np.longdouble) + start).astype(np.float64)
    return value, EPS * np.abs(value) + (x.shape[1] + 2) * WIDE_EPS * size


def measured_against(
    x: Shaped[np.ndarray, "n d"], v: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """`v @ x` as accurately as possible, and a bound on its error."""
    if is_large(x):
        value = against(x, v)
        return value, (len(x) + 2) * EPS * _largest(x, 0) * np.sum(np.abs(v))
    size = np.abs(v) @ np.abs(x)
    value = (v.astype(np.longdouble) @ x.astype(np.longdouble)).astype(np.float64)
    return value, EPS * np.abs(value) + (len(x) + 2) * WIDE_EPS * size


def _terms(x: Shaped[np.ndarray, "n d"]) -> int:
    """The largest number of additions for one number, in a sum over blocks of columns."""
    width = min(x.shape[1], block_columns(len(x)))
    return width + x.shape[1] // width + 1


def _largest(x: Shaped[np.ndarray, "n d"], axis: int) -> Float[np.ndarray, " _"]:
    # The absolute value of the smallest `int8` does not fit in `int8`.
    top, bottom = np.max(x, axis=axis, initial=0), np.min(x, axis=axis, initial=0)
    return np.maximum(top.astype(np.float64), -bottom.astype(np.float64))


def exponents(values: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """The $e$ with $2^{e-1} \\le |v| < 2^e$ for each value $v$; 0 for zero."""
    return np.frexp(values)[1].astype(np.int64)


def row_exponents(x: Shaped[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
    """Exponents of each row's largest entry; zero for integers, which need no scaling."""
    if x.dtype.kind == "i":
        return np.zeros(len(x), np.int64)
    return exponents(_largest(x, 1))


def shifted(x: Shaped[np.ndarray, "n d"], by: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n d"]:
    """Rows times $2^{by}$, without rounding."""
    return np.ldexp(x.astype(np.float64, copy=False), by[:, None]) if np.any(by) else x
