"""Which column of a log holds what: the usual names."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..._core.errors import InputError, did_you_mean, one_line
from ..schema import CURVES
from .table import Table, listed

AXES = ("step", "epoch", "time")
"""The axes that a log can have, the first that is there being used."""
ACCURACIES, LOSSES = ("train_accuracy", "test_accuracy"), ("train_loss", "test_loss")
"""The curves that are judged, in pairs."""
JUDGED = (*ACCURACIES, *LOSSES)
"""The same as one tuple."""
ROW = "#"
"""A name of a column that stands for the number of the row, from 1."""

_STEPS = ("step", "steps", "global_step", "iteration", "iterations", "iter", "it", "update")
_EPOCHS = ("epoch", "epochs")
# Words before a step or an epoch. With others, such as `time_per_step`, it is something else.
_BEFORE = ("global", "train", "training", "trainer", "trainer_global", "train_global", "optimizer",
           "optimiser", "current")  # fmt: skip
# Clock time is no axis, so a name with more words, such as `wall_time`, is not recognised.
_TIMES = ("time", "t", "flow_time")
_NORMS = ("param_norm", "params_norm", "parameter_norm")
_PARTS = {"train": ("train", "training", "tr", "trn"), "test": ("test", "eval", "val", "valid",
          "validation", "evaluation", "dev", "heldout")}  # fmt: skip
_MEASURES = {"accuracy": ("accuracy", "acc"), "loss": ("loss",)}
# Words that do not change what a column means. Two columns that differ only in them are asked for.
_NEUTRAL = ("epoch", "step", "mean", "avg", "average", "categorical", "sparse", "binary", "cross",
            "entropy", "ce", "xent", "mse", "nll", "metrics", "metric")  # fmt: skip
_KNOWN = {w for group in (_PARTS, _MEASURES) for called in group.values() for w in called}


def words_of(column: str) -> set[str]:
    """The words in a column's name. `trainLoss` and `train/loss` both have two."""
    return set(re.findall(r"[a-z]+", _spaced(column)))


def _spaced(column: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower()


def parts_of(name: str) -> set[str]:
    """Which of `train` and `test` a name has a word for."""
    return {part for part, called in _PARTS.items() if words_of(name) & set(called)}


def meaning(column: str) -> str | None:
    """The variable that a column's name means, or only `loss` or `accuracy` if no part is named."""
    plain = re.sub(r"[^a-z]+", "_", _spaced(column)).strip("_")
    before, _, last = plain.rpartition("_")
    if plain in _STEPS or (last in _STEPS[:2] and before in _BEFORE):
        return "step"
    if plain in _EPOCHS or (last in _EPOCHS and before in _BEFORE):
        return "epoch"
    for name, called in (("time", _TIMES), ("param_norm", _NORMS)):
        if plain in called:
            return name
    if column in CURVES:
        return column
    words = words_of(column)
    measure = [key for key, called in _MEASURES.items() if words & set(called)]
    part = parts_of(column)
    if len(measure) != 1 or len(part) > 1 or words - _KNOWN - set(_NEUTRAL):
        return None
    return f"{part.pop()}_{measure[0]}" if part else measure[0]


def check_given(given: Mapping[str, str]) -> None:
    """Refuses names that are no axis and no curve of a record."""
    for name in given:
        if name not in (*AXES, *CURVES):
            accepted = f"unknown name{did_you_mean(name, (*AXES, *CURVES))}; accepted are "
            raise InputError("--column", name, accepted + ", ".join((*AXES, *JUDGED)) + ", ...")


def unrecognised(names: Sequence[str]) -> str:
    """The message for a log without a known column: the options that name the columns."""
    step = shlex.quote(one_line(names[0], 40))
    options = (f"step={step}", *(f"{name}=COLUMN" for name in ACCURACIES))
    listed_names = one_line(", ".join(names), 200)
    return (
        f"has no column that is recognised among {listed_names}: name the columns to read, such as "
        f"by {' '.join(f'--column {one}' for one in options)} (instead of step also "
        f"{' or '.join(AXES[1:])}, instead of accuracies {' and '.join(LOSSES)}); without a "
        "header, name the columns in a first line"
    )


def chosen(table: Table, given: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    """The chosen columns, keyed by variable.

    - **Takes** `given`, the choices of the user; `notes`, to which decisions are added.
    - **Raises** [`InputError`][lazyrich.InputError] for a column that is missing or ambiguous.
    """
    for column in given.values():
        if column not in table.columns and column != ROW:
            accepted = f"should be a column{did_you_mean(column, table.names)}; there are "
            raise InputError("--column", column, accepted + listed(table.names))
    candidates: dict[str, list[str]] = {}
    for column, held in table.columns.items():
        means = None if column in given.values() else meaning(column)
        if (
            means is not None
            and means not in given
            and (len(held.values) or held.wrong is not None)
        ):
            candidates.setdefault(means, []).append(column)
    for measure in _MEASURES:
        # A loss without "train" or "test" in its name, next to a test loss, is a training loss.
        bare, name = candidates.pop(measure, []), f"train_{measure}"
        if bare and f"test_{measure}" in {**candidates, **given} and name not in given:
            candidates.setdefault(name, []).extend(bare)
    found = dict(given)
    for name, columns in candidates.items():
        found[name] = _one(table, name, columns, notes)
    axis = axis_of(found, given)
    for name in [name for name in found if name != axis and name not in (*JUDGED, *given)]:
        # What is only shown beside the curves is left out if it holds words. Times are not shown.
        if name == "time" or table.columns[found[name]].wrong is not None:
            del found[name]
    return found


def _one(table: Table, name: str, columns: list[str], notes: list[str]) -> str:
    """The one column for a variable among its candidates."""
    lengths = {column: len(table.columns[column].values) for column in columns}
    # Programs add one number over the whole run, such as the mean training loss, at the end.
    left = [column for column in columns if lengths[column] > 1] or columns
    better: tuple[Callable[[str], bool], ...] = (
        lambda column: column == name,
        lambda column: name.startswith("test_") and "test" in words_of(column),
        # Weights & Biases counts calls in `_step`, and the program its steps in another column.
        lambda column: name == "step" and column != "_step",
        lambda column: name.startswith("train_") and bool(parts_of(column)),
    )
    for is_better in better:
        left = [column for column in left if is_better(column)] or left
    if len(left) > 1 and name in (*AXES, *JUDGED):
        accepted = f"could be any of {listed(left)}: choose one by --column {name}=COLUMN"
        raise InputError("log", name, accepted)
    others = [column for column in columns if column != left[0]]
    if others and name in (*AXES, *JUDGED):
        notes.append(f"{name}: {left[0]!r} is used, not {listed(others)}")
    return left[0]


def axis_of(found: Mapping[str, str], given: Mapping[str, str]) -> str | None:
    """The axis of a log: one that the user has chosen, or the first that is there."""
    return next((name for held in (given, found) for name in AXES if name in held), None)


def check_judged(
    table: Table, found: dict[str, str], given: Mapping[str, str], notes: list[str]
) -> str:
    """Checks that there is an axis and what can be judged, and returns the axis."""
    axis = axis_of(found, given)
    if axis is None:
        accepted = f"has no step, epoch or time, but {listed(table.names)}: add --column "
        accepted += f"step=COLUMN, or step={ROW} for the number of the row"
        raise InputError("log", table.file, accepted)
    if not any(set(pair) <= set(found) for pair in (ACCURACIES, LOSSES)):
        accepted = "should have columns of train and test accuracy, or train and test loss; found "
        accepted += f"{listed(found.values())} of {listed(table.names)}: add --column NAME=COLUMN"
        raise InputError("log", table.file, accepted)
    if axis == "time":
        notes.append(f"times in {found[axis]!r} are taken as gradient-flow times")
    without = [name for name in ACCURACIES if name in found]
    if len(without) == 1:
        other = "test" if without[0].startswith("train") else "train"
        words = f"{without[0]} is left out, as there is no {other} accuracy: the losses are judged"
        notes.append(words)
        del found[without[0]]
    return axis


def unused_of(names: Iterable[str], found: Mapping[str, str]) -> tuple[str, ...]:
    """The names of columns that are not used."""
    return tuple(name for name in names if name not in found.values())
