"""The logistic loss."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._core.precision import promoted
from ._base import AbstractLoss


class Logistic(AbstractLoss):
    r"""$\ell(f, y) = \log(1 + e^{-yf})$, with no factor $1 / \log 2$."""

    is_classification: ClassVar[bool] = True

    @promoted
    def value(self, f: Array, y: Array) -> Array:
        return jax.nn.softplus(-(y * f))

    @promoted
    def dual(self, f: Array, y: Array) -> Array:
        return y * jax.nn.sigmoid(-(y * f))

    @promoted
    def curvature(self, f: Array, y: Array) -> Array:
        return jax.nn.sigmoid(f) * jax.nn.sigmoid(-f) * y**2

    @promoted
    def log_value(self, f: Array, y: Array) -> Array:
        # log log(1 + q) with q = exp(-m). Past m = 20 the second-order expansion
        # -m + log(1 - q / 2) has an error of q**2 < 1e-17, and it holds even if q underflows.
        m = y * f
        late = -m - 0.5 * jnp.exp(-jnp.maximum(m, 20.0))
        early = jnp.log(jax.nn.softplus(-jnp.minimum(m, 20.0)))
        return jnp.where(m > 20.0, late, early)
