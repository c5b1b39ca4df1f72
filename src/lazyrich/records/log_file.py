"""Log files of other programs: CSV or JSON lines."""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from .._core.errors import InputError, did_you_mean, one_line
from .._core.files import contents
from .logged import record
from .schema import CURVES
from .transition import Thresholds

MAX_BYTES = 2**26
"""The largest size of a log file, in bytes."""
_MAX_ROWS, _MAX_COLUMNS, _MAX_NAME, _MAX_DEPTH = 1_000_000, 2_000, 200, 4
_MAX_CELLS = 2**26

_AXES = ("step", "time", "epoch")
_JUDGED = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")
# Usual names for the number of steps, the number of passes over the data, and gradient-flow time.
_CALLED: dict[str, tuple[str, ...]] = {
    "step": ("step", "steps", "global_step", "iteration", "iterations", "iter", "it", "update"),
    "epoch": ("epoch", "epochs"),
    "time": ("time", "t", "flow_time"),
    "param_norm": ("param_norm", "params_norm", "parameter_norm"),
}
_PARTS = {"train": ("train", "training", "tr", "trn"), "test": ("test", "eval", "val", "valid",
          "validation", "evaluation", "dev", "heldout")}  # fmt: skip
_MEASURES = {
    "accuracy": ("accuracy", "acc"),
    "loss": ("loss",),
}


@dataclass(frozen=True)
class Log:
    """The content of a log file as a record, and how it was read.

    - `record`, like the record of a run.
    - `columns`, the names of columns in the file, keyed by the record's variables.
    - `unused`, columns that were not read.
    - `notes`, one line for each decision of the reader.
    """

    record: xr.Dataset
    columns: dict[str, str]
    unused: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class _Rows:
    """Rows of numbers, one for each step, and which of the numbers the file contains."""

    values: Float[np.ndarray, "row column"]
    given: Bool[np.ndarray, "row column"]
    notes: list[str] = field(default_factory=list)


def read_log(
    path: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    time_per_step: float | None = None,
    thresholds: Thresholds | None = None,
) -> Log:
    """Reads a log of one run: a CSV file with a header, or JSON lines with an object in each.

    Columns are recognised by their usual names: a step (or a time, or an epoch), and losses and
    accuracies of training and test data, such as `train/loss` or `val_acc`. The record has the
    rows with test values. If such a row has no training values, the last earlier ones are used.
    The record ends before the first value that is infinite or not-a-number.

    - **Takes** `columns`, for columns that are not recognised: their names, keyed by the name of a
        record's variable or by `step`, `epoch` or `time`; `time_per_step` and `thresholds`, as in
        [`record`][lazyrich.record].
    - **Raises** [`InputError`][lazyrich.InputError] for a file that is too large or malformed, a
        column that is missing or ambiguous, and values that [`record`][lazyrich.record] refuses.
    """
    path = Path(path)
    try:
        text = contents(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        accepted = f"should be a log in CSV or JSON lines ({one_line(error, 200)})"
        raise InputError("log", str(path), accepted) from None
    as_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json") or text.lstrip()[:1] == "{"
    rows = list(_json_rows(text) if as_json else _csv_rows(text))
    if not rows:
        raise InputError("log", str(path), "should contain at least one row of numbers")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    found = _chosen(names, dict(columns or {}))
    axis = next((name for name in _AXES if name in found), None)
    if axis is None:
        accepted = f"has no step, epoch or time, but {_listed(names)}: add --column step=COLUMN"
        raise InputError("log", str(path), accepted)
    return _log(path, found, axis, rows, names, time_per_step, thresholds)


def _log(
    path: Path,
    found: dict[str, str],
    axis: str,
    rows: list[tuple[int, dict[str, float]]],
    names: list[str],
    time_per_step: float | None,
    thresholds: Thresholds | None,
) -> Log:
    if not any(set(pair) <= set(found) for pair in (_JUDGED[:2], _JUDGED[2:])):
        accepted = "should have columns of train and test accuracy, or train and test loss; found "
        accepted += f"{_listed(found.values())} of {_listed(names)}: add --column NAME=COLUMN"
        raise InputError("log", str(path), accepted)
    table = _joined(rows, list(found.values()), found[axis])
    series = {name: table.values[:, i] for i, name in enumerate(found)}
    notes = list(table.notes)
    kept = _fill(series, {name: table.given[:, i] for i, name in enumerate(found)}, notes)
    judged = [series[name] for name in _JUDGED if name in series]
    broken = kept & ~np.all(np.isfinite(judged), axis=0)
    if broken.any():
        first = int(np.argmax(broken))
        kept[first:] = False
        at = f"{axis} {series[axis][first]:g}"
        notes.append(f"values are not finite from {at} on: the record ends before it")
    if not kept.any():
        accepted = "should have rows with finite values of training and test data"
        raise InputError("log", str(path), accepted)
    series = {name: values[kept] for name, values in series.items()}
    columns = {
        name: series[name]
        for name in ("step", "epoch")
        if name in series and name != axis and np.all(np.isfinite(series[name]))
    }
    is_scaled = time_per_step is not None and axis == "step"
    logged = record(
        series[axis],
        {name: values for name, values in series.items() if name not in _AXES},
        unit="time" if is_scaled else axis,
        time_per_step=time_per_step,
        steps=columns.get("step"),
        epochs=columns.get("epoch"),
        name=path.stem,
        thresholds=thresholds,
        ending="diverged" if broken.any() else "completed",
        source=one_line(path.name, _MAX_NAME),
    )
    unused = tuple(name for name in names if name not in found.values())
    return Log(logged, found, unused, tuple(notes))


def _fill(
    series: dict[str, Float[np.ndarray, " row"]],
    given: dict[str, Bool[np.ndarray, " row"]],
    notes: list[str],
) -> Bool[np.ndarray, " row"]:
    """Fills in earlier training values, and returns which rows have all test values."""
    kept = np.all([given[name] for name in series if name.startswith("test_")], axis=0)
    last = {
        name: np.maximum.accumulate(np.where(given[name], np.arange(len(kept)), -1))
        for name in series
        if name.startswith("train_")
    }
    kept &= np.all([row >= 0 for row in last.values()], axis=0)
    if not kept.all():
        notes.append(f"{int(kept.sum()):,} of {len(kept):,} rows have test values")
    carried = [name for name in last if np.any(kept & ~given[name])]
    if carried:
        notes.append(f"{' and '.join(carried)}: values are the last ones logged before a test")
    for name, row in last.items():
        series[name] = series[name][np.maximum(row, 0)]
    return kept


def _listed(names: Iterable[str]) -> str:
    shown = [one_line(name, 40) for name in names]
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return (", ".join(shown[:12]) or "none") + more


def _words(column: str) -> set[str]:
    """The words in a column's name. `trainLoss` and `train/loss` both have two."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    return set(re.findall(r"[a-z]+", spaced.lower()))


def _meaning(column: str) -> str | None:
    """The variable that a column's name means, or only `loss` or `accuracy` if no part is named."""
    plain = re.sub(r"[^a-z]+", "_", column.lower()).strip("_")
    for name, called in _CALLED.items():
        if plain in called or (name in _AXES and plain.rpartition("_")[2] in called[:2]):
            return name
    if column in CURVES:
        return column
    words = _words(column)
    part = [key for key, called in _PARTS.items() if words & set(called)]
    measure = [key for key, called in _MEASURES.items() if words & set(called)]
    known = {word for group in (_PARTS, _MEASURES) for called in group.values() for word in called}
    if len(measure) != 1 or len(part) > 1 or words - known:
        return None
    return f"{part[0]}_{measure[0]}" if part else measure[0]


def _chosen(names: list[str], given: dict[str, str]) -> dict[str, str]:
    """The chosen columns, keyed by variable."""
    for name, column in given.items():
        if name not in (*_AXES, *CURVES):
            accepted = f"unknown name{did_you_mean(name, (*_AXES, *CURVES))}; accepted are "
            raise InputError("--column", name, accepted + ", ".join((*_AXES, *_JUDGED)) + ", ...")
        if column not in names:
            accepted = f"should be a column{did_you_mean(column, names)}; there are "
            raise InputError("--column", column, accepted + _listed(names))
    candidates: dict[str, list[str]] = {}
    for column in names:
        meaning = None if column in given.values() else _meaning(column)
        if meaning is not None and meaning not in given:
            candidates.setdefault(meaning, []).append(column)
    for measure in _MEASURES:
        # A loss without "train" or "test" in its name, next to a test loss, is a training loss.
        bare = candidates.pop(measure, [])
        if (
            bare
            and f"test_{measure}" in {**candidates, **given}
            and f"train_{measure}" not in given
        ):
            candidates.setdefault(f"train_{measure}", bare)
    found = dict(given)
    for name, columns in candidates.items():
        # Columns called `test` come before other test data, such as `val`.
        exact = [column for column in columns if _words(column) & {"test"}] or columns
        exact = [column for column in columns if column == name] or exact
        if len(exact) > 1 and name in (*_AXES, *_JUDGED):
            accepted = f"could be any of {_listed(exact)}: choose one by --column {name}=COLUMN"
            raise InputError("log", name, accepted)
        found[name] = exact[0]
    return found


def _joined(rows: list[tuple[int, dict[str, float]]], columns: list[str], axis: str) -> _Rows:
    """Rows merged by their value on the axis. Rows without one are left out.

    Many programs write training and test values of one step in two rows."""
    places: list[float] = []
    joined: list[dict[str, float]] = []
    without = 0
    for line, row in rows:
        at = row.get(axis)
        if at is None:
            without += 1
            continue
        if not np.isfinite(at):
            raise InputError(f"log, line {line}", at, f"{axis} should be finite")
        if places and at < places[-1]:
            accepted = f"{axis} goes back from {places[-1]:g}: a log should be of one run"
            raise InputError(f"log, line {line}", at, accepted)
        if not places or at > places[-1]:
            places.append(at)
            joined.append({})
        joined[-1].update((name, row[name]) for name in columns if name in row)
    if not joined:
        raise InputError("log", axis, "should have a value in some row")
    if len(joined) * len(columns) > _MAX_CELLS:
        accepted = f"should have at most {_MAX_CELLS:,} numbers, rows times columns"
        raise InputError("log", f"{len(joined)} rows", accepted)
    values = np.array([[row.get(name, np.nan) for name in columns] for row in joined])
    given = np.array([[name in row for name in columns] for row in joined])
    rows_are = "1 row is" if without == 1 else f"{without:,} rows are"
    notes = [f"{rows_are} left out, because they have no {axis}"] if without else []
    return _Rows(values, given, notes)


def _check_row(line: int, row: Mapping[str, Any], num_cells: int) -> None:
    if len(row) > _MAX_COLUMNS or num_cells > _MAX_CELLS:
        raise InputError(f"log, line {line}", f"{len(row)} columns", "has too many columns")
    if line > _MAX_ROWS:
        raise InputError("log", f"line {line:,}", f"should have at most {_MAX_ROWS:,} rows")


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    sample = text[: text.find("\n") if "\n" in text else len(text)]
    delimiter = max((",", "\t", ";"), key=sample.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    cells = 0
    try:
        head = [name.strip() for name in next(reader, [])]
        if len(set(head)) < len(head):
            raise InputError("log, line 1", _listed(head), "should name each column once")
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > len(head):
                accepted = f"has {len(row)} cells, but the header has {len(head)}"
                raise InputError(f"log, line {reader.line_num}", row[-1], accepted)
            cells += len(row)
            _check_row(reader.line_num, dict.fromkeys(head), cells)
            numbers = {name: _number(cell) for name, cell in zip(head, row, strict=False)}
            yield reader.line_num, {k: v for k, v in numbers.items() if v is not None}
    except csv.Error as error:
        accepted = f"is not valid CSV: {error}"
        raise InputError("log", f"line {reader.line_num}", accepted) from None


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    cells = 0
    for line, words in enumerate(text.splitlines(), 1):
        if not words.strip():
            continue
        try:
            row = json.loads(words)
        except (ValueError, RecursionError) as error:
            accepted = f"should be one JSON object in each line ({one_line(error, 200)})"
            raise InputError(f"log, line {line}", words[:80], accepted) from None
        if not isinstance(row, dict):
            raise InputError(f"log, line {line}", row, "should be a JSON object")
        flat = dict(_flat(row, "", 0))
        cells += len(flat)
        _check_row(line, flat, cells)
        yield line, flat


def _flat(row: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, float]]:
    """The numbers in nested objects; names are joined by `/`."""
    for key, value in row.items():
        name = f"{prefix}{key}"[:_MAX_NAME]
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from _flat(value, f"{name}/", depth + 1)
            continue
        number = _number(value)
        if number is not None:
            yield name, number


def _number(value: Any) -> float | None:
    """A cell as a number; None for a cell that is empty or not a number."""
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "" or isinstance(value, list | dict):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
