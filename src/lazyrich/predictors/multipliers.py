"""Multipliers of all active constraints at once, by products with Jacobians only."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from .._core.norms import tree_norm
from ..models import AbstractModel
from .constraints import Point, scale_and_norm, with_smallest
from .differences import differences, forces
from .nonnegative import descend_by_products


class Explained(NamedTuple):
    """The residuals of a point, and their multipliers, which are zero if not `active`."""

    stationarity: Float[Array, ""]
    complementarity: Float[Array, ""]
    mu: Float[Array, " n *c"]
    active: Bool[Array, " n *c"]


def explain(
    model: AbstractModel,
    point: Point,
    x: Shaped[Array, "n d"],
    y: Shaped[Array, " n"],
    factor: float,
    num_steps: int,
) -> Explained:
    r"""Minimises the same as [`margin_kkt`][lazyrich.predictors.margin_kkt] without a Gram matrix.

    All constraints within `factor` of the smallest margin have multipliers. The start is given by
    the multipliers of training, the probabilities of the wrong classes. Then follow `num_steps`
    accelerated projected gradient steps, each with one product with $J$ and one with $J^\top$.

    - **Source** the start: Lyu & Li, ICLR 2020, arXiv:1906.05890, their construction of
        approximate KKT points.
    """
    every, smallest = with_smallest(point.f, y)
    scale, norm = scale_and_norm(point, smallest)
    active = (every <= factor * smallest) & jnp.isfinite(every)
    beyond = jnp.where(active, every / smallest - 1, 0.0)
    # Gradients at the scaled point, in units in which its vector has norm one.
    unit = scale ** (point.degree - 1) / norm
    target = jax.tree.map(lambda v: v * (scale / norm), point.vector)
    f, pullback = jax.vjp(lambda p: model.apply(p, x), point.origin)
    push = jax.linearize(lambda p: model.apply(p, x), point.origin)[1]

    def pull(mu: Array) -> Any:
        pulled = pullback(forces(mu, y).astype(f.dtype))[0]
        return jax.tree.map(lambda g: unit * g, pulled)

    def against(tree: Any) -> Array:
        return jnp.where(active, unit * differences(push(tree), y), 0.0)

    penalty = (beyond / norm**2) ** 2 * active

    def product(mu: Array) -> Array:
        return against(pull(mu)) + penalty * mu

    # The factor of a margin's gradient in the gradient of the logistic loss or cross-entropy, up to
    # a constant: the probability of the wrong class.
    tail = jnp.exp(-every)
    right = 1 / (1 + (tail if tail.ndim == 1 else jnp.sum(tail, axis=1, keepdims=True)))
    start = jnp.where(active, jnp.exp(jnp.where(active, smallest - every, 0.0)), 0.0) * right
    mu = descend_by_products(product, against(target), active, start, num_steps)
    gap = tree_norm(jax.tree.map(jnp.subtract, target, pull(mu)))
    return Explained(gap, jnp.sum(mu * beyond) / norm**2, mu, active)
