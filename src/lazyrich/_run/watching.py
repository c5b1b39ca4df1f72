"""Records of runs that go on, for a watcher."""

import abc
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr

from .._core.given import check_function
from .._core.precision import in_double
from ..dynamics import SolveProgress, Trajectory
from .context import ProbedRun
from .prepared import PreparedProblem
from .probes_after_solve import fits_in_memory, measure_after
from .result import BatchResult

Watcher = Callable[[xr.Dataset], object]
"""Called with the record so far, and at the end with the whole record."""

Measured = tuple[ProbedRun, dict[str, np.ndarray]]
"""The context of a run, and the values of its probes by name."""

# The smallest number of seconds between the end of a call and the next call.
_LEAST_PAUSE = 0.2
# The smallest number of seconds between two calls as a multiple of those spent on the last record:
# a run does not become much slower. The first record contains the compilation of its measurement.
_PAUSE, _FIRST_PAUSE = 4.0, 1.0
# The number of records measured in one compiled call.
_CHUNK = 32


class AbstractWatcher(abc.ABC):
    """A watcher that also learns of a run that ends by an exception."""

    @abc.abstractmethod
    def __call__(self, record: xr.Dataset) -> object:
        """Receives the record so far, and at the end the whole record."""

    @abc.abstractmethod
    def failed(self, error: BaseException) -> None:
        """Called once if the run ends by an exception, which then passes to the caller."""


@contextlib.contextmanager
def reporting_failure(watcher: Watcher | None) -> Iterator[None]:
    """Calls `failed` of a watcher if the block ends by an exception."""
    check_function("watcher", watcher, "record")
    try:
        yield
    except BaseException as error:
        if isinstance(watcher, AbstractWatcher):
            watcher.failed(error)
        raise


class Watch:
    """Calls a watcher during a solve, at most five times a second.

    - **Takes** `measure`, which returns the values of probes along the trajectory so far; `seconds`
        of the stages before the solve.
    """

    def __init__(
        self,
        prepared: PreparedProblem,
        watcher: Watcher,
        measure: Callable[[Trajectory], Measured],
        seconds: dict[str, float],
    ):
        self._prepared, self._watcher, self._measure = prepared, watcher, measure
        self._seconds = seconds
        self._begun = time.perf_counter()
        self._next, self._factor = self._begun, _FIRST_PAUSE

    def offer(self, now: SolveProgress) -> None:
        """Calls the watcher, unless the last call was too short a time ago."""
        begun = time.perf_counter()
        if now.so_far is None or begun < self._next:
            return
        trajectory = now.so_far()
        if not len(trajectory.times):
            return
        record = self._record(trajectory)
        spent = time.perf_counter() - begun
        self._watcher(record)
        self._next = time.perf_counter() + max(_LEAST_PAUSE, self._factor * spent)
        self._factor = _PAUSE

    @in_double
    def _record(self, trajectory: Trajectory) -> xr.Dataset:
        run, values = self._measure(trajectory)
        found = BatchResult.of([self._prepared], [run], [trajectory], [values], running=True)
        solving = {"solving the flow": time.perf_counter() - self._begun}
        return found.with_seconds(self._seconds | solving).record(0)


class MeasuredSoFar:
    """Values of probes along a run that are computed after the solve, kept from call to call."""

    def __init__(self, prepared: PreparedProblem):
        self._fits = fits_in_memory([prepared])
        if not self._fits:
            # The data keep the outputs of predictors, whose last bits depend on the blocks.
            data = dataclasses.replace(prepared.data)
            vars(data)["predictors"] = prepared.data.predictors
            prepared = dataclasses.replace(prepared, data=data)
        self._prepared = prepared
        self._runs: list[ProbedRun] = []
        self._values: dict[str, list[np.ndarray]] = {}
        self._num = 0

    def __call__(self, trajectory: Trajectory) -> Measured:
        """The context of the run and the values of its probes. Only new records are measured."""
        while self._num < len(trajectory.times):
            # Records are measured in groups of a few sizes, so that few are compiled.
            new = range(self._num, len(trajectory.times))
            size = _CHUNK if self._fits else 1 << (len(new) - 1).bit_length()
            rows = np.minimum(np.arange(self._num, self._num + size), new[-1])
            part = trajectory.at(rows)
            self._runs, values = measure_after(
                [self._prepared], [part], lambda done: None, self._runs
            )
            for name, found in values[0].items():
                self._values.setdefault(name, []).append(found[: len(new)])
            self._num = min(self._num + size, len(trajectory.times))
        return self._runs[0], {name: np.concatenate(rows) for name, rows in self._values.items()}
