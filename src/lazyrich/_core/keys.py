"""Dotted keys: names of values in nested tables, such as `task.n`."""

from collections.abc import Mapping
from typing import Any

from .description import Description
from .given import check_kind


def at_key(table: Any, key: str, missing: Any = None) -> Any:
    """The value at a dotted key of nested tables or descriptions; `missing` if there is none.

    A description at the key is returned as a table.
    """
    check_kind("key", key, str, "a dotted key, such as task.n")
    place = table
    for part in key.split("."):
        place = place.table() if isinstance(place, Description) else place
        if not isinstance(place, Mapping) or part not in place:
            return missing
        place = place[part]
    return place.table() if isinstance(place, Description) else place


def dotted(table: Mapping[str, Any]) -> list[str]:
    """Every key of nested tables, with parts joined by dots."""
    keys = []
    for key, value in table.items():
        inner = dotted(value) if isinstance(value, dict) else []
        keys += [f"{key}.{name}" for name in inner] or [key]
    return keys


def is_inside(key: str, table: str) -> bool:
    """Whether a key is inside the table named by another key."""
    return key.startswith(f"{table}.")


def inside(key: str, table: str) -> str:
    """A key relative to the table that contains it."""
    return key.removeprefix(f"{table}.")


def without_key(table: dict[str, Any], key: str) -> dict[str, Any]:
    """A copy of nested tables without one dotted key."""
    first, _, rest = key.partition(".")
    if not rest:
        return {name: value for name, value in table.items() if name != first}
    return {**table, first: without_key(table[first], rest)}
