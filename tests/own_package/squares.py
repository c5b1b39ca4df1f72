"""A model linear in its input, which says what theory knows of it."""

from typing import NamedTuple

import jax.numpy as jnp

from lazyrich.models import AbstractLinearModel, Theory


class Pair(NamedTuple):
    plus: jnp.ndarray
    minus: jnp.ndarray


class Squares(AbstractLinearModel):
    """Squares of one half of the parameters less those of the other."""

    @property
    def homogeneity(self):
        return 2

    def init(self, key, dim):
        start = jnp.full(dim, (2 * dim) ** -0.5)
        return Pair(start, start)

    def weights(self, params):
        return (params.plus - params.minus) * (params.plus + params.minus)

    def evaluate(self, weights, x):
        return x.astype(weights.dtype) @ weights

    def theory(self, classification):
        return Theory("l2", "lq", 1.0, family="Squares", of_any_task=True)

    def kernel_weights(self, params):
        squares = params.plus**2 + params.minus**2
        return squares / squares.max()
