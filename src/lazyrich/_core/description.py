"""Frozen, validated descriptions, the parts of experiments."""

import inspect
import re
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, get_args, get_origin

import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from .errors import InputError, did_you_mean

_Member = TypeVar("_Member", bound="Choice")


class Description(pydantic.BaseModel):
    """A frozen set of validated fields, equal and hashed by content.

    Objects with arrays are `eqx.Module`s. A description is not, because it comes from a file or
    a command line: every field must be checked against its annotation, and an error must name the
    key.

    - **Raises** [`InputError`][lazyrich.InputError] if a field is unknown, missing, of the wrong
        type or out of range.
    """

    incidental: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where data come from, and do not change what is computed."""

    not_offered: ClassVar[tuple[str, ...]] = ()
    """Fields that messages on an unknown key do not name."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
    )

    @classmethod
    def offered(cls) -> list[str]:
        """The fields that messages on an unknown key name."""
        return [name for name in cls.model_fields if name not in cls.not_offered]

    def __init__(self, *args: Any, **fields: Any):
        if args:
            kind, names = type(self).__name__, list(type(self).model_fields)
            some = f"{kind}({names[0]}=...)" if names else f"{kind}()"
            accepted = f"give fields by name, such as {some}; the fields are {', '.join(names)}"
            given = f"{len(args)} without a name"
            raise InputError(kind, given, accepted if names else f"{some} has no fields")
        for name, field in type(self).model_fields.items():
            if name in fields:
                fields[name] = _from_file(name, fields[name], field.annotation)
        try:
            super().__init__(**fields)
        except pydantic.ValidationError as error:
            raise _first_problem(error, type(self)) from None

    @classmethod
    def kind_name(cls) -> str:
        """The name of the class in files and messages."""
        return cls.__name__

    @classmethod
    def file_keys(cls) -> list[str]:
        """The keys that a file or a command line may set; keys of an inner table are dotted."""
        return [key for name, field in cls.model_fields.items() for key in _keys_in(name, field)]

    def revision(self) -> dict[str, Any]:
        """Additional entries for the content hash, if fields had another meaning earlier."""
        return {}

    def table(self) -> dict[str, Any]:
        """The fields as plain values, including defaults; fields that are None are left out."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: value.table() if isinstance(value, Description) else value
            for name, value in fields.items()
            if value is not None
        }


class Choice(Description):
    """One of several descriptions that can be the value of a field.

    In a file it is a table whose `kind` is the class's `kind_name`. Each direct subclass of
    `Choice` is a family, and its final subclasses are the members. Members that are `derived` are
    made from other members during a run, and never described. A field whose annotation is a family
    also accepts the table.
    """

    kinds: ClassVar[dict[str, type[Any]]]
    derived: ClassVar[bool] = False
    own_code: ClassVar[str] = ""
    """How to give a member that is code, because a file cannot; empty for other members."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if Choice in cls.__bases__:
            cls.kinds = {}
        elif not inspect.isabstract(cls) and not cls.derived:
            name = cls.kind_name()
            known = cls.kinds.get(name)
            # A class that is defined again in its place, as in a notebook cell, replaces the old.
            if known is not None and _defined(known) != _defined(cls):
                accepted = f"is already the name of a kind, {_defined(known)}: use another name"
                raise InputError("class", name, accepted)
            cls.kinds[name] = cls

    @classmethod
    def file_keys(cls) -> list[str]:
        return [] if cls.own_code else super().file_keys()

    def table(self) -> dict[str, Any]:
        return {"kind": self.kind_name(), **super().table()}

    @classmethod
    def from_table(cls: type[_Member], table: Any, key: str) -> _Member:
        """Builds the member named by `table["kind"]`; `key` is the key of `table`."""
        if not isinstance(table, dict):
            raise InputError(key, table, f"should be {cls.advice(table, key)}")
        fields = dict(table)
        kind = fields.pop("kind", None)
        if not isinstance(kind, str) or kind not in cls.kinds:
            near = did_you_mean(kind, cls.kinds) if isinstance(kind, str) else ""
            accepted = f"should be one of {', '.join(sorted(cls.kinds))}{near}"
            raise InputError(f"{key}.kind", kind, accepted)
        try:
            return cls.kinds[kind](**fields)
        except InputError as error:
            raise error.under(key) from None

    @classmethod
    def advice(cls, value: Any, key: str) -> str:
        """What to write instead of a value that is neither a member nor a table."""
        place = f"lazyrich.{_NAMESPACES.get(key, key)}"
        if isinstance(value, type) and issubclass(value, cls):
            return f"called, {value.__name__}(...)"
        if isinstance(value, str) and value in cls.kinds:
            return (
                f'a table with a `kind`, {{"kind": "{value}"}}, or {place}.{value}(...); on the '
                f"command line {key}.kind={value}"
            )
        known = ", ".join(sorted(cls.kinds))
        return f"a table with a `kind` among {known}, or one of them from {place}"


def small_letters(name: str) -> str:
    """A class's name in lower case, with underscores between words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# The packages with the kinds for a key.
_NAMESPACES = {"task": "tasks", "model": "models", "loss": "losses"}


def _defined(kind: type[Any]) -> str:
    """The module and name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _from_file(name: str, value: Any, annotation: Any) -> Any:
    """A field's value, where a file may have a table for a member or a list for a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, Choice):
        is_choice = isinstance(value, annotation)
        return value if is_choice else annotation.from_table(value, name)
    if _wants_numbers(annotation):
        value = plain(value)
    if get_origin(annotation) is tuple and isinstance(value, list):
        return tuple(value)
    return value


def _keys_in(name: str, field: Any) -> list[str]:
    """The keys of a field: one key, or those of the description in the field."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Choice):
            return [f"{name}.kind"]
        if isinstance(kind, type) and issubclass(kind, Description):
            return [f"{name}.{key}" for key in kind.file_keys()]
    return [name]


def _wants_numbers(annotation: Any) -> bool:
    """Whether a field, or a tuple in a field, can contain a number or a bool."""
    return annotation in (bool, int, float) or any(map(_wants_numbers, get_args(annotation)))


def plain(value: Any) -> Any:
    """Scalars and arrays of NumPy and JAX as Python's numbers and lists, also inside containers.

    Every floating type becomes `float`, which is exact for types up to float64.
    """
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        floating = jnp.issubdtype(array.dtype, jnp.floating)
        return (array.astype(np.float64) if floating else array).tolist()
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value)) if type(value) in (tuple, list) else value
    return value


def described_function(function: Callable[..., Any]) -> str:
    """The module and name of a user's function, as far as they are known."""
    module = inspect.getmodule(function)
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{module.__name__ if module else '?'}.{name}"


def unknown_key(key: str, value: Any, accepted: list[str]) -> InputError:
    """The error for an unknown key."""
    near = did_you_mean(key.rsplit(".", 1)[-1], accepted)
    known = f"accepted are {', '.join(accepted)}" if accepted else "no key is accepted here"
    return InputError(key, value, f"unknown key{near}; {known}")


def _first_problem(error: pydantic.ValidationError, cls: type[Description]) -> InputError:
    problems = error.errors()
    # A key that is missing is often one that was given by another name.
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    problem = (unknown or problems)[0]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return cause
    key = ".".join(str(part) for part in problem["loc"]) or cls.__name__
    value = problem["input"]
    if problem["type"] == "extra_forbidden":
        return unknown_key(key, value, cls.offered())
    if problem["type"] == "missing":
        return InputError(key, None, f"missing; {cls.kind_name()} needs it")
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return InputError(key, value, message)
