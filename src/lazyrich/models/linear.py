"""The base class of models that are linear in their input."""

import abc
from typing import Any

import jax
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

    @property
    def has_biases(self) -> bool:
        return False

    def is_matrix(self, params: Any) -> Any:
        return jax.tree.map(lambda leaf: True, params)

    def kernel_weights(self, params: Any) -> Float[Array, "..."] | None:
        r"""The $h$ of the tangent kernel $\sum_j h_j x_j x'_j$ at `params`, in the shape of $w$.

        It is divided by its largest entry. The early predictor minimises $\sum_j w_j^2 / h_j$.

        - **Returns** None if the tangent kernel does not have this form.
        """
        del params
        return None

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        return self.evaluate(self.weights(params), x)
