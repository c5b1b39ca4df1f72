"""Activations by their names."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "quadratic": jnp.square,
    "identity": lambda z: z,
    "tanh": jnp.tanh,
}
