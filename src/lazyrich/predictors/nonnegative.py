"""Non-negative least squares by projected gradients, for use inside a compiled solver."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

_MAX_STEPS = 3000
_POWER_STEPS = 30


class _Descent(NamedTuple):
    point: Float[Array, " m"]
    ahead: Float[Array, " m"]  # the point extrapolated by momentum
    momentum: Float[Array, ""]
    step: Int[Array, ""]
    done: Bool[Array, ""]


def descend_nonnegative(
    matrix: Float[Array, "m m"], linear: Float[Array, " m"], tolerance: float = 1e-7
) -> Float[Array, " m"]:
    r"""$\arg\min_{a \ge 0} \frac12 a^\top M a - b^\top a$ for $M \succeq 0$, to be compiled.

    Accelerated projected gradients, restarted if momentum increases the objective. The search ends
    if a step changes the point by less than `tolerance`, relative, or after 3000 steps. The
    objective then has the accuracy $O(1/k^2)$, which is enough for a residual; the multipliers
    can be less accurate.

    - **Source** Nesterov 1983; restarts of O'Donoghue & Candès, Found. Comput. Math. 15
        (2015), 715--732, gradient scheme.
    """
    # Scaled so that the diagonal is one.
    unit = 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), jnp.finfo(matrix.dtype).tiny))
    scaled, target = unit[:, None] * matrix * unit[None], unit * linear
    top = lax.fori_loop(
        0,
        _POWER_STEPS,
        lambda _, v: (w := scaled @ v) / jnp.linalg.norm(w),
        1 + 0.1 * jnp.cos(jnp.arange(len(target), dtype=matrix.dtype)),
    )
    # A Rayleigh quotient is a lower bound for the largest eigenvalue, a row sum an upper bound.
    rate = 1 / jnp.minimum(
        1.1 * jnp.linalg.norm(scaled @ top), jnp.max(jnp.sum(jnp.abs(scaled), axis=1))
    )

    def more(state: _Descent) -> Array:
        return ~state.done & (state.step < _MAX_STEPS)

    def advance(state: _Descent) -> _Descent:
        slope = scaled @ state.ahead - target
        point = jnp.maximum(state.ahead - rate * slope, 0.0)
        moved = point - state.point
        uphill = (state.ahead - point) @ moved > 0
        following = 0.5 * (1 + jnp.sqrt(1 + 4 * state.momentum**2))
        carry = jnp.where(uphill, 0.0, (state.momentum - 1) / following)
        small = jnp.linalg.norm(point - state.ahead) <= tolerance * jnp.linalg.norm(point)
        return _Descent(
            point=point,
            ahead=point + carry * moved,
            momentum=jnp.where(uphill, 1.0, following),
            step=state.step + 1,
            done=small,
        )

    start = jnp.zeros_like(target)
    first = _Descent(
        start, start, jnp.ones((), matrix.dtype), jnp.zeros((), int), ~jnp.all(jnp.isfinite(target))
    )
    found = jax.lax.while_loop(more, advance, first).point
    return jnp.where(jnp.all(jnp.isfinite(target)), unit * found, jnp.nan)
