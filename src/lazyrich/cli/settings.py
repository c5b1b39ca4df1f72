"""Naming an experiment on the command line, and changing it."""

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._errors import InputError

if TYPE_CHECKING:
    from .._experiment import Experiment

# Everything that brings in JAX is imported inside the functions: `--help` should be instant.

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a field; repeatable."),
]

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Where a task's files are, such as MNIST's."),
]

Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes [as many as cores]; 0: this one.")
]
Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Of a dask scheduler to use.")
]


def resolve(name: str, settings: list[str]) -> "Experiment":
    """The experiment of a panel's name or a TOML file, with settings `KEY=VALUE` made."""
    from .. import studies
    from .._experiment import Experiment

    described = Experiment.load(name) if name.endswith(".toml") else studies.load(name)
    changes = dict(_parse_setting(setting) for setting in settings)
    return described.with_changes(changes)


def on_data(described: "Experiment", data: Path | None) -> "Experiment":
    """The experiment on data from files, if a folder of them is given."""
    if data is None:
        return described
    found = described.with_data(data)
    if found is None:
        accepted = f"is for tasks that read files: Images, not {type(described.task).__name__}"
        raise InputError("--data", str(data), accepted)
    return found


def resolve_row(name: str, row: int | None) -> tuple[list["Experiment"], int]:
    """The experiments of a batch's file, and which is meant; threads and flags are set as then.

    Only what JAX has not read yet takes effect, so this comes before anything is computed.
    """
    from .._execution import rerun
    from .._store import Damaged, from_bytes

    path = Path(name)
    try:
        results = from_bytes(path.read_bytes())
    except (OSError, Damaged) as error:
        raise InputError("experiment", name, f"should be a batch's file ({error})") from None
    if row is None or row >= len(results.hashes):
        accepted = f"should be a row of the file, from 0 to {len(results.hashes) - 1}"
        raise InputError("--row", row, accepted)
    os.environ.update(results.about["environment"])
    return rerun(results, path.parent.parent / "sweeps"), row


def _parse_setting(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise InputError("--set", setting, "should be KEY=VALUE, such as task.n=64")
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key, text  # a bare word is a string
