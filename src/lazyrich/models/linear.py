"""What a model linear in its input is."""

import abc
from typing import Any

from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ._base import AbstractModel


class AbstractLinearModel(AbstractModel):
    r"""A model linear in its input: its parameters stand for weights $w(\theta)$.

    What theory says of it is said of the weights: their norms, margins and predictors.
    """

    @abc.abstractmethod
    def weights(self, params: Any) -> Float[Array, "..."]:
        r"""$w(\theta)$: what the output is linear in."""

    @abc.abstractmethod
    def evaluate(self, weights: Float[Array, "..."], x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        """Outputs on `x` of given weights, whatever parameters they came from."""

    def kernel_weights(self, params: Any) -> Float[Array, "..."] | None:
        r"""How the tangent kernel at `params` weighs the entries of the weights, relative to the
        largest: the early predictor has least norm so weighed. None where it does not do that."""
        del params
        return None

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        return self.evaluate(self.weights(params), x)
