"""Double precision for our own work, whatever the user's JAX configuration says."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

_P = ParamSpec("_P")
_R = TypeVar("_R")


def in_double(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Runs `function` with 64-bit types on, and leaves the global setting alone."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped
