"""Files that appear whole or not at all, and files from outside that are read with care."""

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

_unfinished: set[Path] = set()

# Letters of a file's name that a temporary one beside it repeats: names have 255 at most.
_MAX_STEM = 150


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path to write to; moves it to `path` when the block succeeds.

    A reader, a crash or a full disk never meets half a file: the old content stays until the
    new is on disk, and what was begun is removed. Nobody else writes to the path yielded, which
    names this process; the file has the permissions that any new one of the user's has.
    """
    path = Path(path)
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
    """A new empty file beside `path` that is this process's."""
    while True:
        name = f"{_prefix(path)}{_node()}-{os.getpid()}-{secrets.token_hex(8)}{path.suffix}"
        temporary = path.with_name(name)
        with contextlib.suppress(FileExistsError):
            # The system takes the umask's bits off. To ask for them changes them for all threads.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return temporary


def _prefix(path: Path) -> str:
    """What the names of temporary files for `path` begin with."""
    return f".{path.name[:_MAX_STEM]}."


@functools.cache
def _node() -> str:
    """Names what process numbers are counted in: a machine, or a container on it."""
    try:
        space = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def discard(path: Path) -> None:
    """Removes a file, and what processes that have ended left of attempts to write it.

    What a process writes that is alive, or on another machine, is left to it.
    """
    path.unlink(missing_ok=True)
    prefix = _prefix(path)
    with contextlib.suppress(OSError):
        for leaf in os.listdir(path.parent):  # noqa: PTH208  # names are all that is needed
            if not leaf.startswith(prefix):
                continue
            node, _, rest = leaf.removeprefix(prefix).partition("-")
            pid = rest.partition("-")[0]
            if node == _node() and pid.isdecimal() and not psutil.pid_exists(int(pid)):
                path.with_name(leaf).unlink(missing_ok=True)


def discard_unfinished() -> None:
    """Removes what is being written now: for a process about to end without unwinding."""
    for temporary in list(_unfinished):
        temporary.unlink(missing_ok=True)


def private(path: Path, data: bytes) -> None:
    """Writes a new file that nobody but the user may read."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with open(handle, "wb") as file:  # noqa: PTH123  # an open handle
        file.write(data)


def opened(path: str | os.PathLike[str], most: int | None = None) -> BinaryIO:
    """An ordinary file, opened to read.

    - **Takes** `most`, the bytes that it may have at most.
    - **Raises** `OSError` for a file that cannot be opened, for one that is a pipe, a device or
        a socket, from which reading might never end, and for one of more bytes.
    """
    named = os.fspath(path)
    # Asked for before it is opened, which a device may take as a command. A pipe that takes the
    # file's place in between does not hold us up.
    _check_ordinary(os.stat(named), named, most)  # noqa: PTH116
    handle = os.open(named, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        _check_ordinary(os.fstat(handle), named, most)
        return open(handle, "rb")  # noqa: PTH123  # the caller closes it
    except BaseException:
        os.close(handle)
        raise


def contents(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of an ordinary file of `most` bytes at most; raises as `opened` does."""
    with opened(path, most) as file:
        # Files of the system's own say that they are empty.
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
