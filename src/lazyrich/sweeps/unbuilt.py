"""An experiment that a file describes and that cannot be made here."""

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
    """What a file `said` of an experiment, and `why` it cannot be made.

    It can be read, since the numbers of its runs are there; whatever needs the experiment itself
    raises `why`.
    """

    said: dict[str, Any]
    why: InputError

    @classmethod
    def of(cls, said: dict[str, Any], why: InputError) -> "Unbuilt":
        """Made without its fields being checked: there are none."""
        fields: dict[str, Any] = {"said": said, "why": why}
        return cls.model_construct(**fields)

    def model_post_init(self, context: object) -> None:
        del context

    def __getattribute__(self, name: str) -> Any:
        if name in _FIELDS:
            raise super().__getattribute__("why")
        return super().__getattribute__(name)

    @property
    def description(self) -> str:
        return tomli_w.dumps(self.said)

    @property
    def content_hash(self) -> str:
        raise self.why

    def with_changes(self, changes: Mapping[str, Any], folder: Path | None = None) -> Experiment:
        del changes, folder
        raise self.why

    def value(self, key: str) -> Any:
        found = at_key(self.said, key)
        if found is None:
            raise InputError(key, None, "is not in the description")
        return found

    def keys(self) -> list[str]:
        return dotted({key: item for key, item in self.said.items() if key != "published"})


def lost(said: dict[str, Any], points: Any, error: InputError) -> InputError | None:
    """Why a table cannot be made an experiment where it was one elsewhere; None if it never was.

    - **Takes** `points`, of the axes that vary it; `error`, what came of trying.
    """
    for kind in [*_kinds(said), *_kinds(points)]:
        if not any(kind in place.kinds for place in Choice.__subclasses__()):
            accepted = (
                "is a kind of someone's own that is not defined here: import the module that "
                "defines it and open the store again"
            )
            return InputError("kind", kind, accepted)
    value = error.value
    if isinstance(value, str) and "." in value:
        accepted = "is a function of your own, which no file holds: pass the experiment itself"
        return InputError(error.key, value, accepted)
    return None


def _kinds(value: Any) -> list[str]:
    """Every kind that tables name, at any depth."""
    if isinstance(value, dict):
        own = [value["kind"]] if isinstance(value.get("kind"), str) else []
        return own + [kind for item in value.values() for kind in _kinds(item)]
    if isinstance(value, list | tuple):
        return [kind for item in value for kind in _kinds(item)]
    return []


def classes(value: Any) -> list[type[Any]]:
    """The classes of every kind that tables name."""
    named = set(_kinds(value))
    places = Choice.__subclasses__()
    found = (place.kinds[kind] for kind in sorted(named) for place in places if kind in place.kinds)
    return list(found)
