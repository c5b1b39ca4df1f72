"""The exponential loss."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from .._core.precision import promoted
from ._base import AbstractLoss


class Exponential(AbstractLoss):
    r"""$\ell(f, y) = e^{-yf}$."""

    is_classification: ClassVar[bool] = True

    @promoted
    def value(self, f: Array, y: Array) -> Array:
        return jnp.exp(-(y * f))

    @promoted
    def dual(self, f: Array, y: Array) -> Array:
        return y * jnp.exp(-(y * f))

    @promoted
    def curvature(self, f: Array, y: Array) -> Array:
        return y**2 * jnp.exp(-(y * f))

    @promoted
    def log_value(self, f: Array, y: Array) -> Array:
        return -(y * f)
