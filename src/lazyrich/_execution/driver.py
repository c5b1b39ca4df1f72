"""Handing a sweep's batches to workers, and hearing of them until all are done."""

import errno
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .._errors import ComputationError
from .._store import Store
from .._sweep import Batch, Sweep
from .batch import Done, run_batch
from .beat import Beat

# How often a batch is handed out again: after its worker was lost, which says little of the
# batch, and after it raised, which says more.
_MAX_LOSSES = 10
_MAX_ERRORS = 2

_POLL_SECONDS = 0.5

# A batch is begun only if this many times the longest one so far is left.
_MARGIN = 1.2


class Progress(NamedTuple):
    """How far a sweep has come, in runs; `rate` in runs a second, zero while unknown."""

    num_runs: int
    num_done: int
    num_failed: int
    rate: float
    note: str = ""


Listener = Callable[[Progress], None]


class Campaign:
    """What is left of a sweep, and how doing it goes.

    - **Takes** `batches`, those still to do, `num_done`, runs done before; `walltime`, seconds
        after which nothing is to run any more, None for no limit.
    """

    def __init__(
        self,
        store: Store,
        sweep: Sweep,
        batches: Iterator[Batch],
        num_done: int,
        walltime: float | None,
        listener: Listener,
    ):
        self.store, self.sweep = store, sweep
        self._batches, self._walltime, self._listener = batches, walltime, listener
        self._begun = time.monotonic()
        self._num_before = self._num_done = num_done
        self._num_failed, self._longest = 0, 0.0
        self.out_of_time = False
        self._beat = Beat(store, sweep)

    def next(self) -> Batch | None:
        """The next batch to begin; None if there is none, or no time for one."""
        if self._walltime is not None and not self.out_of_time:
            left = self._walltime - (time.monotonic() - self._begun)
            self.out_of_time = left < _MARGIN * self._longest or left <= 0
        if self.out_of_time:
            return None
        for batch in self._batches:
            # Another process may have written it since the sweep was planned.
            if not self.store.has(self.store.file_of(self.sweep, batch.number)):
                return batch
            self._num_done += len(batch.runs)
        return None

    def heard(self, done: Done) -> None:
        """Counts a batch that is done."""
        self._num_done += done.num_runs
        self._num_failed += done.num_failed
        self._longest = max(self._longest, done.seconds)
        self.tell()

    def tell(self, note: str = "", running: list[str] | None = None) -> None:
        """Says how far it is."""
        elapsed = time.monotonic() - self._begun
        rate = (self._num_done - self._num_before) / elapsed
        progress = Progress(len(self.sweep), self._num_done, self._num_failed, rate, note)
        self._beat.offer(progress._asdict(), running)
        self._listener(progress)

    def end(self) -> None:
        """Takes back the sign that this process is at work."""
        self._beat.end()


def run_here(campaign: Campaign) -> None:
    """Does every batch in this process, one after another.

    - **Raises** [`ComputationError`][lazyrich.ComputationError] if the store cannot be written.
    """
    while (batch := campaign.next()) is not None:
        name = campaign.store.file_of(campaign.sweep, batch.number)
        campaign.tell(running=[name])
        try:
            campaign.heard(run_batch(campaign.store, campaign.sweep, *batch))
        except OSError as error:
            raise ComputationError(_explained(error, campaign.store, batch)) from error


def run_on(client: Any, campaign: Campaign, max_running: int | None) -> None:
    """Does every batch on the workers of a client's scheduler.

    At most `max_running` batches are with the scheduler at a time, twice the threads there
    are if it is None. They stay with it if this process ends: what is begun is finished.

    - **Raises** [`ComputationError`][lazyrich.ComputationError] if the scheduler is lost, the
        store cannot be written, or a batch ends its worker or raises again and again.
    """
    from distributed import fire_and_forget

    store, sweep = campaign.store, campaign.sweep
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    running: dict[str, tuple[Any, Batch]] = {}
    losses: dict[int, int] = {}
    errors: dict[int, int] = {}

    def hand_out(batch: Batch) -> None:
        tries = losses.get(batch.number, 0) + errors.get(batch.number, 0)
        key = f"{store.file_of(sweep, batch.number)}-try{tries}"
        future = client.submit(run_batch, store, sweep, *batch, key=key, pure=False)
        running[key] = (future, batch)
        fire_and_forget(future)
        future.add_done_callback(heard.put)

    while True:
        room = max_running or max(2, 2 * sum(client.nthreads().values()))
        while len(running) < room and (batch := campaign.next()) is not None:
            hand_out(batch)
        if not running:
            return
        try:
            future = heard.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if client.status != "running":
                raise _lost(client, store) from None
            campaign.tell(running=[key.split("-try")[0] for key in running])
            continue
        _, batch = running.pop(future.key)
        if future.cancelled():
            raise _lost(client, store)
        error = future.exception()
        if error is None:
            campaign.heard(future.result())
            continue
        again = _again(error, batch, losses, errors)
        if not again:
            raise ComputationError(_explained(error, store, batch)) from error
        campaign.tell(f"batch {batch.number} is handed out again: {_in_words(error)}")
        hand_out(batch)


def _again(
    error: BaseException, batch: Batch, losses: dict[int, int], errors: dict[int, int]
) -> bool:
    """Whether a batch that came to nothing should be tried once more."""
    from distributed import KilledWorker

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return False
    counts, most = (
        (losses, _MAX_LOSSES) if isinstance(error, KilledWorker) else (errors, _MAX_ERRORS)
    )
    counts[batch.number] = counts.get(batch.number, 0) + 1
    return counts[batch.number] <= most


def _in_words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _explained(error: BaseException, store: Store, batch: Batch) -> str:
    if isinstance(error, OSError):
        return f"{store.url}: {_in_words(error)}; what is done is kept, the same command goes on"
    return (
        f"batch {batch.number} (runs {', '.join(map(str, batch.runs[:4]))} ...) came to nothing "
        f"again and again: {type(error).__name__}: {_in_words(error)}; what is done is kept"
    )


def _lost(client: Any, store: Store) -> ComputationError:
    address = client.scheduler.address if client.scheduler else "the address given"
    return ComputationError(
        f"the scheduler at {address} is gone; what is done is kept in {store.url}, the same "
        "command goes on"
    )
