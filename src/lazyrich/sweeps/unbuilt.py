"""An experiment in a file that cannot be built here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from .._core.description import Choice
from .._core.errors import InputError
from .._core.keys import at_key, dotted
from ..experiments.experiment import Experiment

_FIELDS = frozenset(Experiment.model_fields)


class Unbuilt(Experiment):
    """The tables of an experiment in a file, and the reason `why` it cannot be built.

    The numbers of its runs can be read. Everything that needs the experiment itself raises `why`.
    """

    description_table: dict[str, Any]
    why: InputError

    @classmethod
    def of(cls, description_table: dict[str, Any], why: InputError) -> "Unbuilt":
        """The object without a check of the experiment's fields, which do not exist."""
        fields: dict[str, Any] = {"description_table": description_table, "why": why}
        return cls.model_construct(**fields)

    def model_post_init(self, context: object) -> None:
        del context

    def __getattribute__(self, name: str) -> Any:
        if name in _FIELDS:
            raise super().__getattribute__("why")
        return super().__getattribute__(name)

    @property
    def description(self) -> str:
        return tomli_w.dumps(self.description_table)

    @property
    def content_hash(self) -> str:
        raise self.why

    def with_changes(self, changes: Mapping[str, Any], folder: Path | None = None) -> Experiment:
        del changes, folder
        raise self.why

    def value(self, key: str) -> Any:
        found = at_key(self.description_table, key)
        if found is None:
            raise InputError(key, None, "is not in the description")
        return found

    def keys(self) -> list[str]:
        return dotted(
            {key: item for key, item in self.description_table.items() if key != "published"}
        )


def lost(description_table: dict[str, Any], points: Any, error: InputError) -> InputError | None:
    """Why an experiment that existed elsewhere cannot be built here; None if it never existed.

    - **Takes** `points` of the axes that vary it; `error`, raised by the attempt to build it.
    """
    for kind in [*_kinds(description_table), *_kinds(points)]:
        if not any(kind in place.kinds for place in Choice.__subclasses__()):
            accepted = (
                "is not a built-in kind, and it is not defined here: import the module that "
                "defines it and open the store again"
            )
            return InputError("kind", kind, accepted)
    value = error.value
    if isinstance(value, str) and "." in value:
        accepted = "is your own function, which a file cannot contain: pass the experiment itself"
        return InputError(error.key, value, accepted)
    return None


def _kinds(value: Any) -> list[str]:
    """The names of all kinds in tables, at any depth."""
    if isinstance(value, dict):
        own = [value["kind"]] if isinstance(value.get("kind"), str) else []
        return own + [kind for item in value.values() for kind in _kinds(item)]
    if isinstance(value, list | tuple):
        return [kind for item in value for kind in _kinds(item)]
    return []


def classes(value: Any) -> list[type[Any]]:
    """The classes of all kinds in tables."""
    named = set(_kinds(value))
    places = Choice.__subclasses__()
    found = (place.kinds[kind] for kind in sorted(named) for place in places if kind in place.kinds)
    return list(found)
