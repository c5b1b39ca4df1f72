"""Checks of the net that a function gets: a model, its parameters and inputs."""

from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp

from .._core.errors import InputError
from ._base import AbstractModel


def check_model(model: object) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless `model` is a model of lazyrich."""
    if not isinstance(model, AbstractModel):
        raise InputError("model", model, f"should be {AbstractModel.advice(model, 'model')}")


def check_net(model: object, params: Any, x: Any) -> None:
    """Checks what a function of a net is called with.

    - **Raises** [`InputError`][lazyrich.InputError] for another model than one of lazyrich, for
        parameters that are not arrays, and for inputs that are not an array of two axes.
    """
    check_model(model)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not (_is_real(leaf) or isinstance(leaf, Real)):
            name = f"params{jax.tree_util.keystr(path)}"
            accepted = "should be an array, as in model.init(key, dim) or record.params()"
            raise InputError(name, type(leaf).__name__, accepted)
    if not (_is_real(x) and x.ndim == 2):
        shown = f"shape {x.shape}" if _is_real(x) else type(x).__name__
        raise InputError("x", shown, "should be an array of numbers of shape (n, d)")


def _is_real(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    if dtype is None or not hasattr(value, "ndim"):
        return False
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)
