"""Names that compiled code reads from outside of it, and whether it has a docstring."""

import dis
import functools
import importlib
import types
from collections.abc import Iterator
from typing import Any


def has_docstring(code: types.CodeType) -> bool:
    """Whether the first constant is a docstring."""
    is_text = bool(code.co_consts) and isinstance(code.co_consts[0], str)
    if not is_text or code.co_name.startswith("<"):
        return False
    every = dis.get_instructions(code)
    return not any(one.opcode in dis.hasconst and one.arg == 0 for one in every)


# At the end of a path: what it leads to is called without an argument.
CALLED = "()"


def names_in(function: types.FunctionType) -> tuple[dict[str, Any], list[str], set[str]]:
    """What a function uses from outside of it.

    Values by dotted names; those of them that are called without an argument; and the statements
    that import or set a name.
    """
    found: dict[str, Any] = {}
    called: list[str] = []
    statements: set[str] = set()
    for path in sorted(set(_paths(function.__code__))):
        first, *rest = path
        if first.startswith(("import ", "set ")):
            statements.add(first)
            continue
        ends_called = rest[-1:] == [CALLED]
        rest = rest[:-1] if ends_called else rest
        try:
            thing = _outer(function, first)
        except (ImportError, LookupError):  # not defined yet
            continue
        done = first.removeprefix(_FROM)
        while isinstance(thing, types.ModuleType) and rest and hasattr(thing, rest[0]):
            done, thing = f"{done}.{rest[0]}", getattr(thing, rest[0])
            rest = rest[1:]
        found[done] = thing
        if ends_called and not rest:
            called.append(done)
    return found, called, statements


def _outer(function: types.FunctionType, name: str) -> Any:
    """The value of a global, a builtin, or a module that the function imports."""
    if name.startswith(_FROM):
        return importlib.import_module(name.removeprefix(_FROM))
    if name in function.__globals__:
        return function.__globals__[name]
    builtins = function.__globals__.get("__builtins__", {})
    builtins = vars(builtins) if isinstance(builtins, types.ModuleType) else builtins
    return builtins[name]


@functools.lru_cache(4096)
def attributes_in(code: types.CodeType) -> frozenset[str]:
    """Names of attributes that code reads."""
    reads = (one for one in dis.get_instructions(code) if one.opname in _ATTRIBUTES)
    inner = (attributes_in(one) for one in code.co_consts if isinstance(one, types.CodeType))
    return frozenset(str(one.argval) for one in reads).union(*inner)


_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF")
# Before the name of a module that the code itself imports.
_FROM = "from "


@functools.lru_cache(4096)
def _paths(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    return tuple(_paths_of(code, {}))


def _paths_of(code: types.CodeType, outer: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Dotted names that code reads from outside, and statements that import or set a name.

    `outer` are the paths of names that the surrounding code has imported.
    """
    every = list(dis.get_instructions(code))
    imported = {**outer, **_imported(every)}
    path: tuple[str, ...] = ()
    for one in every:
        if path and one.opname in _ATTRIBUTES:
            path = (*path, str(one.argval))
            continue
        if path and one.opname == "PUSH_NULL":
            continue
        if path:
            is_called = one.opname in ("PRECALL", "CALL") and one.arg == 0
            yield (*path, CALLED) if is_called else path
            path = ()
        if one.opname in _GLOBALS:
            path = (str(one.argval),)
        elif one.opname.startswith("LOAD_"):
            # Two loads in one instruction have two names; only the last can have attributes.
            names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
            known = [imported[n] for n in names if isinstance(n, str) and n in imported]
            is_local = one.opname.startswith(("LOAD_FAST", "LOAD_DEREF"))
            path = known[-1] if known and is_local else ()
        elif one.opname == "IMPORT_NAME":
            yield (f"import {one.argval}",)
        elif one.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield (f"set {one.argval}",)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _paths_of(constant, imported)


def _imported(every: list[dis.Instruction]) -> dict[str, tuple[str, ...]]:
    """Local names that import statements bind, and the paths of what they are bound to."""
    found: dict[str, tuple[str, ...]] = {}
    module: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    for before, one in zip([None, *every], every, strict=False):
        if one.opname == "IMPORT_NAME":
            name = str(one.argval)
            # Without a list of names the statement binds the first package.
            is_list = before is not None and before.argval is not None
            module = path = (_FROM + (name if is_list else name.partition(".")[0]),)
        elif one.opname == "IMPORT_FROM":
            path = (*module, str(one.argval))
        elif path and one.opname.startswith("STORE_"):
            found[str(one.argval)], path = path, module
        elif one.opname == "POP_TOP":
            path = ()
    return found
