"""The numbers in the files of a log, before anything is chosen of them."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from ..._core.errors import InputError, one_line
from .cells import comma_unclear, number_wanted, written

MAX_BYTES = 2**28
"""The largest size of a file of a log, in bytes."""
MAX_ROWS, MAX_COLUMNS, MAX_NUMBERS = 10_000_000, 2_000, 2**24
"""The largest numbers of rows and columns in a log, and of numbers that are kept of it."""
MAX_NAME = 200
"""The largest number of letters that are kept of a column's name."""

# Texts for a value that is missing. Many programs write a number in every row of some columns only.
_MISSING = ("", "-", "--", "na", "n/a", "null", "none")


class Column:
    """The numbers of one column: `rows`, where they are, and `values`.

    - `wrong`: the row and the text of the first cell that is not a number; `unclear`, those of the
        first with one comma, which separates thousands or decimals.
    """

    def __init__(self) -> None:
        self.unclear: tuple[int, str] | None = None
        # Places among the values: of those with one comma, and of those with a percent sign.
        self._with_comma: array[int] = array("q")
        self._with_sign: array[int] = array("q")
        self._has_thousands = False  # whether some cell can have no decimal comma
        self.rows: array[int] = array("q")
        self.values: array[float] = array("d")
        self.wrong: tuple[int, str] | None = None

    def add(self, row: int, cell: object) -> None:
        """Adds a cell. An empty cell is left out."""
        try:
            # A truth value is a number in Python.
            value = float("true") if isinstance(cell, bool) else float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            if cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING):
                return
            found = self._written(row, cell) if isinstance(cell, str) else None
            if found is None:
                if self.wrong is None:
                    self.wrong = row, one_line(cell, 80)
                return
            value = found
        if isinstance(cell, str):
            self._has_thousands |= _has_point(cell)
        self.rows.append(row)
        self.values.append(value)

    def _written(self, row: int, cell: str) -> float | None:
        """The number of a cell that is written for readers; None if it is none."""
        found = written(cell)
        if found is None:
            return None
        if found.is_percent:
            self._with_sign.append(len(self.values))
        if found.has_groups and not found.is_sure:
            self.unclear = self.unclear or (row, one_line(cell, 80))
            self._with_comma.append(len(self.values))
        # Digits in groups with a space can stand beside a decimal comma.
        self._has_thousands |= found.is_sure and "," in cell
        return found.value

    def extend(self, rows: Sequence[int], cells: Sequence[str]) -> None:
        """Adds many cells. Equal to `add` for each, and ten times as fast for plain numbers."""
        try:
            if "" in cells:
                rows = [row for row, cell in zip(rows, cells, strict=True) if cell]
                cells = [cell for cell in cells if cell]
            values = array("d", map(float, cells))
        except ValueError:
            for row, cell in zip(rows, cells, strict=True):
                self.add(row, cell)
            return
        self._has_thousands = self._has_thousands or any(map(_has_point, cells))
        self.rows.extend(rows)
        self.values.extend(values)

    def is_clear(self, is_count: bool, is_axis: bool) -> bool:
        """Whether commas separate thousands: other cells, or the order on an axis, tell.

        - **Takes** `is_count`, whether the numbers are whole ones, as those of steps; `is_axis`,
            whether they increase, as those of steps, epochs and times.
        """
        if self.unclear is None or is_count or self._has_thousands:
            return True
        value = np.array(self.values)
        decimal = value.copy()
        decimal[np.array(self._with_comma)] /= 1000
        return is_axis and bool(np.all(np.diff(value) >= 0) and np.any(np.diff(decimal) < 0))

    @property
    def has_percents(self) -> bool:
        """Whether some cells have a percent sign."""
        return len(self._with_sign) > 0

    def without_sign(self) -> Float[np.ndarray, " k"]:
        """The values of cells that have no percent sign."""
        return np.delete(np.array(self.values), np.array(self._with_sign, dtype=np.int64))

    def arrays(self, is_percent: bool) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """Rows and values as arrays.

        - **Takes** `is_percent`, whether values are in percent. Else those with a percent sign
            are divided by 100.
        """
        values = np.array(self.values, dtype=float)
        if self.has_percents and not is_percent:
            values[np.array(self._with_sign)] /= 100
        return np.array(self.rows, dtype=np.int64), values


def _has_point(cell: str) -> bool:
    """Whether a number has a decimal point. Programs write that of `9.5e-06` beside commas too."""
    return "." in cell and "e" not in cell.lower()


class Table:
    """Numbers by column and row, from one file or from several that belong together.

    Rows of all files are numbered on. Columns that `wanted` refuses have a name and no numbers, so
    that memory is spent only on what can be used.
    """

    def __init__(self, wanted: Callable[[str], bool]):
        self.columns: dict[str, Column] = {}
        self.notes: list[str] = []
        self._wanted = wanted
        self._dropped: dict[str, None] = {}
        self._parts: list[tuple[int, str, str]] = []
        self._next, self._num = 0, 0

    def begin(self, file: str, row: str) -> int:
        """Begins a file whose rows are called `row`, such as `line`.

        - **Returns** the number to add to a row of this file.
        """
        self._parts.append((self._next, one_line(file, 80), row))
        return self._next

    def column(self, name: str) -> Column | None:
        """The column of a name, made if it is new; None if it is not wanted."""
        name = name[:MAX_NAME]
        found = self.columns.get(name)
        if found is None and name not in self._dropped:
            if len(self.columns) + len(self._dropped) >= MAX_COLUMNS:
                accepted = f"should have at most {MAX_COLUMNS:,} columns"
                raise InputError("log", self._parts[-1][1], accepted)
            if self._wanted(name):
                found = self.columns.setdefault(name, Column())
            else:
                self._dropped[name] = None
        return found

    def ended(self, row: int, num: int) -> None:
        """Counts a row of which `num` numbers are kept, and refuses a log that is too long."""
        self._next = row + 1
        self._num += num
        start, file, called = self._parts[-1]
        if row - start > MAX_ROWS:
            raise InputError(file, f"{called} {row - start:,}", f"has more than {MAX_ROWS:,} rows")
        if self._num > MAX_NUMBERS:
            accepted = f"has more than {MAX_NUMBERS:,} numbers: keep the columns that are judged, "
            accepted += "or every tenth row"
            raise InputError(file, f"{called} {row - start:,}", accepted)

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return [*self.columns, *self._dropped]

    @property
    def file(self) -> str:
        """The name of the first file."""
        return self._parts[0][1]

    def place(self, row: int) -> str:
        """Where a row is, in words, such as `log.csv, line 7`."""
        which = bisect_right([start for start, _, _ in self._parts], row) - 1
        start, file, called = self._parts[which]
        return f"{file}, {called} {row - start:,}"

    def numbers(
        self, name: str, *, is_count: bool, is_axis: bool, is_percent: bool
    ) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """Rows and values of a column.

        - **Takes** `is_count`, whether its numbers are whole ones, as those of steps; `is_axis`,
            whether they increase; `is_percent`, whether they are in percent.
        - **Raises** [`InputError`][lazyrich.InputError] if a cell of it is not a number, or could
            be two.
        """
        column = self.columns[name]
        if column.wrong is not None:
            row, text = column.wrong
            raise InputError(f"{self.place(row)}, column {name}", text, number_wanted(text))
        if column.unclear is not None and not column.is_clear(is_count, is_axis):
            row, text = column.unclear
            raise InputError(f"{self.place(row)}, column {name}", text, comma_unclear(text))
        return column.arrays(is_percent)


def listed(names: Iterable[str]) -> str:
    """Some of the names in one line."""
    shown = [one_line(name, 40) for name in names]
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return (", ".join(shown[:12]) or "none") + more


def cut_line(place: str) -> str:
    """The note on a last line that is left out."""
    return f"{place} is cut off and left out: the log is perhaps still written"
