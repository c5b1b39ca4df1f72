"""The degree of homogeneity of a model, measured."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from .._core.precision import promoted
from ._base import AbstractModel


@promoted
def measured_homogeneity(
    model: AbstractModel, params: Any, x: Shaped[Array, "n d"], tolerance: float = 1e-6
) -> float | None:
    r"""The degree found by scaling: $\log_2 (f(2\theta; x) / f(\theta; x))$ if all ratios agree.

    - **Returns** None if outputs scale with different powers, if all outputs are zero, or if an
        output is not finite.
    """
    f = jnp.ravel(model.apply(params, x))
    doubled = jnp.ravel(model.apply(jax.tree.map(lambda p: 2 * p, params), x))
    size = jnp.max(jnp.abs(f))
    if not bool((size > 0) & jnp.isfinite(jnp.max(jnp.abs(doubled)))):
        return None
    f, doubled, size = f / size, doubled / size, jnp.ones(())  # squares may overflow
    slope = float(jnp.vdot(f, doubled) / jnp.vdot(f, f))
    if slope <= 0 or bool(jnp.max(jnp.abs(doubled - slope * f)) > tolerance * slope * size):
        return None
    degree = float(jnp.log2(slope))
    return float(round(degree)) if abs(degree - round(degree)) < tolerance else degree
