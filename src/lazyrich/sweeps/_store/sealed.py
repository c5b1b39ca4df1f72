"""Files with checksums that show whether they are complete."""

import hashlib
import json
import struct
from typing import Any, NamedTuple

# After the payload: a summary as JSON, its length, SHA-256 of these two, SHA-256 of everything
# before, and this mark.
_MARK = b"lazyrich"
_LENGTH = struct.Struct("<Q")
_DIGEST = hashlib.sha256().digest_size
_TAIL = _LENGTH.size + 2 * _DIGEST + len(_MARK)
# The largest summary in bytes. A parsed summary takes up to thirty times as much memory.
MAX_SUMMARY = 2**24


class Damaged(Exception):  # noqa: N818  # it describes a file, not a failure of this process
    """A file that is incomplete or changed; the message says how."""


class Sealed(NamedTuple):
    """The content of a file: a payload, and a summary that can be read separately."""

    payload: bytes
    summary: dict[str, Any]


def seal(payload: bytes, summary: dict[str, Any]) -> bytes:
    """A file of `payload`, followed by `summary` and checksums of the summary and of everything.

    HDF5 ignores bytes after the end given in its header, so a sealed netCDF file is still a
    netCDF file.
    """
    text = json.dumps(summary, separators=(",", ":")).encode()
    said = text + _LENGTH.pack(len(text))
    body = payload + said + hashlib.sha256(said).digest()
    return body + hashlib.sha256(body).digest() + _MARK


def unseal(data: bytes) -> Sealed:
    """The content of a sealed file.

    - **Raises** `Damaged` if a single bit has changed.
    """
    summary = summary_of(data)
    if summary is None:
        raise Damaged("its summary is incomplete")
    view = memoryview(data)
    end = len(data) - len(_MARK) - _DIGEST
    if hashlib.sha256(view[:end]).digest() != view[end : end + _DIGEST]:
        raise Damaged("its content does not match its checksum")
    return Sealed(data[: len(data) - _TAIL - _length(data)], summary)


def summary_of(tail: bytes) -> dict[str, Any] | None:
    """The summary, from the last bytes of a file; None if `tail` is too short to contain it.

    - **Raises** `Damaged` if the file has no valid end. The payload is not checked.
    """
    if len(tail) < _TAIL or not tail.endswith(_MARK):
        raise Damaged(f"it has no valid end ({len(tail)} bytes)")
    start = len(tail) - _TAIL - _length(tail)
    if _length(tail) > MAX_SUMMARY:
        raise Damaged(f"its summary has {_length(tail):,} bytes")
    if start < 0:
        return None
    end = len(tail) - _TAIL + _LENGTH.size
    if hashlib.sha256(tail[start:end]).digest() != tail[end : end + _DIGEST]:
        raise Damaged("its summary does not match its checksum")
    try:
        found = json.loads(tail[start : end - _LENGTH.size])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Damaged("its summary is not a table")
    return found


def _length(data: bytes) -> int:
    (length,) = _LENGTH.unpack_from(data, len(data) - _TAIL)
    return int(length)
