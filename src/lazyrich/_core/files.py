"""Files that appear only when complete, and careful reading of files from other sources."""

import contextlib
import errno
import functools
import hashlib
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import psutil

from .given import path_of

_unfinished: set[Path] = set()

# A temporary name repeats this many letters of the file's name, because names have at most 255.
_MAX_STEM = 150


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path to write to, and renames it to `path` when the block succeeds.

    A reader, a crash or a full disk never leaves an incomplete file: the old content stays until
    the new content is on disk, and an incomplete temporary file is removed. The temporary path
    contains the process number, so no other process writes to it. The file has the usual
    permissions for a new file of the user.
    """
    path = path_of("path", path)
    temporary = _claimed(path)
    _unfinished.add(temporary)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def _claimed(path: Path) -> Path:
    """A new empty file of this process in the folder of `path`."""
    while True:
        name = f"{_prefix(path)}{_node()}-{os.getpid()}-{secrets.token_hex(8)}{path.suffix}"
        temporary = path.with_name(name)
        with contextlib.suppress(FileExistsError):
            # The system applies the umask. Reading the umask would change it for all threads.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return temporary


def _prefix(path: Path) -> str:
    """The beginning of the names of temporary files for `path`."""
    return f".{path.name[:_MAX_STEM]}."


@functools.cache
def _node() -> str:
    """An identifier of the space in which process numbers are unique: a machine or a container."""
    try:
        space = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def discard(path: Path) -> None:
    """Removes a file, and the temporary files that ended processes left for it.

    Temporary files of live processes and of other machines stay.
    """
    path.unlink(missing_ok=True)
    prefix = _prefix(path)
    with contextlib.suppress(OSError):
        for leaf in os.listdir(path.parent):  # noqa: PTH208  # only names are needed
            if not leaf.startswith(prefix):
                continue
            node, _, rest = leaf.removeprefix(prefix).partition("-")
            pid = rest.partition("-")[0]
            if node == _node() and pid.isdecimal() and not psutil.pid_exists(int(pid)):
                path.with_name(leaf).unlink(missing_ok=True)


def discard_unfinished() -> None:
    """Removes the temporary files being written, for a process that ends without cleaning up."""
    for temporary in list(_unfinished):
        temporary.unlink(missing_ok=True)


def private(path: Path, data: bytes) -> None:
    """Writes a new file that only the user can read."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with open(handle, "wb") as file:  # noqa: PTH123  # an open handle
        file.write(data)


def opened(path: str | os.PathLike[str], most: int | None = None) -> BinaryIO:
    """Opens an ordinary file for reading.

    - **Takes** `most`, the largest number of bytes that the file may have.
    - **Raises** `OSError` for a file that cannot be opened, for a larger file, and for a pipe, a
        device or a socket, because reading from these might never end.
    """
    named = os.fspath(path)
    # Checked before opening, which a device may take as a command. If a pipe replaces the file
    # between the check and the opening, opening does not block.
    _check_ordinary(os.stat(named), named, most)  # noqa: PTH116
    handle = os.open(named, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        _check_ordinary(os.fstat(handle), named, most)
        return open(handle, "rb")  # noqa: PTH123  # the caller closes it
    except BaseException:
        os.close(handle)
        raise


def contents(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of an ordinary file of at most `most` bytes; raises as `opened` does."""
    with opened(path, most) as file:
        # Files of the operating system, as in /proc, report a size of zero.
        data = file.read(most + 1)
    if len(data) > most:
        raise _too_large(os.fspath(path), len(data), most)
    return data


def _check_ordinary(status: os.stat_result, named: str, most: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", named)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is no ordinary file, but a pipe, a device or a socket", named)
    if most is not None and status.st_size > most:
        raise _too_large(named, status.st_size, most)


def _too_large(named: str, size: int, most: int) -> OSError:
    return OSError(errno.EFBIG, f"has {size:,} bytes, more than {most:,} are not read", named)
