"""Every kind of task, model, loss and dynamics, and the keys of `--set`, from the classes."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# `--help` should be fast, so it prints this file. `python mkdocs_tables.py` writes the file from
# the classes, and a test compares both.
KEYS_FILE = Path(__file__).with_name("keys.txt")
# What help says of keys.
KEYS = f"""{KEYS_FILE.read_text(encoding="utf-8")}\
  model.model.*      keys of the model inside of Doubled, Centred or Linearised

'lazyrich list --kinds' shows the defaults, and the names of probes."""

# The first letter of the second column, and the letters in a line.
_INDENT, _WIDTH = 21, 88

# The largest number of letters of a default. Digests of files are longer.
_MOST_SHOWN = 30


def keys_text() -> str:
    """The keys that `--set` takes, as `--help` shows them."""
    return "\n".join(line for name, entries in _keys() for line in _columns(name, entries)) + "\n"


def kinds_text() -> str:
    """Every kind with its keys and their defaults, and every probe by name."""
    from ..probes import BUILT_IN, ON_REQUEST

    lines: list[str] = []
    for name, place in _places():
        lines.append(f"{name}.kind")
        for kind in _kinds(place):
            words = ", ".join(_with_default(kind, key) for key in kind.file_keys())
            start = f"  {kind.kind_name()}"
            lines += _wrapped(f"{start}: {words or kind.own_code}".rstrip(": "), " " * 6)
    for title, probes in (("if none are named", BUILT_IN), ("on request", ON_REQUEST)):
        lines.append(f"probes, {title}")
        for probe in probes.values():
            lines += _wrapped(f"  {probe.name}: {probe.long_name}", " " * 6)
    return "\n".join(lines)


def _places() -> Iterator[tuple[str, Any]]:
    """The fields of an experiment whose value is one of several kinds."""
    from .._core.description import Choice
    from ..experiments import Experiment

    for name, field in Experiment.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Choice):
            yield name, field.annotation


def _kinds(place: Any) -> list[Any]:
    return [place.kinds[name] for name in sorted(place.kinds)]


def _keys() -> Iterator[tuple[str, list[str]]]:
    """Every field of an experiment that can be set, with one entry for each kind."""
    from .._core.description import Description
    from ..experiments import Experiment

    places = dict(_places())
    for name, field in Experiment.model_fields.items():
        kind = field.annotation
        if name in places:
            # The file has only the kinds of lazyrich; `list --kinds` also shows a user's kinds.
            own = [kind for kind in _kinds(places[name]) if kind.__module__.startswith("lazyrich.")]
            yield f"{name}.kind", [_entry(kind) for kind in own]
        elif field.description and isinstance(kind, type) and issubclass(kind, Description):
            yield f"{name}.*", [f"{', '.join(kind.file_keys())}: {field.description}"]
        elif field.description:
            yield name, [field.description]


def _entry(kind: Any) -> str:
    words = ", ".join(kind.file_keys()) or kind.own_code
    return f"{kind.kind_name()}: {words}" if words else str(kind.kind_name())


def _with_default(kind: Any, key: str) -> str:
    """A key, and its default if a file can contain the default."""
    field = kind.model_fields.get(key)
    default = None if field is None else field.get_default(call_default_factory=True)
    if not isinstance(default, bool | str | int | float | tuple):
        return key
    shown = json.dumps(default)
    return f"{key}={shown}" if len(shown) < _MOST_SHOWN else key


def _columns(name: str, entries: list[str]) -> list[str]:
    lines = [line for entry in entries for line in textwrap.wrap(
        entry, _WIDTH - _INDENT, subsequent_indent="  ", break_on_hyphens=False
    )]  # fmt: skip
    starts = [name] + [""] * (len(lines) - 1)
    return [f"  {start:<{_INDENT - 2}}{line}" for start, line in zip(starts, lines, strict=True)]


def _wrapped(words: str, indent: str) -> list[str]:
    return textwrap.wrap(words, _WIDTH, subsequent_indent=indent, break_on_hyphens=False)
