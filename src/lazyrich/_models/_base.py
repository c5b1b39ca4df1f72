"""What a model is."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._columns import matvec
from .._description import Choice


class LinearPredictor(eqx.Module):
    """The function $x \\mapsto \\langle w, x \\rangle$."""

    w: Float[Array, " d"]

    def __call__(self, x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        return matvec(x, self.w)


class AbstractModel(Choice):
    """What learns: parameters are a pytree of arrays, built at `init_scale` 1."""

    @property
    @abc.abstractmethod
    def homogeneity(self) -> int:
        r"""The degree $L$ of $f(c\theta; x) = c^L f(\theta; x)$, $c > 0$."""

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        """Parameters for inputs of length `dim`, before `init_scale` multiplies them."""

    @abc.abstractmethod
    def predictor(self, params: Any) -> LinearPredictor:
        """The function of the input that the parameters stand for."""

    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        """Outputs on `x`."""
        return self.predictor(params)(x)
