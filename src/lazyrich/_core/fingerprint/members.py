"""The parts of functions, classes and instances that can change what they compute."""

import collections
import enum
import functools
import types
from typing import Any

import numpy as np

from .libraries import version_of

# Attributes of a class that are derived from other attributes, or that change during use.
_DERIVED = frozenset(
    {"__abstractmethods__", "__abstractvars__", "__abstractclassvars__", "__annotations__",
     "__annotate__", "__annotate_func__", "__annotations_cache__", "__class_getitem__",
     "__class_vars__", "__classcell__", "__custom_root_type__", "__dataclass_fields__",
     "__dataclass_params__", "__dict__", "__doc__", "__firstlineno__", "__match_args__",
     "__module__", "__orig_bases__", "__parameters__", "__private_attributes__", "__qualname__",
     "__signature__", "__slotnames__", "__static_attributes__", "__weakref__"}
)  # fmt: skip


# Attributes that decorators copy from the wrapped function. They do not compute anything.
COPIED = frozenset({"__annotations__", "__doc__", "__module__", "__name__", "__qualname__",
                     "__type_params__", "__wrapped__"})  # fmt: skip


def attributes(function: types.FunctionType) -> dict[str, Any]:
    """The attributes set on a function, except those that decorators copy."""
    return {k: v for k, v in vars(function).items() if k not in COPIED}


def counts(kind: type, name: str, member: Any) -> bool:
    """Whether an attribute of a class was written by the user and can change the results."""
    if name in _DERIVED or name.startswith(("__pydantic_", "_abc_", "__dataclass_")):
        return False
    if hasattr(kind, "__pydantic_fields__"):
        return name not in ("model_config", "__hash__")
    if hasattr(kind, "_fields") and issubclass(kind, tuple):
        return name not in _OF_NAMED_TUPLES
    params = getattr(kind, "__dataclass_params__", None)
    if params is None:
        return True
    return not (getattr(params, name.strip("_"), False) or name in _OF_DATACLASSES)


_OF_NAMED_TUPLES = frozenset({"__new__", "__repr__", "__getnewargs__", "__slots__", "_make",
                              "_replace", "_asdict", "__replace__"})  # fmt: skip


_OF_DATACLASSES = frozenset({"__hash__", "__setattr__", "__delattr__", "__lt__", "__le__",
                             "__gt__", "__ge__", "__replace__", "__getstate__", "__setstate__",
                             "__slots__"})  # fmt: skip


def state_of(value: Any) -> dict[str, Any] | None:
    """The fields of an instance by name; None if no fields are known."""
    kind = type(value)
    if isinstance(value, type):
        return None
    found: dict[str, Any] = {}
    slots = [s for k in kind.__mro__ for s in _slots(k)]
    for name in slots:
        if name not in ("__dict__", "__weakref__") and hasattr(value, name):
            found[name] = getattr(value, name)
    if hasattr(value, "__dict__"):
        caches = {
            name
            for base in kind.__mro__
            for name, member in vars(base).items()
            if isinstance(member, functools.cached_property)
        }
        found |= {k: v for k, v in vars(value).items() if k not in caches}
        private = getattr(value, "__pydantic_private__", None)
        found = {k: v for k, v in found.items() if not k.startswith("__pydantic_")}
        return found | ({"__private__": private} if private else {})
    # An empty object of a user's class is described by its class only.
    return found if slots or version_of(kind.__module__) is None else None


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def own_kind(value: Any) -> list[type]:
    """The class of an instance in a list; empty where the class belongs to a library."""
    return [type(value)] if version_of(type(value).__module__) is None else []


def is_own_data(value: Any) -> bool:
    """Whether the class of a number, text, container or array was written by the user."""
    is_data = isinstance(value, tuple(_PLAIN)) and not isinstance(value, enum.Enum)
    return is_data and bool(own_kind(value))


def plain(value: Any) -> Any:
    """The content of such an instance by the built-in type, whose methods nothing overrides."""
    return next(read(value) for base, read in _PLAIN.items() if isinstance(value, base))


# NumPy's scalars first: its float64 is a float too.
_PLAIN: dict[type, Any] = {
    np.generic: np.generic.__array__,
    np.ndarray: lambda value: np.ndarray.view(value, np.ndarray),
    str: str.__str__,
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    bytes: lambda value: bytes(bytes.__iter__(value)),
    bytearray: lambda value: bytes(bytearray.__iter__(value)),
    list: lambda value: [*list.__iter__(value)],
    tuple: lambda value: [*tuple.__iter__(value)],
    collections.deque: lambda value: [*collections.deque.__iter__(value)],
    set: lambda value: {*set.__iter__(value)},
    frozenset: lambda value: {*frozenset.__iter__(value)},
    collections.defaultdict: lambda value: collections.defaultdict(
        value.default_factory, dict.items(value)
    ),
    dict: lambda value: dict(dict.items(value)),
}
