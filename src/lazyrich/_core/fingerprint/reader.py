"""Reads a value and everything that it refers to, by content and not by name."""

import collections.abc
import copyreg
import dataclasses
import enum
import functools
import hashlib
import io
import random
import sys
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from .code import attributes_in, has_docstring, names_in, statements_in
from .libraries import is_findable, module_of, name_of, version_of
from .members import COPIED, attributes, counts, is_own_data, own_kind, plain, state_of
from .outside import HIDDEN, Methods, outside_value, refused, unseeded


def fingerprint(value: Any, key: str) -> str:
    """SHA-256 in hexadecimal, the same for equal contents in every process.

    - **Takes** any value: numbers, strings, containers, arrays, functions with everything they
        refer to (closures, defaults, constants, globals), classes, and instances with their fields.
        Objects of an installed library are identified by name and version of the library.
    - **Raises** [`InputError`][lazyrich.InputError] under `key` for values without permanent
        content: open files, iterators, random states, modules passed as values.
    """
    reader = _Reader(key)
    digest = reader.digest(value)
    if (found := reader.methods.found()) is not None:
        raise InputError(key, *found)
    return digest.hex()


class _Reader:
    """One traversal of a value and of everything that it refers to."""

    def __init__(self, key: str):
        self._key = key
        self._open: dict[int, int] = {}  # depth of objects being read, by identity
        self._done: dict[int, bytes] = {}
        self._kept: list[Any] = []  # keeps objects alive, so that identities stay unique
        self._where: list[str] = []
        self.methods = Methods()

    def digest(self, value: Any) -> bytes:
        place = id(value)
        if place in self._done:
            return self._done[place]
        if place in self._open:  # a function that calls itself, a list that contains itself
            return _joined("again", str(self._open[place]).encode())
        self._open[place] = len(self._open)
        self._kept.append(value)
        try:
            found = self._read(value)
        except RecursionError:
            raise self._refusal(value, "is nested too deeply to be hashed") from None
        finally:
            del self._open[place]
        self._done[place] = found
        return found

    def _all(self, tag: str, *values: Any) -> bytes:
        return _joined(tag, *map(self.digest, values))

    def _refusal(self, value: Any, accepted: str) -> InputError:
        return InputError(self._key, value, f"{accepted}{self._place}")

    @property
    def _place(self) -> str:
        return f" (in {' > '.join(self._where)})" if self._where else ""

    def _read(self, value: Any) -> bytes:
        if name := outside_value(value):
            raise self._refusal(name, "is outside data: keep what it needs in a field")
        self.methods.meet(value)
        for test, read in (
            (is_own_data, self._own_data),
            (_is_plain, self._plain),
            (_is_array, self._array),
            (_is_container, self._container),
            (callable, self._callable),
        ):
            if test(value):
                return read(value)
        return self._instance(value)

    # --- Data. ---

    def _own_data(self, value: Any) -> bytes:
        fields, content = self._fields(state_of(value) or {}), plain(value)
        if isinstance(content, list) and not fields:
            return self._all("sequence", type(value), *content)
        return self._all("own data", type(value), content, fields)

    @staticmethod
    def _fields(state: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in state.items() if k not in COPIED}

    def _plain(self, value: Any) -> bytes:  # noqa: PLR0911
        if isinstance(value, enum.Enum):
            return self._all("enum", type(value), value.name)
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, str):
            return _joined("str", value.encode("utf-8", "surrogatepass"))
        if isinstance(value, bytes | bytearray):
            return _joined("bytes", bytes(value))
        if isinstance(value, int | float | complex | range):
            return _joined(type(value).__name__, repr(value).encode())
        if isinstance(value, slice):
            return self._all("slice", value.start, value.stop, value.step)
        return _joined("only one", type(value).__name__.encode())

    def _array(self, value: Any) -> bytes:
        if isinstance(value, jax.core.Tracer):
            raise self._refusal(type(value).__name__, "is a traced value of a compiled function")
        kind = "numpy" if isinstance(value, np.ndarray | np.generic) else "jax"
        if kind == "jax" and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return self._all("key", str(value.dtype), jax.random.key_data(value))
        weak = getattr(value, "weak_type", False)
        array = np.asarray(value)
        if array.dtype.hasobject:
            content = self._all("list", *array.ravel().tolist())
        else:
            content = np.ascontiguousarray(array).tobytes()
        about = f"{array.dtype.str} {array.dtype.name} {array.shape} {weak}"
        return _joined(f"{kind} array", about.encode(), content)

    def _container(self, value: Any) -> bytes:
        if isinstance(value, collections.abc.Mapping):
            pairs = sorted(self._all("pair", k, v) for k, v in value.items())
            extra = getattr(value, "default_factory", None)
            return _joined("dict", self.digest(extra), *pairs)
        if isinstance(value, set | frozenset):
            return _joined("set", *sorted(map(self.digest, value)))
        tag = type(value).__name__ if type(value) in (list, tuple) else "sequence"
        own = [] if type(value) in (list, tuple) else [type(value)]
        return self._all(tag, *own, *value)

    # --- Callables. ---

    def _callable(self, value: Any) -> bytes:
        name = name_of(value)
        library = version_of(module_of(value))
        if library is not None and (accepted := refused(name, value)):
            raise self._refusal(name, accepted)
        owner = getattr(value, "__self__", None)
        if isinstance(owner, np.random.RandomState | np.random.Generator | random.Random):
            raise self._refusal(name, HIDDEN)
        if library is not None and is_findable(value):
            return _joined("library", name.encode(), library.encode())
        if isinstance(value, type):
            return self._class(value)
        self._where.append(getattr(value, "__name__", type(value).__name__))
        try:
            return self._called(value)
        finally:
            self._where.pop()

    def _called(self, value: Any) -> bytes:  # noqa: PLR0911
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, functools.partial):
            own = [*own_kind(value), self._fields(vars(value))] if own_kind(value) else []
            return self._all("partial", value.func, value.args, value.keywords, *own)
        if isinstance(value, types.MethodType | types.BuiltinFunctionType):
            self.methods.use(value.__name__, self._place)
        if isinstance(value, types.MethodType):
            return self._all("method", value.__func__, value.__self__)
        if isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            return self._all("builtin", value.__name__, value.__self__)
        if isinstance(value, np.ufunc):
            name = str(value.__name__)
            for module in ("numpy", "scipy.special"):
                if getattr(sys.modules.get(module), name, None) is value:
                    return _joined("ufunc", f"{module}.{name} {version_of(module)}".encode())
            accepted = "is a ufunc made from a function, and cannot be read: pass the function"
            raise self._refusal(name, accepted)
        wrapped = getattr(value, "__wrapped__", None)
        # Compiled or cached functions compute the same as the plain function.
        if wrapped is not None and type(value).__module__.startswith(("jaxlib", "functools")):
            return self.digest(wrapped)
        return self._instance(value)

    def _function(self, value: types.FunctionType) -> bytes:
        # Not by __module__, which a decorator copies from the wrapped function.
        library = version_of(str(value.__globals__.get("__name__")))
        cells = []
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not set yet
                continue
            if name != "__class__":  # used by super(); the class is read separately
                cells.append((name, content))
        # Functions of a library are identified by the version of the library.
        outside = [] if library is not None else list(self._globals(value))
        return _joined(
            "function",
            (library or "").encode(),
            self._code(value.__code__),
            *map(self.digest, (value.__defaults__, value.__kwdefaults__, attributes(value))),
            *(_joined(name, self.digest(content)) for name, content in cells),
            *(_joined(name, self._named(name, content)) for name, content in outside),
        )

    def _named(self, name: str, content: Any) -> bytes:
        self._where.append(name)
        try:
            return self.digest(content)
        finally:
            self._where.pop()

    def _code(self, code: types.CodeType) -> bytes:
        numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        num_arguments = code.co_argcount + code.co_kwonlyargcount
        names = (code.co_varnames[:num_arguments], code.co_names, code.co_freevars)
        constants = list(code.co_consts)
        if has_docstring(code):  # not part of the computation
            constants[0] = None
        return _joined(
            "code",
            code.co_code,
            getattr(code, "co_exceptiontable", b""),
            self.digest((numbers, names)),
            *map(self.digest, constants),
        )

    def _globals(self, value: types.FunctionType) -> Iterator[tuple[str, Any]]:
        """Values outside of a function, with the names by which it uses them."""
        for statement in statements_in(value):
            self._check_statement(statement)
        found, called = names_in(value)
        for name in called:
            if callable(found[name]) and unseeded(name_of(found[name])):
                raise self._refusal(name, HIDDEN)
        for name in attributes_in(value.__code__):
            self.methods.use(name, self._place)
        yield from sorted(found.items())

    def _check_statement(self, statement: str) -> None:
        word, _, name = statement.partition(" ")
        if word == "set":
            accepted = f"changes the global {name}: return what it computes instead"
            raise self._refusal(self._where[-1], accepted)
        if version_of(name) is None:
            accepted = f"imports {name} when it is called: import it at the top of the file"
            raise self._refusal(self._where[-1], accepted)

    # --- Classes and instances. ---

    def _class(self, kind: type) -> bytes:
        self._where.append(kind.__name__)
        try:
            parts = [self.digest(base) for base in kind.__bases__ if base is not object]
            parts += map(self.digest, own_kind(kind))  # a metaclass
            for name, member in sorted(vars(kind).items()):
                if not counts(kind, name, member):
                    continue
                parts.append(_joined(name, self._member(member)))
            for field in getattr(kind, "__dataclass_fields__", {}).values():
                # The default of a field can be a member of the class, such as a property.
                made = (field.default_factory, field.init, dict(field.metadata))
                named, given = self.digest(field.name), self._member(field.default)
                parts.append(_joined("field", named, given, *map(self.digest, made)))
            for name, field in sorted(getattr(kind, "__pydantic_fields__", {}).items()):
                default = () if field.is_required() else (field.default, field.default_factory)
                parts.append(self._all("field", name, *default))
            return _joined("class", kind.__name__.encode(), *parts)
        finally:
            self._where.pop()

    def _member(self, member: Any) -> bytes:
        if isinstance(member, staticmethod | classmethod):
            return self._all(type(member).__name__, member.__func__, *own_kind(member))
        if isinstance(member, property):
            return self._all("property", member.fget, *own_kind(member))
        if isinstance(member, functools.cached_property):
            return self._all("property", member.func, *own_kind(member))
        if isinstance(member, types.MemberDescriptorType | types.GetSetDescriptorType):
            return _joined("slot")
        return self.digest(member)

    def _instance(self, value: Any) -> bytes:
        kind = type(value)
        if isinstance(value, types.ModuleType):
            return self._module(value)
        if isinstance(value, np.random.RandomState | np.random.Generator | random.Random):
            accepted = "is a random state, which changes when it is used: use the given key"
            raise self._refusal(kind.__name__, accepted)
        if isinstance(value, collections.abc.Iterator | io.IOBase):
            accepted = "can be read only once: keep a list or an array of its values"
            raise self._refusal(kind.__name__, accepted)
        state = state_of(value)
        if state is not None:
            return self._all("instance", kind, self._fields(state))
        try:
            reduced = copyreg.dispatch_table.get(kind, lambda one: one.__reduce_ex__(4))(value)
        except Exception:
            reduced = None
        if isinstance(reduced, tuple) and isinstance(value, collections.abc.Hashable):
            return self._all("reduced", *reduced[:3], *(reduced[3] or ()) if reduced[3:4] else ())
        accepted = (
            "has no content that can be hashed, so two runs could not be distinguished: make it "
            "a number, an array, a function or an object with fields"
        )
        raise self._refusal(f"{kind.__module__}.{kind.__qualname__}", accepted)

    def _module(self, module: types.ModuleType) -> bytes:
        version = version_of(module.__name__)
        if version is None:
            accepted = "is your own module passed as a value: pass the functions that it needs"
            raise self._refusal(module.__name__, accepted)
        return _joined("module", module.__name__.encode(), version.encode())


def _joined(tag: str, *parts: bytes) -> bytes:
    """A digest of parts in order; no two different lists of parts are concatenated alike."""
    digest = hashlib.sha256()
    for part in (tag.encode(), *parts):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _is_plain(value: Any) -> bool:
    kinds = (str, bytes, bytearray, int, float, complex, range, slice, types.CodeType, enum.Enum)
    singletons = (None, Ellipsis, NotImplemented, dataclasses.MISSING)
    # By type: a pickled MISSING becomes another object.
    return isinstance(value, (*kinds, *map(type, singletons))) and not isinstance(value, np.generic)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic | jax.Array | jax.core.Tracer)


def _is_container(value: Any) -> bool:
    kinds = (list, tuple, set, frozenset, dict, types.MappingProxyType, collections.deque)
    return isinstance(value, kinds)
