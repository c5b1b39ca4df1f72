"""What the numbers of a run depend on, as nested tables of plain values."""

import json
from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax

from .._core.description import Description, described_function
from .._core.fingerprint import fingerprint, is_own, name_of
from ..probes import BUILT_IN, ON_REQUEST, AbstractProbe
from ..tasks.held import AbstractHeld

Met = list[tuple[Any, str]]
"""Things of the user's own that were met on the way, and the SHA-256 of what each computes."""


def explicit(value: Any, key: str, met: Met | None = None) -> Any:
    """Nested tables of what decides the numbers, without what has its default value.

    Of kinds of the user's own the code counts too, and every field: their defaults may change.

    - **Takes** `met`, a list to which things of the user's own are added.
    - **Raises** [`InputError`][lazyrich.InputError] under `key` for what cannot be hashed.
    """
    met = [] if met is None else met
    if isinstance(value, Description):
        return _described(value, key, met)
    if isinstance(value, AbstractProbe):
        return _probe(value, key, met)
    if isinstance(value, tuple | list):
        return [explicit(item, f"{key}[{place}]", met) for place, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: explicit(item, f"{key}.{name}", met) for name, item in value.items()}
    if value is None or type(value) in (bool, int, float, str):
        return value
    digest = fingerprint(value, key)
    met.append((value, digest))
    return [described_function(value) if callable(value) else type(value).__name__, digest]


def canonical(value: Any, key: str, met: Met | None = None) -> str:
    """The same as one line of text, equal for equal contents."""
    return json.dumps(explicit(value, key, met), sort_keys=True, separators=(",", ":"))


def _described(value: Description, key: str, met: Met) -> dict[str, Any]:
    own = is_own(type(value))
    if isinstance(value, AbstractHeld) and not own:
        return value.named(defaults=False)
    kept = {name: item for name, item in value.table().items() if name == "kind"}
    for name, field in type(value).model_fields.items():
        item = getattr(value, name)
        if name not in value.incidental and (own or field.is_required() or item != field.default):
            kept[name] = explicit(item, f"{key}.{name}" if key else name, met)
    if own:
        kept["code"] = _code(type(value), key, met)
    # What is set beside the fields, such as private attributes.
    private = getattr(value, "__pydantic_private__", None)
    kept |= value.revision()
    return kept | ({"private": fingerprint(private, key)} if private else {})


def _probe(value: AbstractProbe, key: str, met: Met) -> dict[str, Any]:
    said = {"probe": value.name, "type": name_of(type(value))}
    known = (BUILT_IN | ON_REQUEST).get(value.name)
    digest = fingerprint(value, key)
    if known is not None and digest == fingerprint(known, key):
        return said
    arrays, rest = eqx.partition(value, eqx.is_array)
    del arrays  # not compiled in
    met.append((jax.tree.structure(rest), fingerprint(rest, key)))
    return {**said, "content": digest}


def _code(kind: type, key: str, met: Met) -> str:
    digest = fingerprint(kind, key)
    met.append((kind, digest))
    return digest


_MAX_KNOWN = 1024

# What JAX may have compiled in, by the equality that JAX goes by.
_known: dict[Hashable, str] = {}


def forget_stale(met: Met) -> None:
    """Drops what has been compiled with things that are equal to these and compute otherwise.

    JAX compiles a function once for all arguments that are equal. A function whose global was
    set to another value, or an object whose `__eq__` leaves out a field, is equal and not the
    same: its old numbers would come back.
    """
    for thing, digest in met:
        try:
            known = _known.setdefault(thing, digest)
        except TypeError:  # cannot be compiled in
            continue
        if known != digest or len(_known) > _MAX_KNOWN:
            jax.clear_caches()
            _known.clear()
            _known[thing] = digest
