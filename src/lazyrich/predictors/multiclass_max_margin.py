"""The hard-margin multi-class support vector machine."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from .._core.errors import InputError
from .._core.precision import in_double, real_array
from ._base import Predictor
from .classes import ClassMargin, certify_classes
from .differences import every_margin, forces
from .products import as_matrix, row_exponents

# Passes over the samples between two evaluations of the gap.
_SWEEPS = 10
# Multipliers are not multiplied beyond this sum.
_LARGE = 1e100


@in_double
def multiclass_max_margin(
    features: Float[ArrayLike, "n k"],
    y: Shaped[ArrayLike, " n"],
    num_classes: int,
    tolerance: float = 1e-3,
    max_sweeps: int = 5000,
    max_seconds: float = 300.0,
) -> Predictor:
    r"""The linear functions $f_c = \langle w_c, \phi\rangle$ with the largest multi-class margin.

    They attain $\max_{\|W\|_F = 1} \min_{i, c \ne y_i} \langle w_{y_i} - w_c, \phi_i \rangle$. The
    dual solution is the point of the convex hull of the $(e_{y_i} - e_c) \otimes \phi_i$ that is
    nearest to the origin. Its norm bounds every margin. The method is block coordinate ascent on
    $\sum \mu_{ic} - \frac12 \|W(\mu)\|_F^2$ over $\mu \ge 0$. A block is the $C - 1$ multipliers
    of a sample, which sorting optimises exactly. $W$ is updated, so a pass costs $O(n C k)$ and
    no matrix of size $nC \times nC$ is formed.

    - **Takes** `features`, shape `(n, k)`, a factor of the kernel; `tolerance`, the relative gap
        at which the search ends; `max_sweeps` and `max_seconds`, its limits on passes and time.
    - **Returns** `weights` `(num_classes, k)` of norm 1 and `dual` `(n, num_classes)` of sum 1. The
        bound and the margin are the best of all evaluations, each with its own argument.
        `not_proven` with a negative `objective` means that no function was found that fits every
        sample.
    - **Source** Crammer & Singer, JMLR 2 (2001), 265--292: the problem, without slack; Keerthi et
        al., KDD 2008: dual coordinate descent for it.
    """
    matrix, labels = as_matrix(features).astype(np.float64, copy=False), real_array(y, "y")
    power = int(np.max(row_exponents(matrix)))
    matrix = np.ldexp(matrix, -power)
    phi = jnp.asarray(matrix)
    if np.any(labels != np.floor(labels)):
        raise InputError("y", str(labels.dtype), "should be classes, whole numbers")
    if labels.min() < 0 or labels.max() >= num_classes:
        worst = int(labels.min() if labels.min() < 0 else labels.max())
        raise InputError("y", worst, f"should be classes from 0 to {num_classes - 1}")
    sizes = np.asarray(jnp.sum(phi**2, axis=1))
    if not np.all(sizes > 0):
        raise InputError("features", 0.0, "should not be zero for a sample")
    # Scaled by a typical sample, so that multipliers are of order one.
    unit = float(np.sqrt(sizes.mean()))
    data = _Data(phi / unit, jnp.asarray(labels, jnp.int32))
    mu = jnp.zeros((len(labels), num_classes))
    best_bound, best_margin = np.inf, -np.inf
    dual, weights = mu, jnp.zeros((num_classes, phi.shape[1]))
    begun, key, done = time.monotonic(), jr.key(0), 0
    while done < max_sweeps and time.monotonic() - begun < max_seconds:
        key, part = jr.split(key)
        mu, w, bound, margin = _ascend(data, mu, part)
        done += _SWEEPS
        if float(bound) < best_bound:
            best_bound, dual = float(bound), mu
        if float(margin) > best_margin:
            best_margin, weights = float(margin), w
        if best_bound - best_margin <= tolerance * best_bound:
            break
    posed = ClassMargin(matrix, labels.astype(np.int64), num_classes, power)
    pair = np.asarray(weights), np.asarray(dual)
    return certify_classes("kernel multi-class max margin", posed, *pair, tolerance)


class _Data(NamedTuple):
    phi: Float[Array, "n k"]
    y: Int[Array, " n"]


@jax.jit
def _ascend(data: _Data, mu: Array, key: Array) -> tuple[Array, Array, Array, Array]:
    """Some passes; returns multipliers, weights, and the bound and margin that they prove."""
    phi, y = data
    n, num_classes = mu.shape
    sizes = jnp.sum(phi**2, axis=1)
    ranks = jnp.arange(1, num_classes + 1)

    def update(t: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        w, mu, order = carry
        i = order[t]
        here, label, size, old = phi[i], y[i], sizes[i], mu[i]
        f = w @ here
        right = jnp.arange(num_classes) == label
        # At the optimum of the block, new = max(0, level - sum(new)) for every other class.
        level = old + jnp.sum(old) + (1 - (f[label] - f)) / size
        level = jnp.where(right, -jnp.inf, level)
        falling = -jnp.sort(-level)
        sums = jnp.cumsum(jnp.where(jnp.isfinite(falling), falling, 0.0)) / (ranks + 1)
        total = jnp.sum(jnp.where(falling > sums, sums - jnp.roll(sums, 1).at[0].set(0.0), 0.0))
        new = jnp.where(right, 0.0, jnp.maximum(level - total, 0.0))
        change = old - new
        force = jnp.where(right, -jnp.sum(change), change)
        return w + force[:, None] * here[None], mu.at[i].set(new), order

    def sweep(number: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        w, mu = carry
        order = jr.permutation(jr.fold_in(key, number), n)
        w, mu, _ = lax.fori_loop(0, n, update, (w, mu, order))
        return w, mu

    # Computed anew, because rounding errors would accumulate in the weights.
    w = forces(mu, y).T @ phi
    w, mu = lax.fori_loop(0, _SWEEPS, sweep, (w, mu))
    w = forces(mu, y).T @ phi
    norm, total = jnp.linalg.norm(w), jnp.sum(mu)
    margin = jnp.min(every_margin(phi @ w.T, y))
    # The best multiple of the multipliers for the next passes. Without a separation it grows
    # without bound.
    multiple = total / norm**2
    mu = jnp.where(multiple * total < _LARGE, multiple * mu, mu)
    return mu, w, norm / total, margin / norm
