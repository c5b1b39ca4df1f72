"""What a job of the page is called with."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from .._core.errors import InputError, one_line

Send = Callable[[str, dict[str, Any]], None]
"""Streams `progress` or `part` with its data to the page; raises `Cancelled`."""


_Args = TypeVar("_Args", bound="Args")


class Cancelled(BaseException):
    """The page no longer wants the result of a job.

    Not an `Exception`, so that code which handles failures does not take it for one.
    """


@dataclass(frozen=True)
class Place:
    """The files that a job may use.

    - `source`, the store or the TOML file that the command named, or None.
    - `scratch`, a folder of this server, removed at its end.
    """

    source: str | None
    scratch: Path


class Args(pydantic.BaseModel):
    """The arguments of a job, from the page, which may send anything."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def read(cls: type[_Args], args: dict[str, Any]) -> _Args:
        """The arguments of a message.

        - **Raises** [`InputError`][lazyrich.InputError] for the first that is not accepted.
        """
        try:
            return cls.model_validate(args)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            key = ".".join(map(str, first["loc"])) or "args"
            value = None if first["type"] == "missing" else first["input"]
            raise InputError(key, value, one_line(first["msg"], 200)) from None


def encoded(data: dict[str, Any]) -> bytes:
    """Data as JSON; arrays are lists, and numbers that JSON does not have are null."""
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        text = json.dumps(_finite(data), separators=(",", ":"), default=_plain)
    return text.encode()


def _plain(value: Any) -> Any:
    """An array or a NumPy scalar as Python's own."""
    return _finite(value.tolist())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
