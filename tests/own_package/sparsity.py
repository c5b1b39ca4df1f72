"""How many weights a linear model makes use of."""

from typing import ClassVar

import jax.numpy as jnp

from lazyrich.probes import AbstractProbe


class Sparsity(AbstractProbe):
    named: ClassVar = ("sparsity", "effective number of weights")

    def applies(self, context):
        return context.is_linear

    def __call__(self, state, context):
        w = state.weights
        return jnp.sum(jnp.abs(w)) ** 2 / jnp.sum(w**2)
