"""Tables in the attributes of a record. They are checked, because a file can contain anything."""

import json
import math
from typing import Any

import xarray as xr

from .._core.errors import InputError
from .._core.toml import parse_toml

# The largest number of letters of a description. A list of many recording times is long.
_MOST = 2**22


def check_record(value: object) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless `value` is the record of one run."""
    if not isinstance(value, xr.Dataset) or "time" not in value.dims:
        shown = value if isinstance(value, str) else type(value).__name__
        accepted = "should be the record of one run, as simulate, record and open_record return it"
        raise InputError("record", shown, accepted)


def check_record_of(record: object, experiment_hash: str) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless `record` is that of a solved experiment."""
    check_record(record)
    assert isinstance(record, xr.Dataset)
    found = str(record.attrs.get("experiment_hash", ""))
    if found != experiment_hash:
        raise InputError("record", found[:8], "should be the solved run of this experiment")


def description_of(record: xr.Dataset) -> dict[str, Any]:
    """The tables of the experiment that belongs to a record or to a sweep's dataset.

    - **Raises** [`InputError`][lazyrich.InputError] for text that is not valid TOML.
    """
    text = record.attrs.get("experiment", "")
    try:
        return parse_toml(text, _MOST)
    except (TypeError, ValueError) as error:
        accepted = f"should contain the experiment as TOML ({error})"
        raise InputError("record", "experiment", accepted) from None


def number_in(record: xr.Dataset, key: str) -> float:
    """A number of the experiment that belongs to a record or to a sweep's dataset; NaN if unknown.

    - **Raises** [`InputError`][lazyrich.InputError] for another value than a number.
    """
    value = description_of(record).get(key, math.nan)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("record", f"{key} = {value!r}"[:80], "should be a number")
    return float(value)


def json_attribute(record: xr.Dataset, name: str) -> dict[str, Any]:
    """The table in an attribute, which holds it as JSON; empty if there is no such attribute.

    - **Raises** [`InputError`][lazyrich.InputError] for text that is not a JSON object.
    """
    try:
        found = json.loads(record.attrs.get(name, "{}"))
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError("record", name, "should be a JSON object")
    return found
