"""Names that compiled code reads from outside of it, and whether it has a docstring."""

import dis
import functools
import types

# Functions whose results do not depend only on their arguments, and what to do instead.
READERS = {
    name: f"reads outside data by {name}: read it before, and keep it in a field"
    for name in ("io.open", "_io.open", "input", "numpy.load", "numpy.loadtxt",
                 "numpy.genfromtxt", "numpy.fromfile", "jax.numpy.load",
                 "scipy.io.matlab._mio.loadmat", "os.getenv", "posix.urandom", "posix.read",
                 "posix.getcwd", "posix.listdir", "subprocess.run", "subprocess.Popen",
                 "subprocess.check_output", "time.time", "time.time_ns", "time.process_time",
                 "time.perf_counter", "time.monotonic", "uuid.uuid4", "sys._getframe",
                 "inspect.currentframe", "importlib.import_module")
} | {
    name: f"runs code that is only known at run time, by {name}: write it as a function"
    for name in ("eval", "exec", "globals", "locals", "__import__")
}  # fmt: skip


HIDDEN = "draws from a hidden random state: draw with the given key (jax.random)"


def has_docstring(code: types.CodeType) -> bool:
    """Whether the first constant is a docstring."""
    is_text = bool(code.co_consts) and isinstance(code.co_consts[0], str)
    if not is_text or code.co_name.startswith("<"):
        return False
    every = dis.get_instructions(code)
    return not any(one.opcode in dis.hasconst and one.arg == 0 for one in every)


@functools.lru_cache(4096)
def paths(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """Dotted names that code reads from outside, and statements that import or set a name."""
    found: list[tuple[str, ...]] = []
    path: tuple[str, ...] = ()
    for one in dis.get_instructions(code):
        if path and one.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            path = (*path, str(one.argval))
            continue
        if path:
            found.append(path)
            path = ()
        if one.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF"):
            path = (str(one.argval),)
        elif one.opname == "IMPORT_NAME":
            found.append((f"import {one.argval}",))
        elif one.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            found.append((f"set {one.argval}",))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += paths(constant)
    return tuple(found)
