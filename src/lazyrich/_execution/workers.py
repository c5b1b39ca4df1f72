"""Where batches are computed: this process, processes of its own, or a cluster."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from .._errors import InputError, require

# A worker computes one batch at a time on one core: batches are as many as there are cores,
# and products of small matrices do not gain from a second one.
_WORKER = ("--nthreads", "1", "--no-dashboard", "--death-timeout", "30")
ENVIRONMENT = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "PJRT_NPROC": "1",
    "OMP_NUM_THREADS": "1",
}


class Crew:
    """Workers that are started when they are first asked for, and serve until the end.

    - **Takes** `workers`, processes to start, as many as cores by default; 0 for none, so that
        all is computed in this process; `scheduler`, an address to use in their place.
    """

    def __init__(self, stack: contextlib.ExitStack, workers: int | None, scheduler: str | None):
        self._stack, self._scheduler = stack, scheduler
        self._num_workers = (os.cpu_count() or 1) if workers is None else workers
        self._client: Any = None

    def client(self) -> Any:
        """A `distributed.Client` of theirs; None if this process is to do the work."""
        if self._client is None and (self._num_workers > 0 or self._scheduler is not None):
            context = connected(self._scheduler, self._num_workers)
            self._client = self._stack.enter_context(context)
        return self._client


@contextlib.contextmanager
def crew(workers: int | None, scheduler: str | None) -> Iterator[Crew]:
    """A [`Crew`][] that is sent home at the end."""
    with contextlib.ExitStack() as stack:
        yield Crew(stack, workers, scheduler)


@contextlib.contextmanager
def connected(scheduler: str | None, num_workers: int) -> Iterator[Any]:
    """A `distributed.Client` of the scheduler at an address, or of one of its own.

    - **Raises** [`InputError`][lazyrich.InputError] if nothing answers at the address.
    """
    require("distributed", "maps", "a sweep on worker processes (any but workers=0)")
    from distributed import Client, LocalCluster

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            accepted = f"should be the address of a running dask scheduler ({error})"
            raise InputError("scheduler", scheduler, accepted) from None
        with client:
            yield client
        return
    with (
        # What one worker has compiled serves the others, and those started in their place.
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache,
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
        _worker_processes(cluster.scheduler_address, num_workers, cache),
    ):
        yield client


@contextlib.contextmanager
def _worker_processes(address: str, num_workers: int, cache: str) -> Iterator[None]:
    """Processes that serve a scheduler, started as a user would start them.

    Started by their command and not by `multiprocessing`, which would run the user's script
    again in each of them. A nanny in each starts its worker anew when that is killed.
    """
    # Threads are the caller's to set; flags that are set already are kept.
    environment = {**ENVIRONMENT, **os.environ}
    environment["JAX_COMPILATION_CACHE_DIR"] = cache
    environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ENVIRONMENT['XLA_FLAGS']}"
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, *_WORKER]
    command += ["--nworkers", str(num_workers)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
