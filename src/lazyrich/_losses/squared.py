"""The squared loss."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from ._base import AbstractLoss


class Squared(AbstractLoss):
    r"""$\ell(f, y) = (f - y)^2$, without a factor ½. Labels are any real numbers."""

    is_classification: ClassVar[bool] = False

    def value(self, f: Array, y: Array) -> Array:
        return (f - y) ** 2

    def dual(self, f: Array, y: Array) -> Array:
        return 2.0 * (y - f)

    def curvature(self, f: Array, y: Array) -> Array:
        del y
        return jnp.full_like(f, 2.0)

    def log_value(self, f: Array, y: Array) -> Array:
        return 2.0 * jnp.log(jnp.abs(f - y))
