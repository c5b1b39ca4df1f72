"""The squared loss."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from ._base import AbstractLoss


class Squared(AbstractLoss):
    r"""$\ell(f, y) = \|f - y\|^2$, without a factor ½, summed over the outputs of a sample.

    Labels are any real numbers, of the outputs' shape.
    """

    is_classification: ClassVar[bool] = False

    def value(self, f: Array, y: Array) -> Array:
        return _over_outputs((f - y) ** 2)

    def dual(self, f: Array, y: Array) -> Array:
        return 2.0 * (y - f)

    def curvature(self, f: Array, y: Array) -> Array:
        del y
        return jnp.full_like(f, 2.0)

    def log_value(self, f: Array, y: Array) -> Array:
        return jnp.log(self.value(f, y)) if f.ndim == 2 else 2.0 * jnp.log(jnp.abs(f - y))


def _over_outputs(values: Array) -> Array:
    return jnp.sum(values, axis=1) if values.ndim == 2 else values
