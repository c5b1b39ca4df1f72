"""Products with the data of a certificate, in NumPy, each with a bound on its rounding error."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Shaped

from .._errors import InputError

EPS = float(np.finfo(np.float64).eps)
# Up to so many entries sums are taken in the widest type there is, which costs as much as twenty
# products of BLAS.
_WIDE_ENTRIES = 2**21
WIDE_EPS = float(np.finfo(np.longdouble).eps)
# Entries of a block that is converted to float64 at once: 8 MiB.
_BLOCK_ENTRIES = 2**20


def as_matrix(x: ArrayLike) -> Shaped[np.ndarray, "n d"]:
    """Inputs as float64, or as they are if they are a large `int8`: eight times fewer bytes.

    - **Raises** [`InputError`][lazyrich.InputError] for what is no matrix of finite real numbers.
    """
    matrix = np.asarray(x)
    if matrix.ndim != 2 or not matrix.size:
        raise InputError("x", matrix.shape, "should have shape (n, d), n and d at least 1")
    if np.iscomplexobj(matrix):
        raise InputError("x", str(matrix.dtype), "should be real")
    if matrix.dtype == np.int8 and matrix.size > _BLOCK_ENTRIES:
        return matrix
    matrix = matrix.astype(np.float64)
    for i, j in np.argwhere(~np.isfinite(matrix))[:1]:
        raise InputError(f"x[{i}, {j}]", float(matrix[i, j]), "should be finite")
    return matrix


def as_labels(y: ArrayLike, num: int, *, signs: bool = False) -> Float[np.ndarray, " n"]:
    """Labels as float64; raises if one is not finite, or is no sign if `signs` are needed."""
    labels = np.asarray(y)
    if labels.shape != (num,):
        raise InputError("y", labels.shape, f"should have shape ({num},), a label for each row of x")
    if np.iscomplexobj(labels):
        raise InputError("y", str(labels.dtype), "should be real")
    labels = labels.astype(np.float64)
    for i in np.flatnonzero(~np.isfinite(labels))[:1]:
        raise InputError(f"y[{i}]", float(labels[i]), "should be finite")
    for i in np.flatnonzero((np.abs(labels) != 1) & signs)[:1]:
        raise InputError(f"y[{i}]", float(labels[i]), "labels should be -1 or 1")
    return labels


def blocks(x: Shaped[np.ndarray, "n d"]) -> Iterator[tuple[slice, Float[np.ndarray, "n _"]]]:
    """Blocks of columns in float64, and where they are."""
    num, width = x.shape[1], max(1, _BLOCK_ENTRIES // max(1, len(x)))
    for first in range(0, num, width):
        at = slice(first, min(first + width, num))
        yield at, x[:, at].astype(np.float64, copy=False)


def times(x: Shaped[np.ndarray, "n d"], w: Float[np.ndarray, " d"]) -> Float[np.ndarray, " n"]:
    """`x @ w`."""
    return np.sum([block @ w[at] for at, block in blocks(x)], axis=0)


def against(x: Shaped[np.ndarray, "n d"], v: Float[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
    """`v @ x`."""
    return np.concatenate([v @ block for _, block in blocks(x)])


def weighted_gram(
    x: Shaped[np.ndarray, "n d"], h: Float[np.ndarray, " d"] | None = None
) -> Float[np.ndarray, "n n"]:
    r"""$X \operatorname{diag}(h) X^\top$."""
    total = np.zeros((len(x), len(x)))
    for at, block in blocks(x):
        total += (block if h is None else block * h[at]) @ block.T
    return total


def measured_times(
    x: Shaped[np.ndarray, "n d"], w: Float[np.ndarray, " d"], start: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """`start + x @ w` as accurate as can be had, and a bound on what is wrong with it."""
    size = np.abs(start) + np.sum([np.abs(b) @ np.abs(w[at]) for at, b in blocks(x)], axis=0)
    if x.size <= _WIDE_ENTRIES:
        wide = x.astype(np.longdouble) @ w.astype(np.longdouble) + start
        value, eps = wide.astype(np.float64), WIDE_EPS
    else:
        value, eps = start + times(x, w), EPS
    return value, EPS * np.abs(value) + (x.shape[1] + 2) * eps * size


def measured_against(
    x: Shaped[np.ndarray, "n d"], v: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """`v @ x` as accurate as can be had, and a bound on what is wrong with it."""
    size = np.concatenate([np.abs(v) @ np.abs(b) for _, b in blocks(x)])
    if x.size <= _WIDE_ENTRIES:
        wide = v.astype(np.longdouble) @ x.astype(np.longdouble)
        value, eps = wide.astype(np.float64), WIDE_EPS
    else:
        value, eps = against(x, v), EPS
    return value, EPS * np.abs(value) + (len(x) + 2) * eps * size


def exponents(values: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """The $e$ with $2^{e-1}$ at most the absolute value and $2^e$ above it; 0 for zero."""
    return np.frexp(values)[1].astype(np.int64)


def row_exponents(x: Shaped[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
    """Exponents of each row's largest entry; zero for integers, which need no scaling."""
    if x.dtype.kind == "i":
        return np.zeros(len(x), np.int64)
    largest = np.max([np.max(np.abs(b), axis=1, initial=0) for _, b in blocks(x)], axis=0)
    return exponents(largest)


def shifted(x: Shaped[np.ndarray, "n d"], by: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n d"]:
    """Rows times $2^{by}$, exactly."""
    return np.ldexp(x.astype(np.float64, copy=False), by[:, None]) if np.any(by) else x
