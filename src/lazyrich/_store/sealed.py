"""Files that know whether they are whole."""

import hashlib
import json
import struct
from typing import Any, NamedTuple

# After the payload: a summary as JSON, its length, SHA-256 of all that precedes, this mark.
_MARK = b"lazyrich"
_LENGTH = struct.Struct("<Q")
_TAIL = _LENGTH.size + 32 + len(_MARK)


class Damaged(Exception):  # noqa: N818  # what was found, not what went wrong here
    """A file that is cut short or changed; the message says how that shows."""


class Sealed(NamedTuple):
    """The content of a file: bytes, and a summary that can be read without them."""

    payload: bytes
    summary: dict[str, Any]


def seal(payload: bytes, summary: dict[str, Any]) -> bytes:
    """A file of `payload`, followed by `summary` and a checksum of both.

    HDF5 ignores what follows the end that its header names, so a sealed netCDF file is a
    netCDF file still.
    """
    text = json.dumps(summary, separators=(",", ":")).encode()
    body = payload + text + _LENGTH.pack(len(text))
    return body + hashlib.sha256(body).digest() + _MARK


def unseal(data: bytes) -> Sealed:
    """The content of a sealed file.

    - **Raises** `Damaged` if a single bit is not as it was written.
    """
    length = _summary_length(data)
    body, checksum = data[: -32 - len(_MARK)], data[-32 - len(_MARK) : -len(_MARK)]
    if hashlib.sha256(body).digest() != checksum:
        raise Damaged("its content does not match its checksum")
    start = len(data) - _TAIL - length
    return Sealed(data[:start], json.loads(data[start : start + length]))


def summary_of(tail: bytes) -> dict[str, Any] | None:
    """The summary alone, from the last bytes of a file; None if they are too few to hold it.

    - **Raises** `Damaged` if the file does not end as one does; the rest goes unchecked.
    """
    if len(tail) < _TAIL or not tail.endswith(_MARK):
        raise Damaged("it does not end as it should")
    (length,) = _LENGTH.unpack(tail[-_TAIL : -_TAIL + _LENGTH.size])
    start = len(tail) - _TAIL - length
    if start < 0:
        return None
    try:
        found = json.loads(tail[start : start + length])
    except ValueError:
        raise Damaged("its summary cannot be read") from None
    return dict(found)


def _summary_length(data: bytes) -> int:
    if len(data) < _TAIL or not data.endswith(_MARK):
        raise Damaged(f"it is cut short ({len(data)} bytes)")
    (length,) = _LENGTH.unpack(data[-_TAIL : -_TAIL + _LENGTH.size])
    if length > len(data) - _TAIL:
        raise Damaged("its summary is not whole")
    return int(length)
