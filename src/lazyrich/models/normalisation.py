"""Normalisation of the rows of a layer."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Normalisation = Literal["none", "layer", "rms"]
"""`layer`: minus the mean, over the standard deviation. `rms`: over the root mean square."""


# Deviations from the mean below so many units of rounding are zero.
_ROUNDED = 4.0


def normalised(z: Float[Array, "*n d"], kind: Normalisation) -> Float[Array, "*n d"]:
    r"""Rows of root mean square 1, without gains: $\hat z = z / \sqrt{\frac1d \sum_k z_k^2}$.

    With `layer`, the mean of the row is subtracted first. No $\varepsilon$ is added under the root,
    so $\widehat{cz} = \hat z$ for every $c > 0$. A row of zeros, and with `layer` a constant row,
    becomes zero, with derivative zero.

    - **Source** Ba et al., arXiv:1607.06450, equation 3 (`layer`); Zhang & Sennrich, NeurIPS
        2019, arXiv:1910.07467, equation 4 (`rms`).
    """
    if kind == "none":
        return z
    least = jnp.zeros(())
    if kind == "layer":
        # A constant row minus its mean is rounding error, and counts as zero.
        largest = jax.lax.stop_gradient(jnp.max(jnp.abs(z), axis=-1, keepdims=True))
        least = _ROUNDED * jnp.finfo(z.dtype).eps * largest
        z = z - jnp.mean(z, axis=-1, keepdims=True)
    # Squares of decayed parameters underflow. The result does not depend on the unit, so the unit
    # has no derivative.
    unit = jax.lax.stop_gradient(jnp.max(jnp.abs(z), axis=-1, keepdims=True))
    some = unit > least
    z = z / jnp.where(some, unit, 1.0)
    square = jnp.mean(z**2, axis=-1, keepdims=True)
    return jnp.where(some, z / jnp.sqrt(jnp.where(some, square, 1.0)), 0.0)
