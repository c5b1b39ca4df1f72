"""Compiled code, kept for later commands."""

import contextlib
import hashlib
import os
import platform
import stat
import sys
from importlib.metadata import version
from pathlib import Path

SETTING = "LAZYRICH_CACHE"

# Above this size the code used longest ago is removed. JAX would need another package for this.
_MOST_BYTES = 2**30

# If the user has set one of these, the cache is not changed.
_OF_JAX = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")


def keep_compiled() -> None:
    """Makes JAX keep compiled code in the user's cache folder, for this process and its workers.

    Does nothing if the user has configured JAX's cache, or has set `LAZYRICH_CACHE=off`. If this
    variable is a path, it replaces the usual folder. A folder to which other users can write is
    refused with a line on stderr, because the code in it is run. Call this before importing JAX.
    """
    wanted = os.environ.get(SETTING, "")
    if wanted.lower() in ("off", "0", "no", "false") or any(key in os.environ for key in _OF_JAX):
        return
    folder = (Path(wanted) if wanted else _usual()) / _environment()
    try:
        _make_private(folder)
        _bound(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        words = f"{folder}: {reason}; set {SETTING}=off, or to another folder"
        print(f"lazyrich: compiled code is not kept: {words}", file=sys.stderr)
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    for key, value in (
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2"),
        ("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0"),
    ):
        os.environ.setdefault(key, value)


def _usual() -> Path:
    """The user's cache folder."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        base = Path(named)
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "lazyrich"


def _environment() -> str:
    """An identifier of what compiled code depends on in addition to JAX's own cache keys.

    One home folder can be shared by machines with different instruction sets.
    """
    parts = [version(name) for name in ("lazyrich", "jax", "jaxlib")]
    parts += [platform.machine(), platform.system()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        parts += sorted({line for line in lines if line.startswith(("flags", "model name"))})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _bound(folder: Path) -> None:
    """Removes the code used longest ago if the folder is too large."""
    found = []
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            status = entry.stat(follow_symlinks=False)
            found.append((max(status.st_atime, status.st_mtime), status.st_size, entry.path))
    left = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if left <= _MOST_BYTES:
            return
        Path(path).unlink(missing_ok=True)
        left -= size


def _make_private(folder: Path) -> None:
    """Makes a folder to which only the user can write, and its parent.

    - **Raises** `OSError` if it is a link, belongs to another user, or is open to others.
    """
    for place in (folder.parent, folder):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = place.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(0, "is not a folder, but a link or a file")
        if hasattr(os, "getuid"):
            if status.st_uid != os.getuid():
                raise PermissionError(0, "belongs to another user")
            if status.st_mode & 0o022:
                raise PermissionError(0, "others may write to it")
