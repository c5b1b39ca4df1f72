"""What a record says of itself in its attributes, read with care: a file may say anything."""

import json
from typing import Any

import xarray as xr

from .._core.errors import InputError
from .._core.toml import parse_toml

# Letters of a description: one with many times to record at is long.
_MOST = 2**22


def description_of(record: xr.Dataset) -> dict[str, Any]:
    """The tables of the experiment that a record, or a sweep's dataset, is of.

    - **Raises** [`InputError`][lazyrich.InputError] for text that is no TOML.
    """
    text = record.attrs.get("experiment", "")
    try:
        return parse_toml(text, _MOST)
    except (TypeError, ValueError) as error:
        accepted = f"should hold the experiment as TOML ({error})"
        raise InputError("record", "experiment", accepted) from None


def told(record: xr.Dataset, name: str) -> dict[str, Any]:
    """An attribute that holds a table as JSON, empty where there is none.

    - **Raises** [`InputError`][lazyrich.InputError] for text that is no such table.
    """
    try:
        found = json.loads(record.attrs.get(name, "{}"))
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError("record", name, "should hold a table as JSON")
    return found
