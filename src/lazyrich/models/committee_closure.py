"""The base class of the two closures of a committee machine."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, Shaped

from .._core.errors import InputError
from .._core.precision import promoted
from ._base import AbstractModel


class AbstractCommitteeClosure(AbstractModel):
    """A committee machine with frozen readouts, described by variables other than its weights."""

    derived: ClassVar[bool] = True
    numbers: ClassVar[tuple[str, ...]] = ("epsilon", "output_scale")

    width: int
    epsilon: Any
    output_scale: Any
    root_d: bool = False  # whether inputs are divided by the square root of their length

    @property
    def homogeneity(self) -> None:
        return None

    @property
    def alpha_out(self) -> Any:
        return self.output_scale

    @property
    def has_biases(self) -> bool:
        return False

    @property
    def closes(self) -> bool:
        return True

    @property
    def is_closed(self) -> bool:
        return True

    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        del key, dim
        accepted = "is made of a CommitteeMachine's weights: name that, and dynamics.closure"
        raise InputError("model.kind", type(self).__name__, accepted)

    def check_params(self, params: Any, dim: int) -> None:
        del params, dim  # made from another model, so the shapes are not those of `init`

    @promoted
    def scaled(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        """Inputs after the division by the square root of their length, if there is one."""
        x = self.cast_inputs(x)
        return x / jnp.sqrt(float(x.shape[1])) if self.root_d else x
