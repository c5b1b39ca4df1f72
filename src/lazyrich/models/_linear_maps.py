"""Parameters as the matrices of linear maps."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def with_bias(
    weights: Float[Array, "out in"], bias: Float[Array, " out"] | None
) -> Float[Array, "out columns"]:
    """The weights of a layer, with its bias, if it has one, as another column."""
    return weights if bias is None else jnp.concatenate([weights, bias[:, None]], axis=1)
