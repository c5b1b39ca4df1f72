"""Columns of a log as series over one axis: resumed runs, gaps, and values that break off."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..._core.errors import InputError
from .columns import ACCURACIES, AXES, JUDGED, ROW
from .table import Table

# A log that goes back more often is not one of a run that was resumed.
_MOST_RESUMED = 20


class Numbers(NamedTuple):
    """The numbers of a column: their rows, their places on the axis, and their values."""

    rows: np.ndarray
    places: np.ndarray
    values: np.ndarray

    def where(self, chosen: np.ndarray) -> "Numbers":
        """Some of the numbers, or all of them in another order."""
        return Numbers(self.rows[chosen], self.places[chosen], self.values[chosen])


@dataclass
class Series:
    """Values of a log over one axis.

    - `at`, the places on the axis, increasing; `values` and `given`, by variable, `(t,)`: the
        values, and whether the log has one there.
    - `broken`, the place from which values are not finite until the end; infinite if there is none.
    - `notes`, one line for each decision.
    """

    at: Float[np.ndarray, " t"]
    values: dict[str, Float[np.ndarray, " t"]]
    given: dict[str, Bool[np.ndarray, " t"]]
    broken: float
    notes: list[str] = field(default_factory=list)


def series_of(table: Table, found: Mapping[str, str], axis: str, is_percent: bool) -> Series:
    """The chosen columns over an axis. Values of one place that are in different rows are joined.

    - **Takes** `is_percent`, whether accuracies are in percent. Else those with a percent sign
        become fractions.
    - **Raises** [`InputError`][lazyrich.InputError] for an axis that goes back to its beginning,
        or has values that are not finite, and for cells that are not numbers.
    """
    notes: list[str] = []
    rows, places = _axis(table, found[axis], axis)
    if not len(rows):
        raise InputError("log", axis, "should have a value in some row")
    numbers: dict[str, Numbers] = {}
    without: list[Int[np.ndarray, " k"]] = []
    for name, column in found.items():
        if name == axis:
            continue
        own, held = _numbers(table, column, name, is_percent and name in ACCURACIES)
        where = np.minimum(np.searchsorted(rows, own), len(rows) - 1)
        has = rows[where] == own
        without.append(own[~has])
        numbers[name] = Numbers(own[has], places[where[has]], held[has])
    for column in found.values():
        held_as = table.columns.get(column)
        if held_as is not None and held_as.unclear is not None:
            text = held_as.unclear[1]
            notes.append(f"{column}: the comma of {text} is taken as one between thousands")
    lost = len(np.unique(np.concatenate(without))) if without else 0
    if lost:
        words = "1 row is" if lost == 1 else f"{lost:,} rows are"
        notes.append(f"{words} left out, because they have no {axis}")
    numbers = _resumed(table, numbers, axis, notes)
    broken = np.inf
    for name in [name for name in JUDGED if name in numbers]:
        numbers[name], end = _without_gaps(numbers[name], name, notes)
        broken = min(broken, end)
    numbers = {name: _last_of_each(parts, name, axis, notes) for name, parts in numbers.items()}
    at = np.unique(np.concatenate([parts.places for parts in numbers.values()] or [places]))
    values: dict[str, Float[np.ndarray, " t"]] = {}
    given: dict[str, Bool[np.ndarray, " t"]] = {}
    for name, (_, place, value) in numbers.items():
        values[name] = np.full(len(at), np.nan)
        given[name] = np.zeros(len(at), dtype=bool)
        index = np.searchsorted(at, place)
        values[name][index], given[name][index] = value, True
    if broken < np.inf:
        notes.append(f"values are not finite from {axis} {broken:g} on: the record ends before it")
    return Series(at, values, given, float(broken), notes)


def _numbers(
    table: Table, column: str, name: str, is_percent: bool
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    if column == ROW:
        rows = np.unique(np.concatenate([np.array(c.rows) for c in table.columns.values()]))
        return rows.astype(np.int64), np.arange(1.0, len(rows) + 1)
    return table.numbers(
        column, is_count=name == "step", is_axis=name in AXES, is_percent=is_percent
    )


def _axis(
    table: Table, column: str, axis: str
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    rows, places = _numbers(table, column, axis, False)
    known = ~np.isnan(places)
    rows, places = rows[known], places[known]
    infinite = np.flatnonzero(np.isinf(places))
    if len(infinite):
        first = int(infinite[0])
        key = f"{table.place(int(rows[first]))}, column {column}"
        raise InputError(key, float(places[first]), "should be finite")
    return rows, places


def _resumed(
    table: Table, numbers: dict[str, Numbers], axis: str, notes: list[str]
) -> dict[str, Numbers]:
    """Removes what a resumed run has logged again.

    A column that goes back on the axis was logged by a run that continued from there: everything
    that was logged before, from there on, belongs to what was lost. Columns that are behind others
    without going back themselves are tests that took a while; nothing is removed for them.
    """
    backs: list[tuple[int, int, float, float]] = []
    for rows, places, _ in numbers.values():
        for i in np.flatnonzero(np.diff(places) < 0):
            backs.append((int(rows[i + 1]), int(rows[i]), float(places[i + 1]), float(places[i])))
            if len(backs) > 100 * _MOST_RESUMED:
                break
    restarts: list[list[float]] = []
    for row, before, place, former in sorted(backs):
        if restarts and before < restarts[-1][0] <= row:
            # Another column of a run that was resumed at the same time.
            restarts[-1][1] = min(restarts[-1][1], place)
            continue
        restarts.append([row, place, former])
    if not restarts:
        return numbers
    start = min(float(places.min()) for _, places, _ in numbers.values() if len(places))
    for since_row, place, former in restarts:
        if place <= start or len(restarts) > _MOST_RESUMED:
            accepted = f"{axis} goes back from {former:g}: a log should be of one run, in the "
            accepted += "order of its steps"
            raise InputError(table.place(int(since_row)), place, accepted)
    for since_row, place, former in restarts:
        words = f"{table.place(int(since_row))}: {axis} goes back from {former:g} to {place:g}; "
        words += "taken as a resumed run, whose values replace the earlier ones from there on"
        notes.append(words)
    since = np.array([row for row, _, _ in restarts])
    least = np.minimum.accumulate(np.array([place for _, place, _ in restarts])[::-1])[::-1]
    limits = np.append(least, np.inf)
    kept = {}
    for name, parts in numbers.items():
        keep = parts.places < limits[np.searchsorted(since, parts.rows, side="right")]
        kept[name] = parts.where(keep)
    return kept


def _without_gaps(numbers: Numbers, name: str, notes: list[str]) -> tuple[Numbers, float]:
    """Leaves out values that are not finite, and returns from where on there are only such.

    Programs fill gaps with not-a-number. The end of a series has broken off only if it is longer
    than every gap before it.
    """
    _, places, values = numbers
    order = np.argsort(places, kind="stable")
    finite = np.isfinite(values[order])
    if finite.all():
        return numbers, np.inf
    known = np.flatnonzero(finite)
    last = int(known[-1]) if len(known) else -1
    gap = int(np.max(np.diff(known), initial=1)) - 1 if len(known) else 0
    if len(known):
        gap = max(gap, int(known[0]))
    end = np.inf
    if len(finite) - 1 - last > gap:
        end = float(places[order][last + 1])
    inside = int(np.sum(~finite & (places[order] < end)))
    if inside:
        words = "1 value is" if inside == 1 else f"{inside:,} values are"
        notes.append(f"{name}: {words} not finite, and left out")
    return numbers.where(np.isfinite(values)), end


def _last_of_each(numbers: Numbers, name: str, axis: str, notes: list[str]) -> Numbers:
    """The last value at each place, in the order of places."""
    numbers = numbers.where(np.argsort(numbers.places, kind="stable"))
    _, places, values = numbers
    is_last = np.append(places[1:] > places[:-1], True) if len(places) else np.zeros(0, dtype=bool)
    changed = int(np.sum(~is_last[:-1] & (values[1:] != values[:-1]))) if len(places) else 0
    if changed and name not in AXES:
        times = "once" if changed == 1 else f"{changed:,} times"
        notes.append(f"{name}: another value for the same {axis} {times}; the last one is used")
    return numbers.where(is_last)


def filled(series: Series) -> Bool[np.ndarray, " t"]:
    """Fills in earlier values, and returns the places that have a test value and all others.

    The places are those of the judged test curve. At such a place every other judged curve has its
    last value logged until then.
    """
    leading = ACCURACIES[1] if ACCURACIES[1] in series.values else "test_loss"
    kept = series.given[leading].copy()
    num = int(kept.sum())
    if num < len(kept):
        series.notes.append(f"{num:,} of {len(kept):,} rows have test values")
    carried = []
    for name in series.values:
        if name == leading or (name not in JUDGED and name not in AXES):
            continue
        given = series.given[name]
        last = np.maximum.accumulate(np.where(given, np.arange(len(given)), -1))
        if name in JUDGED:
            if np.any(kept & ~given & (last >= 0)):
                carried.append(name)
            kept &= last >= 0
        series.values[name] = series.values[name][np.maximum(last, 0)]
    if carried:
        words = "values are the last ones logged before a test"
        series.notes.append(f"{' and '.join(carried)}: {words}")
    early = num - int(kept.sum())
    if early and kept.any():
        words = "1 test is" if early == 1 else f"{early:,} tests are"
        series.notes.append(f"{words} left out, before the first value of every curve")
    return kept & (series.at < series.broken)
