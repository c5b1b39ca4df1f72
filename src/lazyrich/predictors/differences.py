"""Margins as a linear map of outputs: for labels that are signs, and for classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped


def differences(f: Float[Array, " n *c"], y: Shaped[Array, " n"]) -> Float[Array, " n *c"]:
    """Margins from outputs: $y_i f_i$, or $f_{y_i} - f_j$, which is zero at the label itself."""
    if f.ndim == 1:
        return f * y
    return jnp.take_along_axis(f, y[:, None], axis=1) - f


def forces(mu: Float[Array, " n *c"], y: Shaped[Array, " n"]) -> Float[Array, " n *c"]:
    """Multipliers of margins as forces on outputs: the transpose of `differences`."""
    if mu.ndim == 1:
        return mu * y
    right = jax.nn.one_hot(y, mu.shape[1], dtype=mu.dtype)
    return right * jnp.sum(mu, axis=1, keepdims=True) - mu


def constrained(y: Shaped[Array, " n"], shape: tuple[int, ...]) -> Bool[Array, " n *c"]:
    """Where `differences` of outputs of this shape are margins: everywhere but at the label."""
    if len(shape) == 1:
        return jnp.ones(shape, bool)
    return jnp.arange(shape[1])[None] != y[:, None]


def every_margin(f: Float[Array, " n *c"], y: Shaped[Array, " n"]) -> Float[Array, " n *c"]:
    """Margins of all constraints, infinite at the label itself."""
    return jnp.where(constrained(y, f.shape), differences(f, y), jnp.inf)
