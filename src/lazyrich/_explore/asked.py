"""The experiment of a request, and the same experiment as TOML, as Python and as a command."""

import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic

from .. import studies
from .._core.description import Choice
from .._core.errors import InputError
from .._core.toml import MAX_BYTES, parse_toml, writable
from ..experiments import Experiment
from ..records.transition import Thresholds
from ..tasks._array_task import AbstractArrayTask
from .job import Args, Place

# The largest number of changes, and of letters in one. An experiment has some sixty keys.
_MOST_CHANGES, _MOST_LETTERS = 100, 10_000


class OwnText(Args):
    """A TOML document from the page."""

    toml: Annotated[str, pydantic.Field(max_length=MAX_BYTES)]


class Asked(Args):
    """An experiment: a panel's name, `file` for that of the command, or a text; and changes."""

    base: Annotated[str, pydantic.Field(max_length=200)] | OwnText
    changes: dict[str, Any] = pydantic.Field(default_factory=dict)

    @pydantic.field_validator("changes")
    @classmethod
    def _small(cls, changes: dict[str, Any]) -> dict[str, Any]:
        if len(changes) > _MOST_CHANGES:
            raise InputError("changes", len(changes), f"should be at most {_MOST_CHANGES}")
        for key, value in changes.items():
            if value is None or len(json.dumps(value)) > _MOST_LETTERS:
                raise InputError(key, value, "should be a number, a word, a flag or a short list")
        return changes


@dataclass(frozen=True)
class Found:
    """An experiment with what belongs to it.

    - `base`, the experiment before the changes; `thresholds`, by which its runs are judged.
    - `source`, how the command line names it; `file`, the TOML file of the command, if it is that;
        `is_text`, whether it is a text of the page, which has to be saved as `source` first.
    """

    experiment: Experiment
    base: Experiment
    thresholds: Thresholds
    source: str
    changes: dict[str, Any]
    file: Path | None = None
    is_text: bool = False

    @property
    def run(self) -> str:
        """The identifier of the run: 64 hexadecimal digits."""
        parts = [self.experiment.content_hash, self.experiment.description]
        parts += [json.dumps(self.thresholds.table())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def find(asked: Asked, place: Place) -> Found:
    """The experiment that is asked for.

    - **Raises** [`InputError`][lazyrich.InputError] for an unknown one, for text or changes that
        name files, and for changes that are not accepted.
    """
    _check_names_no_file(asked.changes)
    base, changes = asked.base, asked.changes
    if isinstance(base, OwnText):
        read = _from_text(base.toml)
        made = read.with_changes(changes)
        return Found(
            made, read, Thresholds(), f"{file_name(made.name)}.toml", changes, is_text=True
        )
    if base == "file":
        if place.source is None or not place.source.endswith(".toml"):
            accepted = "needs a TOML file: start lazyrich explore FILE.toml"
            raise InputError("base", base, accepted)
        file = Path(place.source)
        read = Experiment.load(file)
        # Changes of a task with a file decide how its data are read, so they are made in reading.
        made = Experiment.load(file, changes) if changes else read
        return Found(made, read, Thresholds(), str(file), changes, file)
    read = studies.load(base)
    return Found(read.with_changes(changes), read, studies.thresholds(base), base, changes)


def _from_text(text: str) -> Experiment:
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise InputError("toml", "the file", f"is not valid TOML: {error}") from None
    _check_names_no_file(table)
    return Experiment.from_table(table)


# Keys whose value names a file or a folder.
_OF_FILES = ("path", "folder")


def _check_names_no_file(table: dict[str, Any]) -> None:
    """Refuses the names of files in text from the page."""
    task = table.get("task")
    inner = task if isinstance(task, dict) else {}
    named = {f"task.{key}": value for key, value in inner.items()} | table
    for key in (f"task.{name}" for name in _OF_FILES):
        if key in named:
            accepted = (
                "the page cannot name files: start lazyrich explore FILE.toml with this experiment"
            )
            raise InputError(key, named[key], accepted)


def toml_of(found: Found) -> str:
    """The experiment as TOML that loads to the same experiment, in any folder."""
    if not isinstance(found.experiment.task, AbstractArrayTask):
        return found.experiment.to_toml()
    assert found.file is not None  # text from the page names no arrays
    table = parse_toml(found.file.read_text(encoding="utf-8"))
    task = {**table.get("task", {}), "path": str(found.file.parent / table["task"]["path"])}
    task |= {k.removeprefix("task."): v for k, v in found.changes.items() if k.startswith("task.")}
    import tomli_w

    rest = parse_toml(found.experiment.to_toml())
    task["path"] = str(Path(task["path"]).resolve())
    return tomli_w.dumps(writable({**rest, "task": task}))


def python_of(found: Found) -> str:
    """Python that forecasts, runs and draws the same experiment."""
    changes = _python_table(found.changes)
    thresholds = ""
    lines = ["import lazyrich as lr", ""]
    if found.file is not None:
        read = f"lr.Experiment.load({str(found.file.resolve())!r}{', changes' if changes else ''})"
    elif not found.is_text:
        read = f"lr.studies.load({found.source!r})"
        read += ".with_changes(changes)" if changes else ""
        thresholds = f", thresholds=lr.studies.thresholds({found.source!r})"
    else:
        lines = ["from pathlib import Path", "", *lines, f"toml = {_quoted(toml_of(found))}"]
        read, changes = "lr.Experiment.from_toml(toml, Path())", ""
    if changes:
        lines.append(f"changes = {changes}")
    lines += [
        f"experiment = {read}",
        f"forecast = lr.forecast(experiment{thresholds})",
        "print(forecast)",
        "",
        "record = lr.simulate(experiment, progress=True)",
        f"print(lr.transition(record{thresholds}))",
        'lr.plot.run(record, forecast).savefig("run.pdf")',
    ]
    return "\n".join(lines) + "\n"


def command_of(found: Found) -> str:
    """The command that runs the same experiment."""
    words = ["lazyrich", "run", found.source]
    if found.is_text:
        return shlex.join(words)  # the saved file has the changes in it
    for key, value in found.changes.items():
        words += ["--set", f"{key}={_inline(value)}"]
    return shlex.join(words)


def file_name(name: str) -> str:
    """The name of an experiment as that of a file that is saved, without its ending."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".-")
    return kept[:80] or "experiment"


def _python_table(changes: dict[str, Any]) -> str:
    if not changes:
        return ""
    lines = [f"    {key!r}: {value!r}," for key, value in changes.items()]
    return "\n".join(["{", *lines, "}"])


def _quoted(text: str) -> str:
    plain = '"""' not in text and "\\" not in text and not text.endswith('"')
    return f'"""\n{text}"""' if plain else repr(text)


def _inline(value: Any) -> str:
    """A value of JSON as TOML on one line."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items())
        return f"{{{pairs}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key)


def null_control(experiment: Experiment) -> dict[str, Any]:
    """The change that makes labels independent of the inputs, or why there is none."""
    found = experiment.task.null_control()
    if found is None:
        task = experiment.task.kind_name()
        why = f"{task} has no version with random labels, so there is no null control."
        return {"possible": False, "why": why, "changes": {}}
    if not found:
        why = "The labels of this experiment are random: it is a null control."
        return {"possible": False, "why": why, "changes": {}}
    why = "The same experiment with random labels, in which nothing can be learned about test data."
    changes = {f"task.{key}": value for key, value in found.items()}
    return {"possible": True, "why": why, "changes": changes}


def kind_of(value: Any) -> str:
    """The name of the kind of a part of an experiment."""
    assert isinstance(value, Choice)
    return value.kind_name()
