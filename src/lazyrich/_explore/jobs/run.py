"""The job that runs an experiment, and shows its curves as they grow."""

import contextlib
import json
import time
from typing import Annotated, Any, Literal

import pydantic
import xarray as xr

from ..._core.errors import InputError
from ..._run.simulate import simulate
from ...plot.describe._captions import powers
from ...records.summary import summarise
from ...records.transition import Thresholds
from ..asked import Asked, Found, find
from ..finished import MAX_RECORDS, facts_of, forecast_of, is_kept, keep_record, record_of
from ..job import Args, Place, Send
from .inside import recorded
from .lab import drawn

# The smallest number of seconds between two reports of progress.
_PAUSE = 0.1
# The probes that outcome and times are computed from.
_NEEDED = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


class _Run(Args):
    experiment: Asked
    columns: Literal[1, 2] = 1


class _Finished(Args):
    runs: Annotated[list[str], pydantic.Field(max_length=MAX_RECORDS)]


class _EnoughError(Exception):
    """Everything that a run needs is compiled."""


def run(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """Runs an experiment; a run that is kept is not computed again."""
    asked = _Run.read(args)
    found = find(asked.experiment, place)
    said = forecast_of(found.run, place)
    if is_kept(found.run, place):
        record = record_of(found.run, place)
        return drawn(record, said, asked.columns) | _facts(record, found)
    last = 0.0

    def listener(stage: str, fraction: float | None, detail: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= _PAUSE or fraction is None:
            last = time.monotonic()
            send("progress", {"stage": stage, "fraction": fraction, "detail": detail})

    def watcher(record: xr.Dataset) -> None:
        try:
            shown = drawn(record, said, asked.columns)
        except InputError:  # nothing to draw yet
            return
        send("part", shown | {"run": found.run})

    record = simulate(_judged(found), keep_params=True, listener=listener, watcher=watcher)
    if found.thresholds != Thresholds():
        record.attrs["thresholds"] = json.dumps(found.thresholds.table())
    facts = _facts(record, found)
    keep_record(record, facts, found.run, place)
    return drawn(record, said, asked.columns) | facts


def prepare(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """Compiles what a run of these sizes needs, and ends with its first curve."""
    found = find(_Run.read(args).experiment, place)

    def listener(stage: str, fraction: float | None, detail: str = "") -> None:
        del detail
        send("progress", {"stage": stage, "fraction": fraction, "detail": ""})

    def watcher(record: xr.Dataset) -> None:
        del record
        raise _EnoughError

    with contextlib.suppress(_EnoughError):
        simulate(_judged(found), keep_params=True, listener=listener, watcher=watcher)
    return {"run": found.run}


def _judged(found: Found) -> Any:
    """The experiment with the probes that the outcome needs."""
    experiment = found.experiment
    missing = [name for name in _NEEDED if name not in experiment.probes]
    if not missing:
        return experiment
    return experiment.with_changes({"probes": [*experiment.probes, *missing]})


def finished(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """What a list of runs says of those that are still kept, by identifier."""
    del send
    facts = {run: facts_of(run, place) for run in _Finished.read(args).runs}
    return {"runs": {run: known for run, known in facts.items() if known is not None}}


def _facts(record: xr.Dataset, found: Found) -> dict[str, Any]:
    """What the page says of a run beside its figure."""
    summary = summarise(record, found.thresholds)
    return {
        "run": found.run,
        "name": found.experiment.name,
        "outcome": summary["outcome"],
        "says": powers(summary["says"]),
        "advice": powers(summary["advice"]),
        "t50": summary["t50"],
        "t_change": summary["t_change"],
        "warnings": summary["warnings"],
        "seconds": summary["wall_seconds"],
        "solver": summary["solver"],
        "ending": record.attrs.get("ending"),
        "has_inside": _has_inside(found),
    }


def _has_inside(found: Found) -> bool:
    """Whether Inside can repeat the run with its parameters recorded."""
    try:
        recorded(found.experiment)
    except InputError:
        return False
    return True
