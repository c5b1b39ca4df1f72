"""The parameters of the run."""

from typing import ClassVar

import jax.flatten_util
from jaxtyping import Array, Float

from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState


class Parameters(AbstractProbe):
    """All parameters in one row of length `p`, in the order of `jax.flatten_util.ravel_pytree`.

    [`parameters`][lazyrich.parameters] converts the row to the structure of the model. Use the `at`
    of [`Times`][lazyrich.dynamics.Times] to choose times of records.
    """

    named: ClassVar = ("parameters", "parameters")
    meaning: ClassVar = "all parameters, flattened, along the dimension `parameter`"

    @property
    def scale_degree(self) -> int:
        return 1

    @property
    def dims(self) -> tuple[str, ...]:
        return ("parameter",)

    def num_values(self, num_train: int, dim: int, num_params: int) -> int:
        del num_train, dim
        return num_params

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, " p"]:
        del context
        return jax.flatten_util.ravel_pytree(state.params)[0]
