"""The base class of models that are linear in their input."""

import abc
from typing import Any

from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ._base import AbstractModel


class AbstractLinearModel(AbstractModel):
    r"""A model linear in its input. The parameters determine weights $w(\theta)$.

    Theoretical statements about norms, margins and predictors refer to these weights.
    """

    @abc.abstractmethod
    def weights(self, params: Any) -> Float[Array, "..."]:
        r"""$w(\theta)$: the weights in which the output is linear."""

    @abc.abstractmethod
    def evaluate(self, weights: Float[Array, "..."], x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        """Outputs on `x` for given weights."""

    def kernel_weights(self, params: Any) -> Float[Array, "..."] | None:
        r"""The factor of each entry of the weights in the tangent kernel at `params`.

        Factors are relative to the largest. The early predictor has the least norm with them.

        - **Returns** None if the tangent kernel is not described by such factors.
        """
        del params
        return None

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        return self.evaluate(self.weights(params), x)
