"""The difference of two copies of a model, so that outputs start at exactly zero."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from ..._core.precision import promoted
from .._base import Factors
from ._base import AbstractWrapper


class DoubledParams(NamedTuple):
    """Parameters of the copy with a plus sign and of the copy with a minus sign."""

    plus: Any
    minus: Any


class Doubled(AbstractWrapper):
    r"""$f(x) = (g(\theta_+; x) - g(\theta_-; x)) / \sqrt 2$, initialised at $\theta_+ = \theta_-$.

    Outputs start at exactly zero, as theory assumes. The tangent kernel at initialisation is the
    kernel of $g$, for any model. If the last layer were set to zero instead, the kernels of all
    other layers would vanish.

    - **Takes** `model`, $g$. The degree of homogeneity is that of $g$.
    - **Source** the doubling trick of Chizat, Oyallon & Bach, NeurIPS 2019, arXiv:1812.07956; the
        factor $1/\sqrt 2$ keeps the kernel.
    """

    @property
    def homogeneity(self) -> float | None:
        degree = self.model.homogeneity
        return None if degree is None else float(degree)

    @property
    def has_origin(self) -> bool:
        return self.model.has_origin

    def init(self, key: PRNGKeyArray, dim: int) -> DoubledParams:
        start = self.model.init(key, dim)
        return DoubledParams(start, start)

    @promoted
    def apply(self, params: DoubledParams, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        plus, minus = (self.model.apply(copy, x) for copy in params)
        return (plus - minus) / jnp.sqrt(2.0)

    @promoted
    def tangent_kernel(self, params: DoubledParams, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        plus, minus = (self.model.tangent_kernel(copy, x) for copy in params)
        return (plus + minus) / 2

    def trained(self, params: DoubledParams) -> DoubledParams:
        return DoubledParams(*map(self.model.trained, params))

    def decayed(self, params: DoubledParams) -> DoubledParams:
        return DoubledParams(*map(self.model.decayed, params))

    def is_matrix(self, params: DoubledParams) -> DoubledParams:
        return DoubledParams(*map(self.model.is_matrix, params))

    def linear_maps(self, params: DoubledParams) -> list[Array]:
        return [found for copy in params for found in self.model.linear_maps(copy)]

    def layer_weights(self, params: DoubledParams) -> tuple[Float[Array, "out in"], ...]:
        return self.model.layer_weights(params.plus)

    @promoted
    def gradient_factors(
        self, params: DoubledParams, x: Shaped[Array, "n d"], r: Float[Array, " n *c"]
    ) -> Factors | None:
        half = r / jnp.sqrt(2.0)
        plus = self.model.gradient_factors(params.plus, x, half)
        minus = self.model.gradient_factors(params.minus, x, -half)
        return None if plus is None or minus is None else plus + minus
