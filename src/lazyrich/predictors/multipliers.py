"""Multipliers of all active constraints at once, by products with Jacobians only."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from .._core.norms import tree_norm
from ..models import AbstractModel
from .constraints import Point, every_margin, scale_and_norm

_POWER_STEPS = 8


class _Descent(NamedTuple):
    point: Float[Array, " n *c"]
    ahead: Float[Array, " n *c"]  # the point extrapolated by momentum
    momentum: Float[Array, ""]


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
        approximate KKT points; the steps: Nesterov 1983, with gradient restarts.
    """
    every, smallest = every_margin(point.f, y)
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
    linear = against(target)
    image = product(start)
    start = start * jnp.maximum(jnp.vdot(linear, start), 0.0) / jnp.vdot(start, image)

    def power(_: Int[Array, ""], v: Array) -> Array:
        w = product(v)
        return w / jnp.linalg.norm(w)

    top = lax.fori_loop(0, _POWER_STEPS, power, active.astype(f.dtype) + 0.1 * start)
    rate = 1 / (1.2 * jnp.linalg.norm(product(top)))

    def advance(_: Int[Array, ""], state: _Descent) -> _Descent:
        slope = product(state.ahead) - linear
        here = jnp.maximum(state.ahead - rate * slope, 0.0)
        moved = here - state.point
        uphill = jnp.vdot(state.ahead - here, moved) > 0
        following = 0.5 * (1 + jnp.sqrt(1 + 4 * state.momentum**2))
        carry = jnp.where(uphill, 0.0, (state.momentum - 1) / following)
        return _Descent(here, here + carry * moved, jnp.where(uphill, 1.0, following))

    first = _Descent(start, start, jnp.ones((), f.dtype))
    mu = lax.fori_loop(0, num_steps, advance, first).point
    gap = tree_norm(jax.tree.map(jnp.subtract, target, pull(mu)))
    return Explained(gap, jnp.sum(mu * beyond) / norm**2, mu, active)


def forces(mu: Array, y: Array) -> Array:
    """Multipliers of margins as forces on outputs."""
    if mu.ndim == 1:
        return mu * y
    right = jax.nn.one_hot(y, mu.shape[1], dtype=mu.dtype)
    return right * jnp.sum(mu, axis=1, keepdims=True) - mu


def differences(f: Array, y: Array) -> Array:
    """Margins from outputs: the transpose of `forces`."""
    if f.ndim == 1:
        return f * y
    return jnp.take_along_axis(f, y[:, None], axis=1) - f
