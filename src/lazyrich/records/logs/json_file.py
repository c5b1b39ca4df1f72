"""Logs in JSON: lines with an object in each, or one document."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..._core.errors import InputError, one_line
from ..._core.files import contents, opened
from .table import MAX_BYTES, MAX_NAME, Table, cut_line

# A document is held in memory as Python's objects, which take many times its size.
_MAX_LINE, _MAX_DOCUMENT, _MAX_DEPTH = 2**20, 2**25, 4
# The key under which trainers keep the rows of their log.
_HISTORY = "log_history"


def read(path: Path, table: Table, run: str | None) -> None:
    """Adds the numbers of a file in JSON to a table."""
    if run is not None:
        raise InputError("--run", run, f"is for logs of several runs; {path.name} has one")
    with opened(path, MAX_BYTES) as file:
        text = io.TextIOWrapper(file, "utf-8-sig")
        rows = None if _is_lines(text) else _document(path)
        offset = table.begin(path.name, "line" if rows is None else "entry")
        if rows is None:
            text.seek(0)
            rows = _lines(text, path, table.notes)
        for number, row in rows:
            num = 0
            for name, value in _flat(row, "", 0):
                column = table.column(name)
                if column is not None:
                    num += 1
                    column.add(offset + number, value)
            table.ended(offset + number, num)


def _is_lines(text: io.TextIOWrapper) -> bool:
    """Whether the first line is a row of its own."""
    first = text.readline(_MAX_LINE + 1)
    while first and not first.strip():
        first = text.readline(_MAX_LINE + 1)
    if len(first) > _MAX_LINE:
        return False
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        # The beginning of a document, or a line that is cut off. An array can be nothing else.
        return not (first.strip() in ("{", "[") or first.lstrip()[:1] == "[")
    if not isinstance(row, dict):
        return not isinstance(row, list)
    return not any(isinstance(value, list) for value in row.values()) or bool(
        text.readline(_MAX_LINE).strip()
    )


def _lines(
    text: io.TextIOWrapper, path: Path, notes: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    while words := text.readline(_MAX_LINE + 1):
        number += 1
        key = f"{path.name}, line {number:,}"
        if len(words) > _MAX_LINE:
            raise InputError(key, words[:80], f"should have at most {_MAX_LINE:,} letters")
        if not words.strip():
            continue
        try:
            row = json.loads(words)
        except (ValueError, RecursionError) as error:
            if number > 1 and not words.endswith("\n"):
                notes.append(cut_line(key))
                return
            accepted = f"should be one JSON object in each line ({one_line(error, 200)})"
            raise InputError(key, words[:80], accepted) from None
        if not isinstance(row, dict):
            raise InputError(key, words[:80], "should be a JSON object")
        yield number, row


def _document(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    accepted = "should be JSON lines, a list of objects, or an object of lists"
    try:
        found = json.loads(contents(path, _MAX_DOCUMENT).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError("log", path.name, f"{accepted} ({one_line(error, 200)})") from None
    if isinstance(found, dict) and isinstance(found.get(_HISTORY), list):
        found = found[_HISTORY]
    if isinstance(found, dict):
        found = _turned(path, found)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise InputError("log", path.name, accepted)
    return enumerate(found, 1)


def _turned(path: Path, lists: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows from an object of lists."""
    series = {name: values for name, values in lists.items() if isinstance(values, list)}
    lengths = {name: len(values) for name, values in series.items()}
    if len(set(lengths.values())) > 1:
        accepted = "lists should have one length; those of "
        accepted += ", ".join(f"{one_line(name, 40)} have {n}" for name, n in lengths.items())
        raise InputError("log", path.name, accepted)
    num = next(iter(lengths.values()), 0)
    return [{name: values[i] for name, values in series.items()} for i in range(num)]


def _flat(row: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """The values in nested objects; names are joined by `/`."""
    for key, value in row.items():
        name = f"{prefix}{key}"[:MAX_NAME]
        if isinstance(value, dict):
            if depth < _MAX_DEPTH:
                yield from _flat(value, f"{name}/", depth + 1)
        elif not isinstance(value, list):
            yield name, value
