"""What reads outside data: functions, methods and values whose content is in no hash."""

import datetime
import os
import pathlib
import sys
from typing import Any

from .libraries import name_of

HIDDEN = "draws from a hidden random state: draw with the given key (jax.random)"

# Functions whose results do not depend only on their arguments.
_READERS = frozenset(
    {"input", "numpy.load", "numpy.loadtxt", "numpy.genfromtxt", "numpy.fromfile", "numpy.memmap",
     "numpy.fromregex", "jax.numpy.load", "io.open", "_io.open", "_io.FileIO", "codecs.open",
     "sys._getframe", "inspect.currentframe", "inspect.stack", "importlib.import_module",
     "pickle.load", "_pickle.load", "torch.serialization.load", "joblib.numpy_pickle.load",
     "h5py._hl.files.File", "PIL.Image.open", "random.SystemRandom", "uuid.uuid1", "uuid.uuid4",
     "uuid.uuid6", "uuid.uuid7", "uuid.getnode", "_thread.get_ident",
     "equinox._serialisation.tree_deserialise_leaves"}
)  # fmt: skip
# Modules all of whose functions do, and their exceptions.
_MODULES = frozenset(
    {"os", "posix", "nt", "genericpath", "subprocess", "socket", "_socket", "platform", "time",
     "secrets", "tempfile", "glob", "shutil", "urllib.request", "http.client", "getpass", "pwd",
     "resource", "mmap", "sqlite3", "_sqlite3", "linecache", "bz2", "gzip", "lzma", "zipfile",
     "tarfile", "_locale", "locale", "requests", "ctypes", "numpy.lib.format",
     "numpy.lib._format_impl", "numpy.lib.npyio", "numpy.lib._datasource"}
)  # fmt: skip
_PURE = frozenset(
    {"posix.fspath", "nt.fspath", "os.fspath", "os.PathLike", "os.fsencode", "os.fsdecode",
     "time.sleep", "time.strptime", "time.struct_time", "glob.escape", "gzip.decompress",
     "bz2.compress", "bz2.decompress", "lzma.compress", "lzma.decompress",
     "numpy.lib.format.descr_to_dtype", "numpy.lib._format_impl.descr_to_dtype",
     "numpy.lib.format.dtype_to_descr", "numpy.lib._format_impl.dtype_to_descr"}
)  # fmt: skip
# Libraries some of whose functions do, by how their names begin.
_BEGINNINGS = {
    "pandas": ("read_",), "polars": ("read_", "scan_"), "xarray": ("open_",),
    "scipy": ("hb_read", "loadarff", "loadmat", "mmread", "netcdf_file", "read"),
    "posixpath": ("abspath", "expand", "ismount", "lexists", "realpath"),
    "ntpath": ("abspath", "expand", "ismount", "lexists", "realpath"),
}  # fmt: skip

_RUNNERS = frozenset({"eval", "exec", "globals", "locals", "__import__"})


def refused(name: str, value: Any) -> str:
    """What to do in place of using a function or class of this name; empty if it may be used."""
    if name in _RUNNERS:
        return f"runs code that is only known at run time, by {name}: write it as a function"
    parts = name.split(".")
    modules = {".".join(parts[:i]) for i in range(1, len(parts))}
    reads = name in _READERS or bool(modules & _MODULES)
    reads = reads or parts[-1].startswith(_BEGINNINGS.get(parts[0], ()))
    # A tuple, such as that of os.stat, holds what was read before. An exception reads nothing.
    is_held = isinstance(value, type) and issubclass(value, tuple | BaseException)
    return _line(name) if reads and name not in _PURE and not is_held else ""


def _line(name: str) -> str:
    return f"reads outside data by {name}: read it before, and keep it in a field"


def unseeded(name: str) -> bool:
    """Whether a function of this name takes its seed from outside if it has no argument."""
    return name == "random.Random" or name.startswith("numpy.random.")


def outside_value(value: Any) -> str:
    """The name of a value that belongs to the process; empty for all others."""
    if value is sys.argv or value is sys.orig_argv:
        return "sys.argv"
    # Also the same as bytes.
    return "os.environ" if type(value) is type(os.environ) else ""


# Classes some of whose methods read outside data. `absolute` and `group` are left out: functions of
# NumPy and methods of regular expressions have these names, too.
_METHODS: dict[type, frozenset[str]] = {
    pathlib.Path: frozenset(
        {"cwd", "exists", "expanduser", "glob", "home", "is_dir", "is_file",
         "is_symlink", "iterdir", "lstat", "open", "owner", "read_bytes", "read_text", "readlink",
         "resolve", "rglob", "samefile", "stat", "walk"}
    ),
    datetime.date: frozenset({"now", "today", "utcnow"}),
}  # fmt: skip


class Methods:
    """Methods that read outside data: found by a class that was met, and a name that code uses.

    Code does not say of which class an attribute is, so an attribute `open` or `now` counts only
    where the functions that were read also reach a path or a date.
    """

    def __init__(self) -> None:
        self._met: dict[str, frozenset[str]] = {}
        self._used: dict[str, str] = {}

    def meet(self, value: Any) -> None:
        kind = value if isinstance(value, type) else type(value)
        for base, names in _METHODS.items():
            if issubclass(kind, base):
                self._met[name_of(kind).replace("pathlib._local", "pathlib")] = names

    def use(self, name: str, where: str) -> None:
        self._used.setdefault(name, where)

    def found(self) -> tuple[str, str] | None:
        """The full name of such a method, and what to do in place of using it."""
        for kind, names in self._met.items():
            for name in sorted(names & set(self._used)):
                full = f"{kind}.{name}"
                return full, _line(full) + self._used[name]
        return None
