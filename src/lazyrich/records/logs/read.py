"""A log of another program as a record."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from ..._core.errors import InputError, one_line
from ..._core.files import opened
from ..logged import record
from ..transition import Thresholds
from . import csv_file, event_file, json_file, wandb_file
from .cells import number_wanted
from .columns import (
    ACCURACIES,
    AXES,
    check_given,
    check_judged,
    chosen,
    meaning,
    unrecognised,
    unused_of,
)
from .doubts import doubts
from .series import filled, series_of
from .table import MAX_BYTES, MAX_NAME, Table

Path_ = str | os.PathLike[str]


@dataclass(frozen=True)
class Log:
    """The content of a log as a record, and how it was read.

    - `record`, like the record of a run.
    - `columns`, the names of columns in the log, keyed by the record's variables.
    - `unused`, columns that were not read.
    - `notes`, one line for each decision of the reader.
    """

    record: xr.Dataset
    columns: dict[str, str]
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def read_log(
    path: Path_ | Sequence[Path_],
    *,
    columns: Mapping[str, str] | None = None,
    run: str | None = None,
    time_per_step: float | None = None,
    percent: bool | None = None,
    scales: Mapping[str, float] | None = None,
    weight_decay: float | None = None,
    thresholds: Thresholds | None = None,
) -> Log:
    """Reads a log of one run.

    The log is a CSV file with a header; JSON lines with an object in each, or a JSON document with
    a list of objects or an object of lists; an event file of TensorBoard, or a folder with some;
    a file of Weights & Biases that ends in `.wandb`, or a CSV file exported from its page. Of
    several files the columns are joined by their step.

    Columns are recognised by their usual names: a step (or an epoch, or a time), and losses and
    accuracies of training and test data, such as `train/loss` or `val_acc`. The record has the
    places with test values. If such a place has no training values, the last earlier ones are
    used. Where a resumed run has logged steps again, its values replace the earlier ones. Values
    that are not finite are gaps; if there are only such from somewhere on, the record ends before,
    and the run has failed.

    - **Takes** `path`, or several; `columns`, for columns that are not recognised: their names,
        keyed by the name of a record's variable or by `step`, `epoch` or `time`, where `#` stands
        for the number of the row; `run`, which run to read of a log with several; `time_per_step`,
        `percent`, `scales`, `weight_decay` and `thresholds`, as in [`record`][lazyrich.record].
        `percent` is for accuracies without a percent sign.
    - **Raises** [`InputError`][lazyrich.InputError] for a file that is too large or malformed, a
        column that is missing or ambiguous, and values that [`record`][lazyrich.record] refuses.
    """
    paths = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(one) for one in path]
    if not paths:
        raise InputError("log", [], "should be at least one file")
    given = dict(columns or {})
    check_given(given)
    table = Table(lambda name: name in given.values() or meaning(name) is not None)
    for place in paths:
        _read(place, table, run)
    if not any(len(column.values) for column in table.columns.values()):
        wrong = [column.wrong for column in table.columns.values() if column.wrong]
        if wrong:
            raise InputError(table.place(wrong[0][0]), wrong[0][1], number_wanted(wrong[0][1]))
        accepted = "should contain at least one row of numbers"
        if unknown := [name for name in table.names if meaning(name) is None]:
            accepted = unrecognised(unknown)
        raise InputError("log", str(paths[0]), accepted)
    notes = list(table.notes)
    found = chosen(table, given, notes)
    axis = check_judged(table, found, given, notes)
    if time_per_step is not None and axis != "step":
        accepted = f"needs steps, and the axis of this log is {axis}: add --column step=COLUMN"
        raise InputError("time_per_step", time_per_step, accepted)
    if percent is None:
        _check_signs(table, [found[name] for name in ACCURACIES if name in found])
    series = series_of(table, found, axis, bool(percent))
    kept = filled(series)
    notes += series.notes
    if not kept.any():
        accepted = "should have rows with finite values of training and test data"
        raise InputError("log", str(paths[0]), accepted)
    values = {name: value[kept] for name, value in series.values.items()}
    coords = {
        name: values[name]
        for name in ("step", "epoch")
        if name in values and np.all(np.isfinite(values[name]))
    }
    if not set(ACCURACIES) <= set(values) and "test_variance" not in (scales or {}):
        words = "without accuracies the score is 1 - loss / first loss; with --scale "
        notes.append(words + "test_variance and train_variance, the losses of a constant, it is R2")
    logged = record(
        series.at[kept],
        {name: value for name, value in values.items() if name not in AXES},
        unit=axis if time_per_step is None else "time",
        time_per_step=time_per_step,
        steps=coords.get("step"),
        epochs=coords.get("epoch"),
        name=paths[0].stem,
        percent=percent,
        scales=scales,
        weight_decay=weight_decay,
        thresholds=thresholds,
        ending="diverged" if series.broken < np.inf else "completed",
        source=one_line(", ".join(place.name for place in paths), MAX_NAME),
    )
    if percent is not False and any(
        np.max(values[name]) > np.max(logged[name]) + 0.5 for name in ACCURACIES if name in logged
    ):
        notes.append("accuracies are percents, and divided by 100")
    notes += doubts(logged)
    logged.attrs["log"] = json.dumps({"columns": found, "notes": notes})
    return Log(logged, found, unused_of(table.names, found), tuple(notes))


def _check_signs(table: Table, names: Sequence[str]) -> None:
    """Refuses accuracies of which some have percent signs, and others are above one without."""
    held = {name: table.columns[name] for name in names if name in table.columns}
    signed = [name for name, column in held.items() if column.has_percents]
    for name, column in held.items() if signed else ():
        above = [value for value in column.without_sign() if 1 < value < np.inf]
        if above:
            accepted = f"could be a fraction or a percent, as those of {signed[0]} with percent "
            accepted += "signs: say so by percent=True (--percent), which leaves those with signs "
            accepted += "as they are, or write one unit"
            raise InputError(name, float(above[0]), accepted)


Reader = Callable[[Path, Table, str | None], None]


def _read(path: Path, table: Table, run: str | None) -> None:
    """Adds what a file contains to a table. Its kind is that of its content."""
    try:
        reader: Reader
        if path.is_dir():
            reader = event_file.read_folder
        else:
            with opened(path, MAX_BYTES) as file:
                head = file.read(4096)
            reader = _reader(path, head)
        reader(path, table, run)
    except (OSError, UnicodeError) as error:
        accepted = (
            f"should be a log in CSV or JSON lines, or an event file ({one_line(error, 200)})"
        )
        raise InputError("log", str(path), accepted) from None


def _reader(path: Path, head: bytes) -> Reader:
    if event_file.is_one(head):
        return event_file.read
    if wandb_file.is_one(head):
        return wandb_file.read
    # A damaged file is called by its kind.
    if ".tfevents." in path.name:
        return event_file.read
    is_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json")
    if is_json or head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return json_file.read
    return csv_file.read
