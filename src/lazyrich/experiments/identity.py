"""All that the numbers of a run depend on, as nested tables of plain values."""

import json
from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax

from .._core.description import Description, described_function
from .._core.errors import InputError
from .._core.fingerprint import fingerprint, is_own, is_own_data, name_of
from ..probes import BUILT_IN, ON_REQUEST, AbstractProbe
from ..tasks._array_task import AbstractArrayTask

# The first version recorded these by default; files that list them mean the default.
FIRST_DEFAULT_PROBES = (
    "train_loss", "test_loss", "train_log_loss", "test_log_loss", "train_accuracy",
    "test_accuracy", "param_norm", "weight_norm_l1", "weight_norm_l2", "margin_l1", "margin_l2",
    "nuclear_norm", "drift", "cosine_to_kernel", "cosine_to_rich", "distance_to_kernel",
    "distance_to_rich",
)  # fmt: skip

Met = list[tuple[Any, str]]
"""The user's own objects in a description, each with the SHA-256 of what it computes."""


def explicit(value: Any, key: str, own_objects: Met | None = None) -> Any:
    """Nested tables of everything that the numbers depend on, without default values.

    For the user's own kinds the tables include the code and every field, because their defaults
    may change.

    - **Takes** `own_objects`, a list to which the user's own objects are added.
    - **Raises** [`InputError`][lazyrich.InputError] under `key` for an object that cannot be
        hashed.
    """
    own_objects = [] if own_objects is None else own_objects
    if isinstance(value, Description):
        return _described(value, key, own_objects)
    if isinstance(value, AbstractProbe):
        return _probe(value, key, own_objects)
    # A subclass of the user's can compute from the same content otherwise, and the names of a named
    # tuple choose its values.
    plain = not is_own_data(value) and not hasattr(value, "_fields")
    if plain and isinstance(value, tuple | list):
        return [explicit(item, f"{key}[{place}]", own_objects) for place, item in enumerate(value)]
    if plain and isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: explicit(item, f"{key}.{name}", own_objects) for name, item in value.items()}
    if value is None or type(value) in (bool, int, float, str):
        return value
    digest = fingerprint(value, key)
    own_objects.append((value, digest))
    return [described_function(value) if callable(value) else type(value).__name__, digest]


def canonical(value: Any, key: str, own_objects: Met | None = None) -> str:
    """The result of `explicit` as one line of text, equal for equal contents."""
    return json.dumps(explicit(value, key, own_objects), sort_keys=True, separators=(",", ":"))


def _described(value: Description, key: str, own_objects: Met) -> dict[str, Any]:
    own = is_own(type(value))
    if isinstance(value, AbstractArrayTask) and not own:
        return value.named(defaults=False)
    kept = {name: item for name, item in value.table().items() if name == "kind"}
    for name, field in type(value).model_fields.items():
        item = getattr(value, name)
        if name not in value.incidental and (own or field.is_required() or item != field.default):
            kept[name] = explicit(item, f"{key}.{name}" if key else name, own_objects)
    if own:
        kept["code"] = _code(type(value), key, own_objects)
    # Values set in addition to the fields, such as private attributes.
    private = getattr(value, "__pydantic_private__", None)
    kept |= value.revision()
    return kept | ({"private": fingerprint(private, key)} if private else {})


def _probe(value: AbstractProbe, key: str, own_objects: Met) -> dict[str, Any]:
    said = {"probe": value.name, "type": name_of(type(value))}
    known = (BUILT_IN | ON_REQUEST).get(value.name)
    digest = fingerprint(value, key)
    if known is not None and digest == fingerprint(known, key):
        return said
    arrays, rest = eqx.partition(value, eqx.is_array)
    del arrays  # not part of the compiled code
    # JAX compares the structure and the leaves that are no arrays, such as a text.
    leaves = tuple((type(leaf), leaf) for leaf in jax.tree.leaves(rest))
    own_objects.append(((jax.tree.structure(rest), leaves), fingerprint(rest, key)))
    return {**said, "content": digest}


def _code(kind: type, key: str, own_objects: Met) -> str:
    digest = fingerprint(kind, key)
    own_objects.append((kind, digest))
    return digest


def check_distinct(own_objects: Met) -> None:
    """Refuses objects of one batch that are equal but compute different numbers.

    JAX would compile the code of the first and return its numbers for all.

    - **Raises** [`InputError`][lazyrich.InputError] if there are such objects.
    """
    known: dict[Hashable, str] = {}
    for thing, digest in own_objects:
        if _digest_of_equal(thing, digest, known) != digest:
            accepted = "equals another of the batch but computes otherwise: run them one by one"
            raise InputError("experiments", type(thing).__name__, accepted)


def _digest_of_equal(thing: Any, digest: str, known: dict[Hashable, str]) -> str:
    """The digest in `known` of an object that is equal to `thing`; that of `thing` if it is new."""
    try:
        return known.setdefault(thing, digest)
    except TypeError:  # not hashable, so JAX does not compile it in
        return digest


_MAX_KNOWN = 1024

# Objects that JAX may have compiled in, compared by the equality that JAX uses.
_known: dict[Hashable, str] = {}


def forget_stale(own_objects: Met) -> None:
    """Clears JAX's caches if they may hold code for an equal object that computes otherwise.

    JAX compiles a function once for all arguments that are equal. If the global variable of a
    function has a new value, or if the `__eq__` of an object ignores a field, two objects are equal
    but compute different numbers. JAX would then return the numbers of the first.
    """
    for thing, digest in own_objects:
        known = _digest_of_equal(thing, digest, _known)
        if known != digest or len(_known) > _MAX_KNOWN:
            jax.clear_caches()
            _known.clear()
            _known[thing] = digest
