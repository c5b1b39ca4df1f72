"""NumPy's `.npz` archives, with sizes checked before anything is allocated."""

import contextlib
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .room import available

# The largest directory of an archive. zipfile holds all of its names in memory.
_MAX_DIRECTORY = 2**20
# The largest header of an array. NumPy's headers usually have 128 bytes.
_MAX_HEADER = 2**14
# Arrays of up to this size may be compressed at any ratio, larger ones only at a usual ratio. Signs
# shrink to an eighth, images of digits to a thirtieth.
_FREE_BYTES = 2**27
_MAX_RATIO = 50
_CHUNK = 2**20
# Other compression methods could request any amount of memory by a number in a header.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Header(NamedTuple):
    """The type and shape in the header of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    in_columns: bool

    @property
    def num_bytes(self) -> int:
        """The bytes of the entries."""
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open `.npz` file, read one array at a time.

    - **Raises** `ValueError` for a file that is not such an archive, arrays that are missing or
        contain objects, sizes that disagree, and arrays that do not fit in memory.
    """

    def __init__(self, file: Any):
        self._size = os.fstat(file.fileno()).st_size
        careful = _LimitedFile(file)
        self._zip = zipfile.ZipFile(careful)
        careful.limit = None
        self._granted = 0

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return [n.removesuffix(".npy") for n in self._zip.namelist() if n.endswith(".npy")]

    def header(self, name: str) -> Header:
        """The header of the array `name`, checked against the number of bytes in the file."""
        with self._open(name) as (info, member):
            return _header(info, member)

    def read(self, name: str) -> np.ndarray:
        """The array `name`."""
        with self._open(name) as (info, member):
            header = _header(info, member)
            self._grant(name, header.num_bytes)
            flat = np.empty(math.prod(header.shape), header.dtype)
            # Types that NumPy does not define, such as bfloat16, have a buffer only as bytes.
            view = (
                memoryview(flat.view(np.uint8).reshape(-1).data) if flat.nbytes else memoryview(b"")
            )
            for start in range(0, len(view), _CHUNK):
                part = view[start : start + _CHUNK]
                if member.readinto(part) != len(part):
                    raise ValueError(f"{name} is cut short")
            # The checksum is compared at the end of a member.
            if member.read(1):
                raise ValueError(f"{name} is longer than its header says")
        if header.in_columns:
            return flat.reshape(header.shape[::-1]).transpose()
        return flat.reshape(header.shape)

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[tuple[zipfile.ZipInfo, Any]]:
        try:
            info = self._zip.getinfo(f"{name}.npy")
        except KeyError:
            raise ValueError(f"it contains no array {name}") from None
        if info.compress_type not in _METHODS or info.flag_bits & 1:
            raise ValueError(f"{name} is compressed by a method that .npz files do not use")
        with self._zip.open(info) as member:
            yield info, member

    def _grant(self, name: str, num_bytes: int) -> None:
        """Adds up the requested bytes, before they are allocated."""
        self._granted += num_bytes
        if self._granted > max(_FREE_BYTES, _MAX_RATIO * self._size):
            raise ValueError(
                f"its arrays take {self._granted:,} bytes, which are packed in {self._size:,}: the "
                "ratio is too high; save it without compression (np.savez)"
            )
        if num_bytes > available():
            raise ValueError(f"{name} takes {num_bytes:,} bytes; {available():,} are free")


@contextlib.contextmanager
def archive(file: Any) -> Iterator[Archive]:
    """An open file as an [`Archive`][]. Any defect of the file raises a `ValueError`."""
    try:
        yield Archive(file)
    # For a damaged archive, zipfile raises six types of error, and NumPy more.
    except (
        OSError, EOFError, KeyError, IndexError, TypeError, SyntaxError,
        RuntimeError, MemoryError, OverflowError, UnicodeError, struct.error, zlib.error,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


class _LimitedFile:
    """A file that returns at most `limit` bytes from one read."""

    def __init__(self, file: Any):
        self._file = file
        self.limit: int | None = _MAX_DIRECTORY

    def read(self, num: int = -1) -> bytes:
        if self.limit is None:
            return bytes(self._file.read(num))
        data = bytes(self._file.read(self.limit + 1 if num < 0 else min(num, self.limit + 1)))
        if len(data) > self.limit:
            raise ValueError(f"its directory has more than {self.limit:,} bytes")
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()


def _header(info: zipfile.ZipInfo, member: Any) -> Header:
    """The header of an array. At most its stated length is read."""
    name = info.filename.removesuffix(".npy")
    first = member.read(8)
    version = tuple(first[6:8])
    if first[:6] != b"\x93NUMPY" or version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} is not an array in a format of NumPy")
    packed = member.read(2 if version == (1, 0) else 4)
    (length,) = struct.unpack("<H" if version == (1, 0) else "<I", packed)
    if length > _MAX_HEADER:
        raise ValueError(f"{name} has a header of {length:,} bytes")
    parse = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, in_columns, dtype = parse(io.BytesIO(packed + member.read(length)))
    header = Header(tuple(map(int, shape)), dtype, bool(in_columns))
    if dtype.hasobject:
        raise ValueError(
            f"{name} contains Python objects, which are not read: save it as numbers or text, by "
            ".astype(float) or .astype(str)"
        )
    if min(header.shape, default=0) < 0 or dtype.itemsize == 0:
        raise ValueError(f"{name} has a shape {header.shape} of no array")
    held = info.file_size - 8 - len(packed) - length
    if held != header.num_bytes:
        raise ValueError(
            f"{name} says shape {shape} of {dtype}, {header.num_bytes:,} bytes, but has {held:,}"
        )
    return header
