"""Checks of what the files of a store contain.

A checksum finds damage, but an attacker can compute a checksum as well. So types, sizes and names
are checked before use, and content that this library does not write raises `Damaged`.
"""

import json
import math
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from ..._core.errors import one_line
from .sealed import MAX_SUMMARY, Damaged

# The largest batch file in bytes. 64 runs of 200 records of 30 probes have 3 MB.
MAX_FILE = 2**28
# The largest number of names of numbers and curves, and their largest length.
_MAX_NAMES, _MAX_NAME = 4096, 200
_MAX_WORDS = 1000
# The variables of a dataset other than numbers and curves.
RESERVED = frozenset({"outcome", "ending", "experiment_hash", "time", "run", "record"})


def parse_json(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object; raises `Damaged` for anything else."""
    if len(text) > MAX_SUMMARY:
        raise Damaged(f"{what} has {len(text):,} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{what} is not JSON ({one_line(error, 100)})") from None
    if not isinstance(found, dict):
        raise Damaged(f"{what} is not a table")
    return found


def check_summary_types(summary: dict[str, Any], size: int) -> None:
    """Checks the types in a summary, and that a file of `size` bytes can hold its records."""
    hashes = _texts(summary, "hashes", _is_hash)
    numbers = _texts(summary, "numbers", _is_name)
    curves = _texts(summary, "curves", _is_name)
    if not hashes:
        raise Damaged("it contains no runs")
    if len({*numbers, *curves}) < len(numbers) + len(curves):
        raise Damaged("two of its numbers and curves have the same name")
    num_records = _number(summary, "num_records", whole=True)
    # Records are not compressed: a time and a value of each curve have eight bytes.
    if 8 * len(hashes) * (num_records * (len(curves) + 1) + len(numbers)) > size:
        raise Damaged(f"it says {num_records:,} records, which its {size:,} bytes cannot hold")
    _number(summary, "seconds")
    outcomes = _table(summary, "outcomes")
    for outcome in outcomes:
        _check(_is_name(outcome), "outcomes", outcome)
        _number(outcomes, outcome, whole=True)
    if sum(outcomes.values()) > len(hashes):
        raise Damaged("it has more outcomes than runs")


def check_about(about: dict[str, Any]) -> None:
    """Checks the types of the entries that describe how a file was made."""
    for key in ("experiment", "sweep"):
        _check(isinstance(about.get(key, ""), str), f"about.{key}", about.get(key))
    changes = about.get("changes", [])
    right = isinstance(changes, list) and all(isinstance(one, dict) for one in changes)
    _check(right, "about.changes", changes)
    for key, kind in (
        ("environment", str), ("versions", str), ("errors", str), ("stages", int | float),
    ):  # fmt: skip
        table = about.get(key, {})
        right = isinstance(table, dict) and all(isinstance(one, kind) for one in table.values())
        _check(right, f"about.{key}", table)
    forecast = about.get("forecast", {"key": "", "runs": []})
    right = isinstance(forecast, dict) and isinstance(forecast.get("key"), str)
    runs = forecast.get("runs") if right else None
    right = isinstance(runs, list) and all(isinstance(one, dict) for one in runs)
    _check(right, "about.forecast", forecast)
    _number(about, "seconds")


def check_words(words: dict[str, Any]) -> None:
    """Checks that each name has its few attributes."""
    _check(len(words) <= 2 * _MAX_NAMES, "words", len(words))
    for name, its in words.items():
        _check(
            isinstance(its, dict) and set(its) <= {"long_name", "units"},
            f"words.{one_line(name, 50)}",
            its,
        )
        for text in its.values():
            right = isinstance(text, str) and len(text) <= _MAX_WORDS
            _check(right, f"words.{one_line(name, 50)}", text)


def plain(file: Any, name: str, kinds: str, ndim: int, size: int) -> np.ndarray:
    """An array of numbers in an HDF5 file of `size` bytes, which must contain all of them.

    Links to other files, virtual arrays and compressed arrays are refused, because their size is
    not limited by the size of the file.
    """
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise Damaged(f"{name} is not in it")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise Damaged(f"{name} is not in the file itself")
    if found.dtype.kind not in kinds or found.dtype.hasobject or found.ndim != ndim:
        raise Damaged(f"{name} is {found.ndim}-dimensional of {one_line(found.dtype, 50)}")
    if found.chunks is not None or math.prod(found.shape) * found.dtype.itemsize > size:
        raise Damaged(f"{name} says shape {found.shape}, which its {size:,} bytes cannot hold")
    return np.asarray(found[()])


def text_of(file: Any, name: str) -> str:
    """A single string among the attributes of an HDF5 file."""
    if name not in file.attrs:
        raise Damaged(f"{name} is not in it")
    kept = file.attrs.get_id(name)
    if kept.shape != () or kept.get_storage_size() > MAX_SUMMARY:
        raise Damaged(f"{name} is not a string")
    text = file.attrs[name]
    if not isinstance(text, str):
        raise Damaged(f"{name} is not a string")
    return text


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MAX_NAME and text.isprintable() and text not in RESERVED


def _texts(table: dict[str, Any], key: str, right: Callable[[str], bool]) -> list[str]:
    found = table.get(key)
    if not isinstance(found, list):
        raise Damaged(f"its {key} should be a list")
    if right is _is_name and len(found) > _MAX_NAMES:
        raise Damaged(f"it has {len(found):,} {key}")
    for text in found:
        _check(isinstance(text, str) and right(text), key, text)
    return found


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    if not isinstance(found, dict):
        raise Damaged(f"its {key} should be a table")
    return found


def _number(table: dict[str, Any], key: str, whole: bool = False) -> Any:
    found = table.get(key)
    right = isinstance(found, int if whole else int | float) and not isinstance(found, bool)
    _check(right and 0 <= (found or 0) < 2**53, key, found)
    return found


def _check(right: bool, key: str, value: object) -> None:
    if not right:
        raise Damaged(f"its {key} cannot be {one_line(repr(value)[:1000], 80)}")
