"""Checks of the arguments of public functions, for messages that name the argument."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import InputError


def check_kind(
    key: str, value: object, kind: type[Any] | tuple[type[Any], ...], accepted: str
) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless `value` is of a class.

    - **Takes** `accepted`, what should be given instead, as in "should be ...".
    """
    if not isinstance(value, kind):
        raise InputError(key, _shown(value), f"should be {accepted}")


def check_function(key: str, value: object, *arguments: str) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless `value` can be called with arguments.

    None is accepted, for a function that was left out.

    - **Takes** the names of the arguments by position, for the message.
    """
    if value is None or (callable(value) and takes(value, len(arguments))):
        return
    accepted = f"should be a function that is called with ({', '.join(arguments)})"
    raise InputError(key, _shown(value), accepted)


def takes(function: Callable[..., Any], num: int) -> bool:
    """Whether a function accepts `num` arguments by position; True if it does not say."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables written in C have none
        return True
    try:
        signature.bind(*range(num))
    except TypeError:
        return False
    return True


def path_of(key: str, value: str | os.PathLike[str]) -> Path:
    """A path that a user gives.

    - **Raises** [`InputError`][lazyrich.InputError] under `key` for anything but text and paths.
    """
    try:
        return Path(value)
    except TypeError:
        raise InputError(key, _shown(value), "should be a path, as text or pathlib.Path") from None


def number_of(key: str, value: object, accepted: str) -> float:
    """A number that a user gives, which may be a scalar of any library.

    - **Raises** [`InputError`][lazyrich.InputError] under `key` for text and arrays.
    """
    if hasattr(value, "__float__"):
        try:
            return float(value)
        except (TypeError, ValueError):  # arrays have it, too
            pass
    raise InputError(key, _shown(value), f"should be {accepted}")


def _shown(value: object) -> object:
    """Short values as they are, of others only the class: an array would fill the line."""
    short = value is None or isinstance(value, bool | int | float | str | bytes)
    if short:
        return value
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = getattr(value, "__name__", None) if inspect.isroutine(value) else None
    return name or type(value).__name__
