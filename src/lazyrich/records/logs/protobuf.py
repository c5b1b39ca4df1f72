"""The wire format of protocol buffers, as far as logs use it."""

import struct
from collections.abc import Iterator

Field = tuple[int, int, int | bytes]
"""The number of a field, its wire type, and its value: a number, or the bytes of it."""


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message.

    - **Raises** `ValueError` for data that end inside of a field, or have one of another type.
    - **Source** Protocol Buffers, encoding: base 128 varints and tag-length-value records.
    """
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value: int | bytes
            value, place = _varint(data, place)
        elif wire in (1, 2, 5):
            size, place = _varint(data, place) if wire == 2 else (8 if wire == 1 else 4, place)
            if size > end - place:
                raise ValueError("it ends inside of a field")
            value = data[place : place + size]
            place += size
        else:
            raise ValueError(f"it has a field of type {wire}")
        yield number, wire, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("it ends inside of a number")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number has more than ten bytes")


def signed(value: int | bytes) -> int:
    """A varint as a number that can be negative."""
    assert isinstance(value, int)
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def zigzag(value: int | bytes) -> int:
    """A varint of a field in which signs alternate."""
    assert isinstance(value, int)
    return (value >> 1) ^ -(value & 1)


def real(value: int | bytes) -> float:
    """A float or a double from its bytes."""
    if not isinstance(value, bytes) or len(value) not in (4, 8):
        raise ValueError("a number has another type")
    found: float = struct.unpack("<f" if len(value) == 4 else "<d", value)[0]
    return found


def raw(value: int | bytes) -> bytes:
    """The bytes of a text or of a message in a field."""
    if not isinstance(value, bytes):
        raise ValueError("a message has another type")
    return value
