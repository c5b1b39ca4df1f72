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


def statements_in(function: types.FunctionType) -> list[str]:
    """The statements of a function that import something or set a global name."""
    every = {path[0] for path in _paths(function.__code__)}
    return sorted(name for name in every if name.startswith(_STATEMENTS))


def names_in(function: types.FunctionType) -> tuple[dict[str, Any], list[str]]:
    """What a function uses from outside of it, and which of these it calls without an argument.

    Both by dotted names. What it imports itself is imported, so that the answer is the same before
    and after its first call.
    """
    found: dict[str, Any] = {}
    called: list[str] = []
    for path in sorted(set(_paths(function.__code__))):
        first, *rest = path
        if first.startswith(_STATEMENTS):
            continue
        ends_called = rest[-1:] == [CALLED]
        rest = rest[:-1] if ends_called else rest
        thing = _outer(function, first)
        done = first.removeprefix(_FROM)
        while rest and isinstance(thing, types.ModuleType):
            part = _part(thing, rest[0], first.startswith(_FROM))
            if part is _MISSING:
                break
            done, thing, rest = f"{done}.{rest[0]}", part, rest[1:]
        if thing is not _MISSING:
            found[done] = thing
            called += [done] if ends_called and not rest else []
    return found, called


_MISSING = object()


def _outer(function: types.FunctionType, name: str) -> Any:
    """The value of a global, a builtin, or a module that the function imports."""
    if name.startswith(_FROM):
        return _module(name.removeprefix(_FROM))
    if name in function.__globals__:
        return function.__globals__[name]
    builtins = function.__globals__.get("__builtins__", {})
    builtins = vars(builtins) if isinstance(builtins, types.ModuleType) else builtins
    return builtins.get(name, _MISSING)  # it may be defined later


def _part(module: types.ModuleType, name: str, is_imported: bool) -> Any:
    """An attribute of a module, or a module in it that the function imports."""
    if hasattr(module, name):
        return getattr(module, name)
    return _module(f"{module.__name__}.{name}") if is_imported else _MISSING


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception:  # what a module does when it is imported is its own
        return _MISSING


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
_STATEMENTS = ("import ", "set ")


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
    for place, one in enumerate(every):
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
            yield (f"import {_imported_name(every, place)}",)
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
    for place, one in enumerate(every):
        if one.opname == "IMPORT_NAME":
            name = _imported_name(every, place)
            # Without a list of names the statement binds the first package.
            is_list = every[place - 1].argval is not None
            module = path = (_FROM + (name if is_list else name.partition(".")[0]),)
        elif one.opname == "IMPORT_FROM":
            path = (*module, str(one.argval))
        elif path and one.opname.startswith("STORE_"):
            found[str(one.argval)], path = path, module
        elif one.opname == "POP_TOP":
            path = ()
    return found


def _imported_name(every: list[dis.Instruction], place: int) -> str:
    """The module of an import statement, with a dot for each level of a relative one."""
    return "." * int(every[place - 2].argval) + str(every[place].argval)
