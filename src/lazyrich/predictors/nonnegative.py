r"""Minimises $\frac12 a^\top M a - b^\top a$ over $a \ge 0$ by accelerated projected gradients.

For use inside compiled code. Outside, `minimise_nonnegative` is exact.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

_MAX_STEPS = 3000
# Power iterations for a matrix, and if each product is expensive.
_POWER_STEPS, _FEW_POWER_STEPS = 30, 8

Product = Callable[[Array], Array]


def descend_by_products(
    product: Product,
    linear: Float[Array, "*shape"],
    allowed: Bool[Array, "*shape"],
    start: Float[Array, "*shape"],
    num_steps: int,
) -> Float[Array, "*shape"]:
    r"""`num_steps` steps, for $M$ given by products and $a$ that is zero unless `allowed`.

    The search begins at the best multiple of `start`. Each step costs one product.
    """
    start = start * jnp.maximum(jnp.vdot(linear, start), 0.0) / jnp.vdot(start, product(start))
    probe = allowed.astype(start.dtype) + 0.1 * start
    # The factor 1.2, because the estimate of the largest eigenvalue is a lower bound.
    rate = 1 / (1.2 * _largest_eigenvalue(product, probe, _FEW_POWER_STEPS))

    def advance(_: Int[Array, ""], state: _Descent) -> _Descent:
        return state.advance(product(state.ahead) - linear, rate)

    return lax.fori_loop(0, num_steps, advance, _Descent.begin(start)).point


def descend_nonnegative(
    matrix: Float[Array, "m m"], linear: Float[Array, " m"], tolerance: float = 1e-7
) -> Float[Array, " m"]:
    r"""$\arg\min_{a \ge 0} \frac12 a^\top M a - b^\top a$ for a matrix $M \succeq 0$.

    The search ends if a step changes the point by less than `tolerance`, relative, or after 3000
    steps. The objective then has the accuracy $O(1/k^2)$, which is enough for a residual; the
    multipliers can be less accurate.
    """
    # Scaled so that the diagonal is one.
    unit = 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), jnp.finfo(matrix.dtype).tiny))
    scaled, target = unit[:, None] * matrix * unit[None], unit * linear
    start = 1 + 0.1 * jnp.cos(jnp.arange(len(target), dtype=matrix.dtype))
    eigenvalue = _largest_eigenvalue(lambda v: scaled @ v, start, _POWER_STEPS)
    # The estimate is a lower bound for the largest eigenvalue, a row sum an upper bound.
    rate = 1 / jnp.minimum(1.1 * eigenvalue, jnp.max(jnp.sum(jnp.abs(scaled), axis=1)))

    def more(carry: tuple[_Descent, Array, Array]) -> Array:
        _, step, done = carry
        return ~done & (step < _MAX_STEPS)

    def advance(carry: tuple[_Descent, Array, Array]) -> tuple[_Descent, Array, Array]:
        state, step, _ = carry
        new = state.advance(scaled @ state.ahead - target, rate)
        moved = jnp.linalg.norm(new.point - state.ahead)
        return new, step + 1, moved <= tolerance * jnp.linalg.norm(new.point)

    known = jnp.all(jnp.isfinite(target))
    first = _Descent.begin(jnp.zeros_like(target)), jnp.zeros((), int), ~known
    found = lax.while_loop(more, advance, first)[0].point
    return jnp.where(known, unit * found, jnp.nan)


class _Descent(NamedTuple):
    """The state of accelerated projected gradient steps, restarted if the objective increases.

    - **Source** Nesterov 1983; restarts of O'Donoghue & Candès, Found. Comput. Math. 15
        (2015), 715--732, gradient scheme.
    """

    point: Float[Array, "*shape"]
    ahead: Float[Array, "*shape"]  # the point extrapolated by momentum
    momentum: Float[Array, ""]

    @classmethod
    def begin(cls, start: Float[Array, "*shape"]) -> "_Descent":
        return cls(start, start, jnp.ones((), start.dtype))

    def advance(self, slope: Float[Array, "*shape"], rate: Float[Array, ""]) -> "_Descent":
        """The state after a step; `slope` is the gradient at `ahead`."""
        point = jnp.maximum(self.ahead - rate * slope, 0.0)
        moved = point - self.point
        uphill = jnp.vdot(self.ahead - point, moved) > 0
        following = 0.5 * (1 + jnp.sqrt(1 + 4 * self.momentum**2))
        carry = jnp.where(uphill, 0.0, (self.momentum - 1) / following)
        return _Descent(point, point + carry * moved, jnp.where(uphill, 1.0, following))


def _largest_eigenvalue(
    product: Product, start: Float[Array, "*shape"], num_steps: int
) -> Float[Array, ""]:
    """An estimate from below of the largest eigenvalue of a matrix, by power iterations."""

    def power(_: Int[Array, ""], v: Array) -> Array:
        w = product(v)
        return w / jnp.linalg.norm(w)

    return jnp.linalg.norm(product(lax.fori_loop(0, num_steps, power, start)))
