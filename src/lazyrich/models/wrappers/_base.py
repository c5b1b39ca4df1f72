"""The base classes of models made from another model."""

from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from ..._core.precision import promoted
from .._base import AbstractModel
from ..theory import Theory


class AbstractWrapper(AbstractModel):
    """A model made from another model, which supplies all properties that are not overridden."""

    numbers: ClassVar[tuple[str, ...]] = ("model",)

    model: AbstractModel

    @property
    def has_kinks(self) -> bool:
        return self.model.has_kinks

    @property
    def twice_differentiable(self) -> bool:
        return self.model.twice_differentiable

    @property
    def keeps_signs(self) -> bool:
        return self.model.keeps_signs

    @property
    def balances_at_kinks(self) -> bool:
        return self.model.balances_at_kinks

    @property
    def alpha_out(self) -> float | None:
        return self.model.alpha_out

    @property
    def origin_decays(self) -> bool:
        return self.model.origin_decays

    @property
    def decays_all(self) -> bool:
        return self.model.decays_all

    @property
    def has_biases(self) -> bool:
        return self.model.has_biases

    def theory(self, classification: bool) -> Theory:
        # Predictors refer to the weights of the inner model, so only the family is kept.
        inner = self.model.theory(classification)
        return replace(Theory(), family=inner.family, of_any_task=inner.of_any_task)

    def cast_inputs(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        return self.model.cast_inputs(x)

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        self.model.check_inputs(x, key)

    def check_indices(self, num: int) -> None:
        self.model.check_indices(num)


class Expansion(NamedTuple):
    """The trained parameters `moved` and their initial values `origin`, of the same structure."""

    moved: Any
    origin: Any


class AbstractExpanded(AbstractWrapper):
    """A model whose parameters are an [`Expansion`][lazyrich.models.Expansion]."""

    @property
    def homogeneity(self) -> None:
        return None

    @property
    def has_origin(self) -> bool:
        return True

    def init(self, key: PRNGKeyArray, dim: int) -> Expansion:
        return self.expand(self.model.init(key, dim))

    def expand(self, params: Any) -> Expansion:
        """The expansion with `params` as initial and as current values."""
        return Expansion(params, params)

    def trained(self, params: Expansion) -> Any:
        return self.model.trained(params.moved)

    def decayed(self, params: Expansion) -> Expansion:
        moved = self.model.decayed(params.moved)
        return Expansion(moved, jax.tree.map(jnp.zeros_like, params.origin))

    def is_matrix(self, params: Expansion) -> Expansion:
        return Expansion(*map(self.model.is_matrix, params))

    def linear_maps(self, params: Expansion) -> list[Array]:
        return self.model.linear_maps(params.moved)

    @promoted
    def norm(self, params: Expansion) -> Float[Array, ""]:
        return self.model.norm(params.moved)

    def layer_weights(self, params: Expansion) -> tuple[Float[Array, "out in"], ...]:
        return self.model.layer_weights(params.moved)
