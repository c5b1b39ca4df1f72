"""The files of a sweep as arrays over its runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...records.transition import CODES
from .._sweep import Sweep
from ..batches import batches
from .batch_file import ENDINGS, Results
from .sealed import Damaged
from .store import Store

_WORDS = {"outcome": CODES, "ending": ENDINGS}
_HASH = "<U64"

# The largest dataset that is put together in memory, in bytes.
MAX_BYTES = 4 * 2**30
# A file whose runs take this many times the bytes of the usual file is left out if memory is short.
_MAX_EXCESS = 16


class Source(NamedTuple):
    """The place of some runs of a sweep: `rows` of a file contain `runs` of the sweep."""

    name: str
    rows: np.ndarray
    runs: np.ndarray

    def check(self, num_runs: int) -> None:
        """Raises `Damaged` if a file with `num_runs` runs lacks some of the rows."""
        if int(self.rows.max()) >= num_runs:
            raise Damaged(f"it contains {num_runs} runs, but this sweep needs {len(self.rows)}")


@dataclass(frozen=True)
class Layout:
    """The variables and sizes in the files of a sweep, as far as they exist."""

    numbers: list[str]
    curves: list[str]
    num_records: int
    words: dict[str, list[str]]
    """The meanings of codes for outcomes and endings; new ones in files are added at the end."""

    @property
    def bytes_per_run(self) -> int:
        """The bytes for one run."""
        curves = 8 * self.num_records * (len(self.curves) + 1)
        return 8 * len(self.numbers) + curves + 2 + np.dtype(_HASH).itemsize

    def empty(self, num_runs: int) -> dict[str, np.ndarray]:
        """Columns for runs of which nothing is known: NaN, `missing`, empty hash."""
        columns: dict[str, np.ndarray] = {
            name: np.full(num_runs, kinds.index("missing"), dtype=np.int8)
            for name, kinds in self.words.items()
        }
        columns["experiment_hash"] = np.zeros(num_runs, dtype=_HASH)
        columns |= {name: np.full(num_runs, np.nan) for name in self.numbers}
        if self.curves:
            names = ("time", *self.curves)
            columns |= {name: np.full((num_runs, self.num_records), np.nan) for name in names}
        return columns

    def fill(self, columns: dict[str, np.ndarray], at: Any, results: Results, rows: Any) -> None:
        """Copies `rows` of a file to the indices `at` of the columns."""
        for name, kinds in self.words.items():
            words = results.outcomes if name == "outcome" else results.endings
            kinds += [word for word in dict.fromkeys(words) if word not in kinds]
            if len(kinds) > np.iinfo(np.int8).max:
                raise Damaged(f"the files have {len(kinds)} names for an {name}")
            columns[name][at] = np.array([kinds.index(word) for word in words])[rows]
        columns["experiment_hash"][at] = np.array(results.hashes)[rows]
        for name in self.numbers:
            if name in results.numbers:
                columns[name][at] = results.numbers[name][rows]
        length = results.times.shape[1]
        for name in self.curves:
            if name in results.curves:
                columns[name][at, :length] = results.curves[name][rows]
        if self.curves:
            columns["time"][at, :length] = results.times[rows]


def sources(store: Store, sweep: Sweep) -> list[Source]:
    """The places of a sweep's runs, in the order of its batches; its own files come first."""
    present = set(store.files())
    found, elsewhere = [], None
    for batch in batches(sweep):
        name = store.file_of(sweep, batch.number)
        if name in present:
            found.append(Source(name, np.arange(len(batch.runs)), batch.runs))
            continue
        if sweep.known_as:
            continue
        if elsewhere is None:
            elsewhere = store.index([n for n in sorted(present) if not store.owns(sweep, n)])
        if elsewhere:
            found += _borrowed(sweep, batch.runs, elsewhere)
    return found


def _borrowed(
    sweep: Sweep, runs: np.ndarray, elsewhere: dict[str, tuple[str, int]]
) -> Iterator[Source]:
    places: dict[str, tuple[list[int], list[int]]] = {}
    for run in runs.tolist():
        place = elsewhere.get(sweep.run(run).content_hash)
        if place is not None:
            rows, its_runs = places.setdefault(place[0], ([], []))
            rows.append(place[1])
            its_runs.append(run)
    for name, (rows, its_runs) in places.items():
        yield Source(name, np.array(rows), np.array(its_runs))


def layout(
    store: Store, sweep: Sweep, found: list[Source]
) -> tuple[Layout, list[Source], dict[str, str]]:
    """The layout of a sweep's files, from their last bytes.

    - **Returns** the layout, the sources in readable files, and the damaged files with reasons.
    """
    named: dict[str, Layout] = {}
    damaged: dict[str, str] = {}
    kinds = dict.fromkeys(sweep.experiment.keys(), "a key")
    for source in found:
        try:
            if source.name in damaged:
                continue
            summary: Any = store.summary(source.name)
            source.check(len(summary["hashes"]))
            its = Layout(summary["numbers"], summary["curves"], summary["num_records"], {})
            own = dict.fromkeys(its.numbers, "a number") | dict.fromkeys(its.curves, "a curve")
            for name, kind in own.items():
                if kinds.setdefault(name, kind) != kind:
                    raise Damaged(f"it names {kind} {name}, which is {kinds[name]} elsewhere")
            named[source.name] = its
        except Damaged as error:
            damaged[source.name] = str(error)
    whole = _combined(named)
    if whole.bytes_per_run * len(sweep) > MAX_BYTES:
        # One file that is far too large does not prevent reading the others.
        usual = np.median([its.bytes_per_run for its in named.values()])
        for name, its in list(named.items()):
            if its.bytes_per_run > _MAX_EXCESS * usual:
                damaged[name] = (
                    f"its runs take {its.bytes_per_run / usual:.0f} times the usual bytes"
                )
                del named[name]
        whole = _combined(named)
    return whole, [source for source in found if source.name not in damaged], damaged


def _combined(named: dict[str, Layout]) -> Layout:
    """The smallest layout that contains all."""
    numbers = dict.fromkeys(name for its in named.values() for name in its.numbers)
    curves = dict.fromkeys(name for its in named.values() for name in its.curves)
    most = max((its.num_records for its in named.values()), default=0)
    words = {name: list(kinds) for name, kinds in _WORDS.items()}
    return Layout(list(numbers), list(curves), most, words)


def read_into(
    columns: dict[str, np.ndarray],
    shape: Layout,
    store: Store,
    found: list[Source],
    first: int = 0,
    last: int | None = None,
    seen: Callable[[Results], object] = lambda results: None,
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Fills columns for the runs from `first` to before `last`.

    - **Takes** `seen`, which is called with each file that is read.
    - **Returns** the long names and units of numbers and curves, and the damaged files with
        reasons.
    """
    words: dict[str, dict[str, str]] = {}
    damaged = {}
    for source in found:
        inside = source.runs >= first
        if last is not None:
            inside &= source.runs < last
        if not inside.any():
            continue
        try:
            results = store.read(source.name)
            source.check(len(results.runs))
            if results.times.shape[1] > shape.num_records and shape.curves:
                raise Damaged("it has more records than at the first look")
            shape.fill(columns, source.runs[inside] - first, results, source.rows[inside])
        except Damaged as error:
            damaged[source.name] = str(error)
            continue
        words |= results.words
        seen(results)
    return words, damaged
