"""Files that Weights & Biases writes while a run goes on, and offline."""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..._core.errors import InputError
from ..._core.files import contents
from .protobuf import fields, raw, real, signed, zigzag
from .table import MAX_BYTES, MAX_NAME, Table

# The file is a log of LevelDB: blocks of 32 KiB, with parts of a checksum, a length and a kind.
_MAGIC, _BEGIN, _BLOCK, _PART = b":W&B", 7, 2**15, 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
# Larger messages hold no curves.
_MAX_MESSAGE = 2**20
_MAX_NUMBER = 100


def is_one(head: bytes) -> bool:
    """Whether a file begins as one of Weights & Biases."""
    return head.startswith(_MAGIC)


def read(path: Path, table: Table, run: str | None) -> None:
    """Adds the history in a file of a run to a table."""
    if run is not None:
        raise InputError("--run", run, f"is for logs of several runs; {path.name} has one")
    offset = table.begin(path.name, "message")
    for number, (place, message) in enumerate(_messages(path, table.notes), 1):
        try:
            row = _history(message)
        except (ValueError, RecursionError, struct.error) as error:
            key = f"{path.name}, byte {place:,}"
            raise InputError(key, "a message", f"cannot be read ({error})") from None
        for name, value in row.items():
            column = table.column(name[:MAX_NAME])
            if column is not None:
                column.add(offset + number, value)
        table.ended(offset + number, len(row))


def _messages(path: Path, notes: list[str]) -> Iterator[tuple[int, bytes]]:
    data = contents(path, MAX_BYTES)
    place, begin, whole = _BEGIN, _BEGIN, bytearray()
    while place + _PART <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _PART:
            place += left
            continue
        checksum, size, kind = struct.unpack_from("<IHB", data, place)
        if size + _PART > left:
            _damaged(path, place)
        if place + _PART + size > len(data):
            break
        # The checksum is of the kind and the part.
        if zlib.crc32(data[place + _PART - 1 : place + _PART + size]) != checksum:
            _damaged(path, place)
        if kind in (_WHOLE, _FIRST):
            whole, begin = bytearray(), place
        if len(whole) <= _MAX_MESSAGE:
            whole += data[place + _PART : place + _PART + size]
        place += _PART + size
        if kind in (_WHOLE, _LAST) and len(whole) <= _MAX_MESSAGE:
            yield begin, bytes(whole)
    if place < len(data):
        notes.append(f"{path.name}: the last message is cut off, and left out")


def _damaged(path: Path, place: int) -> None:
    key = f"{path.name}, byte {place:,}"
    raise InputError(key, "a message", "is damaged: its checksum is another one")


def _history(message: bytes) -> dict[str, object]:
    """The numbers of one call of `log`, by name; empty for other messages."""
    row: dict[str, object] = {}
    for number, _, value in fields(message):
        if number != 2:
            continue
        for inner, _, part in fields(raw(value)):
            if inner == 1:
                name, found = _item(raw(part))
                row[name] = found
            elif inner == 2:
                for field, _, step in fields(raw(part)):
                    if field == 1:
                        row.setdefault("_step", signed(step))
    return row


def _item(item: bytes) -> tuple[str, object]:
    """The name and the value of one entry."""
    names: list[str] = []
    value: object = None
    for number, _, part in fields(item):
        if number in (1, 2):
            names.append(raw(part).decode("utf-8", "replace"))
        elif number == 5:
            value = zigzag(part)
        elif number == 6:
            value = real(part)
        elif number == 16 and len(raw(part)) <= _MAX_NUMBER:
            found = json.loads(raw(part))
            value = None if isinstance(found, dict | list) else found
    return "/".join(names), value
