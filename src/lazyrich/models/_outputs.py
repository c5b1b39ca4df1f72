"""The shape of the outputs of a model, with the checks that a model can fail."""

from typing import Any

import jax
from jaxtyping import Array, Shaped

from .._core.errors import InputError
from .._core.own_code import remedy_for
from .._core.precision import float_type
from ._base import AbstractModel


def outputs_of(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> jax.ShapeDtypeStruct:
    """The shape of the outputs of a model, found by tracing the model.

    - **Raises** [`InputError`][lazyrich.InputError] if the model fails, with its error message in
        one line, or if its outputs are not of shape `(n,)` or `(n, c)` and of the type of the
        parameters.
    """
    name = type(model).__name__
    try:
        found = jax.eval_shape(model.apply, params, x)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            "model", name, f"fails on inputs {x.shape}: {remedy_for(error)}"
        ) from error
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise InputError("model", name, f"should return one array, not a {type(found).__name__}")
    if found.ndim not in (1, 2) or found.shape[0] != len(x):
        accepted = f"outputs of {len(x)} inputs should be ({len(x)},) or ({len(x)}, c)"
        raise InputError("model", f"outputs {found.shape}", accepted)
    wanted = float_type(params)
    if found.dtype != wanted:
        accepted = f"should be {wanted}, as parameters and inputs are; leave out what casts them"
        raise InputError("model", f"outputs {found.dtype}", accepted)
    return found
