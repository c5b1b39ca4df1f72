"""The degree of homogeneity of a model and its scale invariance, measured."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from .._core.norms import tree_norm
from .._core.precision import promoted
from ._base import AbstractModel
from ._net import check_net


@promoted
def measured_homogeneity(
    model: AbstractModel, params: Any, x: Shaped[Array, "n d"], tolerance: float = 1e-6
) -> float | None:
    r"""The degree found by scaling: $\log_2 (f(2\theta; x) / f(\theta; x))$ if all ratios agree.

    - **Returns** None if outputs scale with different powers, if all outputs are zero, or if an
        output is not finite.
    """
    check_net(model, params, x)
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


@promoted
def has_invariant_block(
    model: AbstractModel, params: Any, x: Shaped[Array, "n d"], tolerance: float = 1e-3
) -> bool:
    """Whether the scale of one array of parameters matters for no output, and it is not zero."""
    check_net(model, params, x)
    leaves, structure = jax.tree.flatten(params)
    f = model.apply(params, x)
    largest = jnp.max(jnp.abs(f))
    for place, leaf in enumerate(leaves):
        scaled = [2 * p if i == place else p for i, p in enumerate(leaves)]
        change = jnp.max(jnp.abs(model.apply(jax.tree.unflatten(structure, scaled), x) - f))
        if bool(jnp.any(leaf != 0) & (change <= tolerance * largest)):
            return True
    return False


@promoted
def measured_invariance(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> float:
    r"""The change of outputs under $\theta' \to 2\theta'$, over the largest output.

    It is zero for a scale-invariant net, $f(c\theta; x) = f(\theta; x)$ for $c > 0$.
    $\theta'$ are parameters near `params`, moved by their root mean square in a random direction,
    because biases that start at zero would hide what they do.

    - **Returns** NaN if all outputs are zero or if one is not finite.
    """
    check_net(model, params, x)
    leaves, structure = jax.tree.flatten(params)
    size = tree_norm(params) / jnp.sqrt(sum(leaf.size for leaf in leaves))
    keys = jax.random.split(jax.random.key(0), len(leaves))
    moved = jax.tree.unflatten(
        structure,
        [p + size * jax.random.normal(key, p.shape) for key, p in zip(keys, leaves, strict=True)],
    )
    f, doubled = (model.apply(jax.tree.map(lambda p: c * p, moved), x) for c in (1.0, 2.0))  # noqa: B023
    largest = jnp.max(jnp.abs(f))
    error = jnp.max(jnp.abs(doubled - f)) / largest
    return float(jnp.where(jnp.isfinite(error), error, jnp.nan))
