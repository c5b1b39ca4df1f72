"""Experiments named and changed on the command line."""

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._core.errors import InputError
from .._core.files import contents
from .._core.toml import parse_toml

if TYPE_CHECKING:
    from ..experiments.experiment import Experiment
    from ..records.transition import Thresholds

# Modules that import JAX are imported inside the functions, because `--help` should be fast.

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a field, or add a probe by probes=+NAME; repeatable.",
    ),
]

# The beginning of a setting that adds probes to those of the experiment.
_ADD = "probes=+"

Threshold = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="KEY=VALUE",
        help="Use another threshold: train, test, train_loss, loss, delay, immediate, change, "
        "settled, sustained [those of the panel]; repeatable.",
    ),
]

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The folder of a task's files, such as MNIST's."),
]

Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes [one for each core]; 0: this one.")
]
Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="The address of a dask scheduler to use.")
]


KeepParams = Annotated[
    str,
    typer.Option(
        "--keep-params",
        metavar="end|T1,T2,...|N",
        help="Parameters in the record: at the end, and at these times or N recorded times.",
    ),
]


def kept_params(text: str) -> "bool | int | list[float]":
    """The argument `keep_params` of a run, read from the text of `--keep-params`."""
    if text == "end":
        return True
    try:
        if text.isdecimal() and text.isascii():
            return int(text)
        return [float(part) for part in text.removesuffix(",").split(",")]
    except ValueError:
        accepted = "should be end, times such as 1.0,2.5, or a number of recorded times such as 10"
        raise InputError("--keep-params", text, accepted) from None


def can_draw() -> bool:
    """Whether the extra `view` is installed."""
    return all(map(find_spec, ("matplotlib", "jinja2", "plotly")))


def resolve(name: str, settings: list[str]) -> "Experiment":
    """The experiment of a panel or a TOML file, with the settings `KEY=VALUE`."""
    from .. import studies
    from ..experiments.experiment import Experiment

    added = [text for text in settings if text.startswith(_ADD)]
    changes = dict(_parse_setting(setting) for setting in settings if setting not in added)
    replaced = {}
    if isinstance(named := changes.get("model"), str):
        # The user of the command line asks for this code; a file alone must not run code.
        replaced["model"] = own_model(changes.pop("model"))
        _check_left(named, changes)
    if name.endswith(".toml"):
        found = Experiment.load(name, changes, **replaced)
    else:
        found = studies.load(name).with_changes(replaced).with_changes(changes, Path())
    probes = [probe for text in added for probe in text.removeprefix(_ADD).split(",")]
    if not probes:
        return found
    return found.with_changes({"probes": [*dict.fromkeys([*found.probes, *probes])]})


def own_model(named: str) -> Any:
    """The model that a user's function returns, named `module:function`.

    - **Returns** the result of calling the function without arguments: a model, or a pair of
        functions `(init_params, function)`.
    - **Raises** [`InputError`][lazyrich.InputError] if it cannot be imported or called.
    """
    from ..models import Functions

    module, colon, function = named.partition(":")
    parts = [*module.split("."), function]
    if not colon or not all(part.isidentifier() for part in parts):
        accepted = (
            "should be module:function, a function of yours that returns a model; for a built-in "
            f"model use model.kind={named}"
        )
        raise InputError("model", named, accepted)
    try:
        with _own_code():
            found = getattr(_module(module), function)()
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        accepted = f"should be a function without arguments in a module of this folder ({words})"
        raise InputError("model", named, accepted) from None
    if isinstance(found, tuple) and len(found) == 2 and all(map(callable, found)):
        return Functions(init_params=found[0], function=found[1])
    return found


def import_own(module: str) -> None:
    """Imports a user's module, so that files can name its kinds.

    - **Raises** [`InputError`][lazyrich.InputError] if it cannot be imported.
    """
    try:
        with _own_code():
            _module(module)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        accepted = f"should be a module of this folder, or an installed one ({words})"
        raise InputError("import", module, accepted) from None


@contextlib.contextmanager
def _own_code() -> Iterator[None]:
    """Runs code of the user: it prints to stderr, and an exit is an error like any other."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SystemExit as error:
        raise RuntimeError(f"it ends the program, SystemExit: {error.code}") from None


def _module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return import_module(name)


def _check_left(named: str, changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if key.startswith("model."):
            raise InputError(key, value, f"is for built-in models; {named} makes its own")


def thresholds_for(name: str, settings: list[str] | None) -> "Thresholds":
    """The thresholds of a panel, or the default ones, with the settings `KEY=VALUE`."""
    from .. import studies
    from ..records.transition import Thresholds

    own = studies.thresholds(name) if name in studies.names() else Thresholds()
    return own.changed(settings or [])


def textbook_text(summary: dict[str, Any]) -> str:
    """(1/λ) log α for both definitions of α, and what it is."""

    def show(value: float | None) -> str:
        return "–" if value is None else f"{value:.4g}"

    if summary["textbook"] is None:
        return "– (it needs weight decay of all parameters, α > 1 and a homogeneous model)"
    return (
        f"(1/λ) log α, when theory expects the change for large α: {show(summary['textbook'])} "
        f"with α = init_scale; {show(summary['textbook_per_coordinate'])} with α = rms of θ(0), "
        "the scale of a coordinate"
    )


def on_data(described: "Experiment", data: Path | None) -> "Experiment":
    """The experiment with data from files, if a folder is given."""
    if data is None:
        return described
    found = described.with_data(data)
    if found is None:
        accepted = f"is for tasks that read files: Images, not {type(described.task).__name__}"
        raise InputError("--data", str(data), accepted)
    return found


def resolve_row(name: str, row: int | None) -> tuple[list["Experiment"], int]:
    """The experiments of a batch file, and the index of the chosen one; sets threads and flags.

    The settings take effect only if JAX has not read them, so call this before any computation.
    """
    from ..sweeps._execution import rerun, take_environment
    from ..sweeps._store import MAX_FILE, Damaged, from_bytes

    path = Path(name)
    try:
        results = from_bytes(contents(path, MAX_FILE))
    except (OSError, Damaged) as error:
        raise InputError("experiment", name, f"should be a batch file ({error})") from None
    if row is None or row >= len(results.hashes):
        accepted = f"should be a row of the file, from 0 to {len(results.hashes) - 1}"
        raise InputError("--row", row, accepted)
    take_environment(results.about.get("environment", {}))
    return rerun(results, path.parent.parent / "sweeps"), row


def _parse_setting(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise InputError("--set", setting, "should be KEY=VALUE, such as task.n=64")
    try:
        return key, parse_toml(f"value = {text}")["value"]
    except ValueError:
        return key, text  # a string without quotes
