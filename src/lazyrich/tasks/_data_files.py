"""Tables of inputs and labels in files of the user."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._core.errors import InputError
from .._core.files import contents, opened
from .._core.npz import Archive, archive
from .._core.room import available

# The largest file that is read, in bytes. As float64, a larger file exceeds the memory of most
# machines.
_MAX_BYTES = 2**32
# Memory per byte of a CSV file while its lines are split: each entry becomes a string object.
_TEXT_BYTES = 32

_DELIMITERS = ",;\t"


def read_table(path: Path, label: str | int | None) -> dict[str, np.ndarray]:
    """Arrays `x` and `y` from a CSV file or a `.npz` archive, recognised by the first bytes.

    - **Takes** `label`: in a CSV file the column of the labels, by name or by number, by default
        the last one; in an archive the name of the array of labels, by default `y`.
    - **Raises** [`InputError`][lazyrich.InputError] with line and column of an entry that is not
        a number.
    """
    packed = False
    try:
        with opened(path, _MAX_BYTES) as file:
            packed = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            if packed:
                with archive(file) as held:
                    return _from_archive(path, held, label)
        # Entries are strings before they are numbers.
        data = contents(path, min(_MAX_BYTES, available() // _TEXT_BYTES))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        kind = ".npz" if packed else "CSV or .npz"
        raise InputError("path", str(path), f"should be a readable {kind} file ({error})") from None
    return _from_csv(path, data, label)


def names_in(path: Path) -> list[str]:
    """The names of the arrays in a `.npz` file; empty for any other file."""
    try:
        with opened(path, _MAX_BYTES) as file, archive(file) as held:
            return held.names
    except (OSError, ValueError):
        return []


def _from_archive(path: Path, held: Archive, label: str | int | None) -> dict[str, np.ndarray]:
    names = held.names
    labels = "y" if label is None else str(label)
    inputs = "x" if "x" in names or "X" not in names else "X"
    missing = [name for name in (inputs, labels) if name not in names]
    if missing:
        accepted = f"lacks {', '.join(missing)}; it holds {', '.join(names)}"
        raise InputError("path", str(path), accepted)
    return {"x": held.read(inputs), "y": held.read(labels)}


def _from_csv(path: Path, data: bytes, label: str | int | None) -> dict[str, np.ndarray]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("path", str(path), f"should be UTF-8 text or .npz ({error})") from None
    first = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        rows, lines = _rows(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise InputError("path", str(path), f"should be a CSV file ({error})") from None
    if not rows:
        raise InputError("path", str(path), "has no lines")
    width = len(rows[0])
    if width < 2:
        accepted = "should have two or more columns, separated by comma, semicolon or tab"
        raise InputError("path", str(path), accepted)
    header = _header(rows[0], rows[1:], label)
    place = _place(header, width, label)
    names = header or [f"column {i}" for i in range(width)]
    if header:
        rows, lines = rows[1:], lines[1:]
    for number, row in zip(lines, rows, strict=True):
        if len(row) != width:
            accepted = f"line {number} has {len(row)} entries, but the first line has {width}"
            raise InputError("path", str(path), accepted)
    if not rows:
        raise InputError("path", str(path), "has a header but no samples")
    inputs = [i for i in range(width) if i != place]
    x = np.empty((len(rows), width - 1))
    for column, i in enumerate(inputs):
        x[:, column] = _numbers(path, names[i], [row[i] for row in rows], lines)
    labels = [row[place].strip() for row in rows]
    return {"x": x, "y": _labels(path, names[place], labels, lines)}


def _rows(reader: Any) -> tuple[list[list[str]], list[int]]:
    """The rows with an entry, and the line of the file in which each begins, from 1 on."""
    rows, lines, begin = [], [], 1
    for row in reader:
        if any(row):
            rows.append(row)
            lines.append(begin)
        begin = reader.line_num + 1
    return rows, lines


def _is_number(entry: str) -> bool:
    try:
        float(entry)
    except ValueError:
        return False
    return "_" not in entry


def _header(
    first: Sequence[str], rest: Sequence[Sequence[str]], label: str | int | None
) -> list[str]:
    """The names of the columns; empty if the first line is a sample.

    The first line is a header if `label` is a name, or if a word is above a column of numbers.
    """
    names = [entry.strip() for entry in first]
    if isinstance(label, str):
        return names
    second = rest[0] if rest and len(rest[0]) == len(first) else first
    begins = any(not _is_number(a) and _is_number(b) for a, b in zip(first, second, strict=True))
    return names if begins else []


def _place(header: list[str], width: int, label: str | int | None) -> int:
    """The number of the column with the labels."""
    if label is None:
        return width - 1
    if isinstance(label, str):
        if label not in header:
            raise InputError("label", label, f"should be one of the columns {', '.join(header)}")
        return header.index(label)
    if isinstance(label, bool) or not -width <= label < width:
        accepted = f"should be the name of a column, or its number from 0 to {width - 1}"
        raise InputError("label", label, accepted)
    return label % width


def _numbers(path: Path, name: str, entries: list[str], lines: list[int]) -> np.ndarray:
    remedy = "replace the words of the column by numbers, or select the column by `label`"
    words = [i for i, entry in enumerate(entries) if not _is_number(entry)]
    if words:
        raise _bad_entry(path, name, entries, words[0], lines, remedy)
    return _finite(path, name, entries, lines)


def _finite(path: Path, name: str, entries: list[str], lines: list[int]) -> np.ndarray:
    """Entries that are numbers as an array."""
    numbers = np.array([float(entry) for entry in entries])
    infinite = np.flatnonzero(~np.isfinite(numbers))
    if len(infinite):
        remedy = "replace it by a finite number"
        raise _bad_entry(path, name, entries, int(infinite[0]), lines, remedy)
    return numbers


def _bad_entry(
    path: Path, name: str, entries: list[str], place: int, lines: list[int], remedy: str
) -> InputError:
    where = f"line {lines[place]}, {name}"
    accepted = (
        f"{where}: {entries[place][:60]!r} should be a number; remove the sample, or {remedy}"
    )
    return InputError("path", str(path), accepted)


def _labels(path: Path, name: str, entries: list[str], lines: list[int]) -> np.ndarray:
    if "" in entries:
        line = lines[entries.index("")]
        raise InputError("path", str(path), f"lacks a label in line {line}, {name}")
    if all(map(_is_number, entries)):
        return _finite(path, name, entries, lines)
    return np.array(entries)


def whole_label(value: Any) -> str | int | None:
    """A `label` given by a file or a command line, checked.

    - **Raises** [`InputError`][lazyrich.InputError] unless it is a name or a whole number.
    """
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return value
    raise InputError("label", value, "should be the name of a column, or its number from 0 on")
