"""Labelled images in files of MNIST's own format, of NumPy and of OpenML."""

import functools
import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._core.errors import InputError
from .._core.files import opened
from .._core.npz import archive

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MNIST = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
"""SHA-256 of MNIST's four files, uncompressed."""

_NPZ, _ARFF = "mnist.npz", "mnist_784.arff"
_NPZ_NAMES = ("x_train", "y_train", "x_test", "y_test")
# The largest file that is read, in bytes, uncompressed. MNIST's largest file has 47 million,
# OpenML's 123 million.
_MAX_BYTES = 2**28
# The number of images in MNIST's training set. They come first in OpenML's single table.
_NUM_TRAIN = 60_000


@dataclass(frozen=True)
class ImageArrays:
    """Images `(n, rows, columns)` and their classes, for training and test sets, as bytes."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def find(folder: Path) -> Path:
    """The file with the images: the first of MNIST's four files, a `.npz` or an `.arff`.

    - **Raises** [`InputError`][lazyrich.InputError] that names the missing files and their folder.
    """
    there = [_packed_or_not(folder / name) for name in FILES]
    if None not in there:
        return folder / FILES[0]
    for name in (_NPZ, _ARFF):
        path = _packed_or_not(folder / name)
        if path is not None:
            return path
    missing = [name for name, path in zip(FILES, there, strict=True) if path is None]
    accepted = (
        f"lacks {', '.join(missing)}; put MNIST's files into this folder, compressed (.gz) or not, "
        f"or {_NPZ}, or OpenML's {_ARFF}; or name their folder with --data DIR (task.folder)"
    )
    raise InputError("task.folder", str(folder), accepted)


@functools.lru_cache(maxsize=2)
def load(folder: Path, sha256: tuple[str, ...]) -> ImageArrays:
    """The images in a folder, checked by their digests.

    - **Takes** `sha256` of the four files of MNIST's format, uncompressed. Images from files of
        other formats are converted to this format and must have the same digests.
    - **Raises** [`InputError`][lazyrich.InputError] for files that are missing or damaged, or
        that have other digests.
    """
    path = find(folder)
    try:
        if path.name.startswith(_NPZ):
            with opened(path) as file, archive(file) as held:
                arrays = [held.read(name) for name in _NPZ_NAMES]
        elif path.name.startswith(_ARFF):
            arrays = list(_from_arff(path))
        else:
            arrays = [read_idx(folder / name) for name in FILES]
    except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        accepted = f"should be a readable file of images ({error})"
        raise InputError("task.folder", str(path), accepted) from None
    for name, array, expected in zip(FILES, arrays, sha256, strict=True):
        found = hashlib.sha256(idx_bytes(array)).hexdigest()
        if found != expected:
            accepted = f"{name} has SHA-256 {found} when uncompressed, not {expected} (task.sha256)"
            raise InputError("task.folder", str(path.parent), accepted)
    return ImageArrays(*arrays)


def read_idx(path: Path) -> np.ndarray:
    """An array of bytes from an IDX file, compressed by gzip or not.

    The format is: two bytes of zero, a type (8 for bytes), the number of axes, the length of
    every axis in four bytes (most significant byte first), and the entries.

    - **Raises** `ValueError` for a file of another format.
    """
    found = _packed_or_not(path)
    if found is None:
        raise FileNotFoundError(f"no {path.name}")
    data = _unpacked(found)
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError(f"{found.name} is not an IDX file of bytes")
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    body = data[4 + 4 * data[3] :]
    if len(body) != math.prod(shape):
        raise ValueError(f"{found.name} has {len(body)} entries, but its header says {shape}")
    return np.frombuffer(body, np.uint8).reshape(shape)


def idx_bytes(array: np.ndarray) -> bytes:
    """The contents of the IDX file for an array of bytes."""
    if array.dtype != np.uint8:
        raise InputError("task.folder", array.dtype.name, "images and labels should be bytes")
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + np.ascontiguousarray(array).tobytes()


def _packed_or_not(path: Path) -> Path | None:
    for candidate in (path, path.with_name(f"{path.name}.gz")):
        if candidate.is_file():
            return candidate
    return None


def _unpacked(path: Path) -> bytes:
    """The contents of a file, uncompressed; `ValueError` if there are too many bytes."""
    with opened(path, _MAX_BYTES) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: Any = gzip.GzipFile(fileobj=file) if packed else file
        data = bytearray()
        while chunk := stream.read(2**20):
            data += chunk
            if len(data) > _MAX_BYTES:
                raise ValueError(
                    f"{path.name} has more than {_MAX_BYTES:,} bytes when uncompressed"
                )
    return bytes(data)


def _from_arff(path: Path) -> Iterator[np.ndarray]:
    """Rows of pixels with a class, after a line `@data`. Classes may be in quotes."""
    lines = _unpacked(path).decode("ascii").splitlines()
    begin = next((i for i, line in enumerate(lines) if line.strip().lower() == "@data"), None)
    if begin is None:
        raise ValueError(f"{path.name} has no line @data")
    rows = (line.replace("'", "") for line in lines[begin + 1 :] if line.strip())
    table = np.loadtxt(rows, delimiter=",", dtype=np.uint8, ndmin=2)
    side = round((table.shape[1] - 1) ** 0.5)
    for part in (table[:_NUM_TRAIN], table[_NUM_TRAIN:]):
        yield part[:, :-1].reshape(len(part), side, -1)
        yield np.ascontiguousarray(part[:, -1])
