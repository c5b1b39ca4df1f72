"""Distribution of a sweep's batches to workers, until all are done."""

import errno
import hashlib
import pickle
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..._core.errors import ComputationError, InputError
from ...forecasts.options import ForecastOptions
from .._forecast_in_batch import key_of
from .._store import Store
from .._sweep import Sweep
from ..batches import Batch
from .batch import Done, Job, is_done, run_batch
from .heartbeat import Heartbeat

# How often a batch is repeated: after the loss of its worker, which the batch may not have caused,
# and after an error.
_MAX_LOSSES = 10
_MAX_ERRORS = 2

_POLL_SECONDS = 0.5

# A batch starts only if the time left is at least this many times the longest batch so far.
_MARGIN = 1.2


@dataclass(frozen=True)
class Progress:
    """The progress of a sweep, in runs; `rate` in runs per second, zero while unknown."""

    num_runs: int
    num_done: int
    num_failed: int
    rate: float
    note: str = ""


Listener = Callable[[Progress], None]


class Campaign:
    """The remaining batches of a sweep, and the progress.

    - **Takes** `batches` that are not done; `num_done`, the number of runs done before;
        `walltime`, seconds after which nothing should run, None for no limit; `longest`, the
        seconds of the longest batch so far, as an estimate for the next; `forecast`, how to
        forecast the runs, None for no forecasts.
    """

    def __init__(
        self,
        store: Store,
        sweep: Sweep,
        batches: Iterator[Batch],
        num_done: int,
        walltime: float | None,
        listener: Listener,
        longest: float = 0.0,
        forecast: ForecastOptions | None = None,
    ):
        self.store, self.sweep, self.forecast = store, sweep, forecast
        self._batches, self._walltime, self._listener = batches, walltime, listener
        self._begun = time.monotonic()
        self._num_before = self._num_done = num_done
        self._num_failed, self._longest = 0, longest
        self.out_of_time = False
        self._heartbeat = Heartbeat(store, sweep)

    @property
    def is_timed(self) -> bool:
        """Whether there is a time limit. Batches then should not wait in a queue."""
        return self._walltime is not None

    def next(self) -> Batch | None:
        """The next batch to start; None if there is no batch, or not enough time."""
        if self._walltime is not None and not self.out_of_time:
            left = self._walltime - (time.monotonic() - self._begun)
            self.out_of_time = left < _MARGIN * self._longest or left <= 0
        if self.out_of_time:
            return None
        for batch in self._batches:
            # Another process may have written the file since the sweep was planned.
            name = self.store.file_of(self.sweep, batch.number)
            if not is_done(self.store, name, self.forecast):
                return batch
            self._num_done += len(batch.runs)
        return None

    def finished(self, done: Done) -> None:
        """Counts a batch that is done."""
        self._num_done += done.num_runs
        self._num_failed += done.num_failed
        self._longest = max(self._longest, done.seconds)
        self.report()

    def report(self, note: str = "", running: list[str] | None = None) -> None:
        """Reports the progress."""
        elapsed = max(time.monotonic() - self._begun, 1e-6)
        rate = (self._num_done - self._num_before) / elapsed
        progress = Progress(len(self.sweep), self._num_done, self._num_failed, rate, note)
        self._heartbeat.offer(asdict(progress), running)
        self._listener(progress)

    def end(self) -> None:
        """Removes the heartbeat of this process."""
        self._heartbeat.end()


def run_here(campaign: Campaign) -> None:
    """Computes every batch in this process, one after another.

    - **Raises** [`ComputationError`][lazyrich.ComputationError] if the store cannot be written.
    """
    while (batch := campaign.next()) is not None:
        job = Job.of(campaign.store, campaign.sweep, batch, campaign.forecast)
        campaign.report(running=[job.name])
        try:
            campaign.finished(run_batch(campaign.store, job))
        except OSError as error:
            raise ComputationError(_explained(error, campaign.store, batch)) from error


def run_on(
    client: Any, campaign: Campaign, max_running: int | None, check: Callable[[], None]
) -> None:
    """Computes every batch on the workers of a client's scheduler.

    The scheduler has at most `max_running` batches at a time. The default is twice the number of
    threads, or the number of threads if there is a time limit. If this process ends, the workers
    finish the batches that the scheduler has. `check` is called from time to time, and raises if
    there are no workers.

    - **Raises** [`ComputationError`][lazyrich.ComputationError] if the scheduler is lost, the
        store cannot be written, or a batch ends its worker or raises repeatedly;
        [`InputError`][lazyrich.InputError] if the experiment cannot be sent to a process.
    """
    address = str(client.scheduler.address)
    try:
        _run_on(client, campaign, max_running, check)
    except (ComputationError, InputError):
        raise
    except Exception as error:
        # Errors of batches are returned as results, so this is the connection, or a bug.
        if client.status == "running" and not isinstance(error, OSError):
            raise
        raise _lost(address, campaign.store) from error


def _run_on(
    client: Any, campaign: Campaign, max_running: int | None, check: Callable[[], None]
) -> None:
    from distributed import fire_and_forget

    store, sweep = campaign.store, campaign.sweep
    address = str(client.scheduler.address)
    place = hashlib.sha256(store.folder.place.encode()).hexdigest()[:8]
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    running: dict[str, tuple[Any, Batch]] = {}
    losses: dict[int, int] = {}
    errors: dict[int, int] = {}

    def submit(batch: Batch) -> None:
        tries = losses.get(batch.number, 0) + errors.get(batch.number, 0)
        job = Job.of(store, sweep, batch, campaign.forecast)
        # The key contains the batch and its store. Two processes that submit the same batch of the
        # same store share one computation; another store is another computation.
        key = _task_key(job, tries, place)
        try:
            future = client.submit(run_batch, store, job, key=key, pure=False)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            accepted = f"cannot be sent to another process, use workers=0 ({_one_line(error)})"
            raise InputError("experiment", sweep.experiment.name, accepted) from None
        running[key] = (future, batch)
        fire_and_forget(future)
        future.add_done_callback(heard.put)

    while True:
        threads = sum(client.nthreads().values())
        room = max(1, threads) if campaign.is_timed else max(2, 2 * threads)
        room = min(room, max_running or room)
        while len(running) < room and (batch := campaign.next()) is not None:
            submit(batch)
        if not running:
            return
        try:
            future = heard.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if client.status != "running":
                raise _lost(address, store) from None
            check()
            campaign.report(running=[key.split("-try")[0] for key in running])
            continue
        _, batch = running.pop(future.key)
        if future.cancelled():
            raise _lost(address, store)
        done, error = _outcome(future)
        if done is not None:
            if store.is_whole(done.name):
                campaign.finished(done)
                continue
            # The scheduler returned an old result for this key, or the file was damaged since.
            error = FileNotFoundError(f"the file of batch {batch.number} is gone or damaged")
        assert error is not None
        again = _again(error, batch, losses, errors)
        if not again:
            raise ComputationError(_explained(error, store, batch)) from error
        campaign.report(f"batch {batch.number} is repeated: {_one_line(error)}")
        submit(batch)


def _outcome(future: Any) -> tuple[Done | None, BaseException | None]:
    """What a batch returned, or its error.

    A worker can die between the end of a batch and the transfer of its result. The scheduler then
    computes the batch again, and that can fail although the first computation did not.
    """
    error = future.exception()
    if error is not None:
        return None, error
    try:
        return future.result(), None
    except Exception as lost:
        return None, lost


def _task_key(job: Job, tries: int, place: str) -> str:
    suffix = "" if job.forecast is None else f"-{key_of(job.forecast)}"
    return f"{job.name}-try{tries}-{place}{suffix}"


def _again(
    error: BaseException, batch: Batch, losses: dict[int, int], errors: dict[int, int]
) -> bool:
    """Whether a failed batch should be repeated."""
    from distributed import KilledWorker

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return False
    counts, most = (
        (losses, _MAX_LOSSES) if isinstance(error, KilledWorker) else (errors, _MAX_ERRORS)
    )
    counts[batch.number] = counts.get(batch.number, 0) + 1
    return counts[batch.number] <= most


def _one_line(error: BaseException) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 300 else f"{words[:297]}..."


def _explained(error: BaseException, store: Store, batch: Batch) -> str:
    if isinstance(error, OSError):
        return (
            f"{store.url}: {_one_line(error)}; finished batches are kept, and the same command "
            "continues"
        )
    return (
        f"batch {batch.number} (runs {', '.join(map(str, batch.runs[:4]))} ...) failed "
        f"repeatedly: {type(error).__name__}: {_one_line(error)}; finished batches are kept"
    )


def _lost(address: str, store: Store) -> ComputationError:
    return ComputationError(
        f"the scheduler at {address} is gone; finished batches are kept in {store.url}, and "
        "the same command continues"
    )
