"""The state inside a step."""

from typing import Any

import jax
from jaxtyping import Array, PyTree


def evaluated(interpolation: Any, t: Array, like: PyTree) -> PyTree:
    """The state at time `t`, in the types of `like`."""
    # diffrax mixes times in float64 with states in float32.
    with jax.numpy_dtype_promotion("standard"):
        found = interpolation.evaluate(t)
    return jax.tree.map(lambda new, old: new.astype(old.dtype), found, like)
