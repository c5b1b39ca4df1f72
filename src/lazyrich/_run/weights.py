"""Weights and outputs of a linear model along a run."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ..models import AbstractLinearModel

# The number of times whose parameters are in memory: 20 MB each at d = 100,000 and depth 2.
BATCH = 20


# Takes parts of a trajectory. The cost in a trajectory would be part of the compilation key.
@eqx.filter_jit
def weights_along(
    model: AbstractLinearModel, params_at: Callable[[Any, Any], Any], times: Array, states: Any
) -> Float[Array, "t ..."]:
    """The weights at every time of a run."""

    def at(time_and_state: tuple[Array, Any]) -> Array:
        return model.weights(params_at(*time_and_state))

    return jax.lax.map(at, (times, states), batch_size=BATCH)


@eqx.filter_jit
def evaluate_all(
    model: AbstractLinearModel, weights: Float[Array, "t ..."], x: Array
) -> Float[Array, "t n"]:
    """The outputs for many weights on the same inputs."""
    return jax.vmap(lambda w: model.evaluate(w, x))(weights)
