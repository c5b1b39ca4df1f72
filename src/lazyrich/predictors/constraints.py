"""Margin constraints at a point, and the residuals of their KKT conditions."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from .._core.norms import tree_norm
from ..kernel import row_gram
from ..models import AbstractModel
from .differences import every_margin


class Limits(NamedTuple):
    """The largest number of constraints with multipliers, and the factor of the smallest margin."""

    max_active: int
    factor: float


class Constraints(NamedTuple):
    """The constraints with the smallest margins, and the sample of each.

    Margins are divided by the smallest of all. The margin is `r` times the outputs of its
    `sample`; `r` is zero for constraints that are not `active`. `smallest` is NaN if a sample is
    not fitted.
    """

    sample: Int[Array, " m"]
    other: Int[Array, " m"]
    r: Float[Array, " m *c"]
    margin: Float[Array, " m"]
    active: Bool[Array, " m"]
    smallest: Float[Array, ""]
    num_active: Int[Array, ""]


def with_smallest(
    f: Float[Array, " n *c"], y: Shaped[Array, " n"]
) -> tuple[Float[Array, " n *c"], Float[Array, ""]]:
    """Every margin, see `every_margin`; the smallest, or NaN if it is not positive."""
    every = every_margin(f, y)
    smallest = jnp.min(every)
    return every, jnp.where(smallest > 0, smallest, jnp.nan)


def tightest(f: Float[Array, " n *c"], y: Shaped[Array, " n"], limits: Limits) -> Constraints:
    """The constraints with the smallest margins."""
    num_classes = 1 if f.ndim == 1 else f.shape[1]
    margins, smallest = with_smallest(f, y)
    every = margins.ravel()
    bound = limits.factor * smallest
    place = jax.lax.top_k(-every, limits.max_active)[1]
    sample, other = place // num_classes, place % num_classes
    active = (every[place] <= bound) & jnp.isfinite(every[place])
    if f.ndim == 1:
        r = jnp.where(active, y[sample], 0.0)
    else:
        unit = jax.nn.one_hot(jnp.stack([y[sample], other]), num_classes, dtype=f.dtype)
        r = jnp.where(active[:, None], unit[0] - unit[1], 0.0)
    margin = jnp.where(active, every[place] / smallest, 1.0)
    num = jnp.sum((every <= bound) & jnp.isfinite(every))
    return Constraints(sample, other, r, margin, active, smallest, num)


class KKTSystem(NamedTuple):
    r"""Multipliers minimise $\frac12 \mu^\top M \mu - b^\top \mu$ over $\mu \ge 0$.

    NaN if a sample is not fitted.
    """

    matrix: Float[Array, "m m"]
    linear: Float[Array, " m"]
    constraints: Constraints


class Point(NamedTuple):
    """A vector whose norm is minimised, and its outputs.

    The outputs `f` are of `degree` in the `vector`. Their gradients are those of the model at
    `origin`: the parameters themselves, or the point around which the model was linearised.
    """

    vector: Any
    origin: Any
    f: Float[Array, " n *c"]
    degree: float


def system_at(
    model: AbstractModel, point: Point, x: Shaped[Array, "n d"], y: Array, limits: Limits
) -> KKTSystem:
    """The system for the multipliers at a point."""
    found = tightest(point.f, y, limits)
    scale, norm = scale_and_norm(point, found.smallest)
    kernel = row_gram(model, point.origin, x[found.sample], found.r)
    kernel = kernel * scale ** (2 * (point.degree - 1))
    penalty = ((found.margin - 1) / norm) ** 2
    idle = jnp.where(found.active, 0.0, jnp.max(jnp.diagonal(kernel)))
    # By Euler's identity, the inner products of the gradients with theta are L times the margins.
    linear = point.degree * found.margin * found.active
    linear = linear + 0.0 * found.smallest  # not-a-number if a sample is not fitted
    return KKTSystem(kernel + jnp.diag(penalty + idle), linear, found)


def residual_at(
    model: AbstractModel,
    point: Point,
    x: Shaped[Array, "n d"],
    constraints: Constraints,
    mu: Float[Array, " m"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Stationarity and complementarity for given multipliers."""
    scale, norm = scale_and_norm(point, constraints.smallest)
    some = x[constraints.sample]
    forces = constraints.r * mu.reshape(-1, *[1] * (constraints.r.ndim - 1))
    pull = jax.vjp(lambda p: model.apply(p, some), point.origin)[1](forces)[0]
    factor = scale ** (point.degree - 1)
    gaps = jax.tree.map(lambda v, g: scale * v - factor * g, point.vector, pull)
    return tree_norm(gaps) / norm, mu @ (constraints.margin - 1) / norm**2


def scale_and_norm(point: Point, smallest: Float[Array, ""]) -> tuple[Array, Array]:
    """The factor that makes the smallest margin 1, and the norm of the scaled vector."""
    scale = smallest ** (-1 / point.degree)
    return scale, scale * tree_norm(point.vector)


def own_point(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> Point:
    """Parameters as a point of the problem of their own model."""
    degree = model.homogeneity
    assert degree is not None  # checked by the callers
    return Point(params, params, model.apply(params, x), degree)


@eqx.filter_jit
def min_norm_gap(model: AbstractModel, point: Point, x: Shaped[Array, "n d"]) -> Float[Array, ""]:
    """The norm of a vector's part outside the span of the gradients, relative to the vector."""
    f, pullback = jax.vjp(lambda p: model.apply(p, x), point.origin)
    values, vectors = jnp.linalg.eigh(model.tangent_kernel(point.origin, x))
    kept = values > 1e-13 * values[-1]
    inverse = jnp.where(kept, 1 / jnp.where(kept, values, 1.0), 0.0)

    def without(vector: Any) -> Any:
        outputs = jax.jvp(lambda p: model.apply(p, x), (point.origin,), (vector,))[1]
        mu = vectors @ (inverse * (vectors.T @ outputs.ravel()))
        return jax.tree.map(jnp.subtract, vector, pullback(mu.reshape(f.shape))[0])

    # Repeated, because the first pass has rounding errors of the kernel's condition number.
    gap = without(without(point.vector))
    return tree_norm(gap) / tree_norm(point.vector)
