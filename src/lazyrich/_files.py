"""Files that appear whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_unfinished: set[Path] = set()


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path to write to; moves it to `path` when the block succeeds.

    A reader, a crash or a full disk never meets half a file: the old content stays until the
    new is on disk, and what was begun is removed.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    _unfinished.add(temporary)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def discard(path: Path) -> None:
    """Removes a file, and what killed processes left of attempts to write it."""
    path.unlink(missing_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink(missing_ok=True)


def discard_unfinished() -> None:
    """Removes what is being written now: for a process about to end without unwinding."""
    for temporary in list(_unfinished):
        temporary.unlink(missing_ok=True)


def umask() -> int:
    """The bits that new files go without."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
