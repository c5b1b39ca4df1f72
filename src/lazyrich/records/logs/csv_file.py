"""Logs in CSV, and what Weights & Biases and TensorBoard export as such."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..._core.errors import InputError
from ..._core.files import opened
from .several import chosen_run
from .table import MAX_BYTES, MAX_COLUMNS, Column, Table, cut_line, listed

# Rows that are converted at a time.
_ROWS = 1024
_DELIMITERS = (",", "\t", ";")
# A cell of a whole number, as the halves of a number with a decimal comma are.
_WHOLE = re.compile(r"[-+]?\d+([eE][-+]?\d+)?")
# What a number that is cut off can be, if it is no number; and words of which a part is none.
_HALF = re.compile(r"[-+]?\d*\.?\d*([eE][-+]?)?")
_HALVED = ("nan", "inf", "null", "none")
# Columns of an export from the page of Weights & Biases: `run - metric`, and its range.
_DASH, _RANGES = " - ", ("__MIN", "__MAX")
# The header of a series that TensorBoard exports, whose tag is in the name of the file.
_EXPORTED = ("wall time", "step", "value")


def read(path: Path, table: Table, run: str | None) -> None:
    """Adds the numbers of a CSV file to a table, row by row."""
    offset = table.begin(path.name, "line")
    with opened(path, MAX_BYTES) as file:
        is_cut = _is_cut(file)
        text = io.TextIOWrapper(file, "utf-8-sig", newline="")
        rows = _rows(text, path)
        head = next(rows, (0, []))[1]
        if len(head) > MAX_COLUMNS:
            accepted = f"should have at most {MAX_COLUMNS:,} columns"
            raise InputError(f"{path.name}, line 1", f"{len(head):,} columns", accepted)
        if len(set(head)) < len(head):
            raise InputError(f"{path.name}, line 1", listed(head), "should name each column once")
        names = _names(head, path, run)
        taken = [
            (place, column)
            for place, name in enumerate(names)
            if name and (column := table.column(name)) is not None
        ]
        num, width = len(taken), len(head)
        lines: list[int] = []
        held: list[list[str]] = []

        def keep() -> None:
            cells = list(zip(*held, strict=True))
            for place, column in taken if held else ():
                column.extend(lines, cells[place])
            if lines:
                table.ended(lines[-1], num * len(lines))
            lines.clear()
            held.clear()

        for line, row in rows:
            if len(held) == _ROWS:  # not the last row, which may be cut off
                keep()
            num_cells = len(row)
            if num_cells > width:
                if any(cell.strip() for cell in row[width:]):
                    accepted = f"has {num_cells} cells, but the header has {width}"
                    if _has_decimal_commas(row, width):
                        accepted += ": if these are decimal commas, replace them by points, or "
                        accepted += "separate columns by semicolons; quote numbers such as '1,091'"
                    raise InputError(f"{path.name}, line {line:,}", row[-1], accepted)
                del row[width:]
            row.extend([""] * (width - num_cells))
            lines.append(offset + line)
            held.append(row)
        if held and is_cut and num_cells <= width:
            is_used = any(place == width - 1 for place, _ in taken)
            last = held[-1][-1].strip() if is_used else ""
            if num_cells < width or _is_half(last):
                del lines[-1], held[-1]
                table.notes.append(cut_line(f"{path.name}, line {line:,}"))
            elif last:
                place = f"{path.name}, line {line:,}"
                table.notes.append(f"{place} has no end of line: its last number may be cut off")
        keep()


def _is_half(cell: str) -> bool:
    """Whether a cell is the beginning of a number and no number."""
    column = Column()
    column.add(0, cell)
    if column.wrong is None:
        return False
    begins = any(word.startswith(cell.lower()) for word in _HALVED)
    return begins or _HALF.fullmatch(cell) is not None


def _has_decimal_commas(row: list[str], width: int) -> bool:
    """Whether the surplus in a row can come from numbers with decimal commas."""
    return len(row) <= 2 * width and all(_WHOLE.fullmatch(cell.strip()) for cell in row)


def _is_cut(file: BinaryIO) -> bool:
    """Whether a file ends within a line."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - 1))
    last = file.read(1)
    file.seek(0)
    return last not in (b"", b"\n", b"\r")


def _rows(text: io.TextIOWrapper, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with their lines; the first is the header."""
    first, before = text.readline(2**20), 1
    while first and not first.strip():
        first, before = text.readline(2**20), before + 1
    # Programs write the names of columns as a comment.
    sample = first.lstrip("#").lstrip()
    delimiter = max(_DELIMITERS, key=sample.count)
    if not sample.count(delimiter) and len(sample.split()) > 1:
        delimiter = " "
    skip = delimiter == " "
    reader = csv.reader(io.StringIO(sample), delimiter=delimiter, skipinitialspace=skip)
    line = before
    try:
        yield before, [name.strip() for name in next(reader, []) if name.strip() or not skip]
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=skip)
        for row in reader:
            line = before + reader.line_num
            if skip and row and not row[-1]:
                row.pop()
            if row and (row[0] or any(cell.strip() for cell in row)):
                yield line, row
    except csv.Error as error:
        accepted = f"is not valid CSV: {error}"
        raise InputError(f"{path.name}, line {line + 1:,}", "a row", accepted) from None


def _names(head: list[str], path: Path, run: str | None) -> list[str]:
    """The names of columns without those of runs; empty for columns of other runs."""
    if tuple(name.lower() for name in head) == _EXPORTED:
        return ["", head[1], path.stem.rpartition("-tag-")[2]]
    plain = [name for name in head if not name.endswith(_RANGES)]
    dashed = [name for name in plain if _DASH in name]
    is_export = len(plain) < len(head) or (len(dashed) == len(plain) - 1 and dashed)
    if not (dashed and is_export):
        if run is not None:
            raise InputError("--run", run, f"is for logs of several runs; {path.name} has one")
        return head
    runs = list(dict.fromkeys(name.rpartition(_DASH)[0] for name in dashed))
    wanted = chosen_run(path.name, runs, run)
    names = []
    for name in head:
        owner, _, metric = name.rpartition(_DASH)
        own = owner == wanted and not name.endswith(_RANGES)
        names.append((metric if own else "") if _DASH in name else name)
    # The axis of the page, such as `Step`, is in a column of its own.
    doubled = {name for name in names if name and names.count(name) > 1}
    return [
        "" if name in doubled and _DASH in own else name
        for name, own in zip(names, head, strict=True)
    ]
