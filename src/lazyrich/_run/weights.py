"""Functions of a linear model along a run."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ..models import AbstractLinearModel

# Times whose parameters are held at once: 20 MB each at d = 100,000 and depth 2.
BATCH = 20


# These take a trajectory's parts and not the whole: what it cost would be compiled in.
@eqx.filter_jit
def weights_along(
    model: AbstractLinearModel, params_at: Callable[[Any, Any], Any], times: Array, states: Any
) -> Float[Array, "t ..."]:
    """Weights at every time of a run."""

    def at(time_and_state: tuple[Array, Any]) -> Array:
        return model.weights(params_at(*time_and_state))

    return jax.lax.map(at, (times, states), batch_size=BATCH)


@eqx.filter_jit
def evaluate_all(
    model: AbstractLinearModel, weights: Float[Array, "t ..."], x: Array
) -> Float[Array, "t n"]:
    """Outputs of many weights on the same inputs."""
    return jax.vmap(lambda w: model.evaluate(w, x))(weights)
