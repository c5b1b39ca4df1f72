"""Whether the methods of a user's own loss agree with each other."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._core.errors import InputError
from .._core.own_code import remedy_for
from .._core.precision import in_double
from ._base import AbstractLoss

# The most samples and outputs to compare at, and the allowed error relative to the largest value.
_NUM_SAMPLES, _NUM_OUTPUTS, _ALLOWED = 16, 512, 1e-6


@in_double
def check_own_loss(
    loss: AbstractLoss, outputs: tuple[int, ...], y: Shaped[Array, " n ..."]
) -> None:
    """Checks at random outputs that a loss has one value a sample, and the derivatives it states.

    - **Takes** `outputs`, the shape `(n, *c)` of the model's outputs; `y`, labels as `labels`
        returns them.
    - **Raises** [`InputError`][lazyrich.InputError] that names the method and a sample where it is
        wrong.
    """
    num = max(1, min(outputs[0], _NUM_SAMPLES, _NUM_OUTPUTS // math.prod(outputs[1:])))
    y, scale = y[:num], loss.typical_output(outputs, y)
    # Fixed random outputs: no kink of a loss lies there, except by chance.
    f = scale * jax.random.normal(jax.random.key(7), (num, *outputs[1:]))

    def total(f: Float[Array, " n *c"]) -> Float[Array, ""]:
        return jnp.sum(loss.value(f, y))

    value = _called(loss, "value", lambda: jax.jit(loss.value)(f, y), (num,))
    rows = [slice(i, i + 1) for i in range(num)]
    alone = jnp.concatenate([loss.value(f[row], y[row]) for row in rows])
    _compare(loss, "value", value, alone, "depends on other samples of the same call")
    gradient = jax.grad(total)
    dual = _called(loss, "dual", lambda: jax.jit(loss.dual)(f, y), f.shape)
    _compare(loss, "dual", dual, -gradient(f), "is not minus the derivative of `value` by f")
    curvature = _called(loss, "curvature", lambda: jax.jit(loss.curvature)(f, y), f.shape)
    units = jnp.eye(f.size).reshape(f.size, *f.shape)
    second = jax.vmap(lambda unit: jnp.sum(unit * jax.jvp(gradient, (f,), (unit,))[1]))(units)
    wrong = "is not the second derivative of `value` by f"
    _compare(loss, "curvature", curvature, second.reshape(f.shape), wrong)
    logs = _called(loss, "log_value", lambda: jax.jit(loss.log_value)(f, y), (num,))
    _compare(loss, "log_value", jnp.exp(logs), value, "is not the logarithm of `value`")


def _called(
    loss: AbstractLoss, method: str, call: Callable[[], Array], shape: tuple[int, ...]
) -> Array:
    key = f"loss.{method}"
    try:
        found = call()
    except Exception as error:
        raise InputError(key, type(loss).__name__, f"fails: {remedy_for(error)}") from None
    if jnp.shape(found) != shape:
        accepted = f"should return shape {shape} for these outputs and labels"
        raise InputError(key, f"shape {jnp.shape(found)}", accepted)
    return jnp.asarray(found)


def _compare(loss: AbstractLoss, method: str, found: Array, wanted: Array, wrong: str) -> None:
    size = max(1e-300, float(jnp.max(jnp.abs(wanted))))
    far = np.argwhere(~(np.abs(np.asarray(found - wanted)) <= _ALLOWED * size))
    if len(far):
        place = tuple(int(i) for i in far[0])
        shown = f"{float(found[place]):.6g} at sample {place[0]}"
        accepted = f"{wrong}, which is {float(wanted[place]):.6g} there ({type(loss).__name__})"
        raise InputError(f"loss.{method}", shown, accepted)
