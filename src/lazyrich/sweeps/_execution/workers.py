"""The places where batches are computed: this process, worker processes, or a cluster."""

import contextlib
import ipaddress
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

from ..._core.errors import ComputationError, InputError, require
from ..._core.files import private
from ..._core.given import check_kind

# A worker computes one batch at a time on one core, because there are as many batches as cores and
# products of small matrices do not gain from a second core.
# There is no memory limit: dask pauses workers above their limit, possibly for ever.
_WORKER = ("--nthreads", "1", "--no-dashboard", "--death-timeout", "30", "--memory-limit", "0")
# A worker runs any code that it receives. Workers and schedulers started here listen on the
# loopback interface, accept no message without the credential of their sweep, and serve no HTTP.
_LOOPBACK = "127.0.0.1"
_WORKER_CLASS = "lazyrich._core.dask_nodes.Worker"
_GUARDED = ("--protocol", "tls", "--host", _LOOPBACK, "--worker-class", _WORKER_CLASS)
_MAX_STARTS = 10
_USAGE = 2  # the exit code for wrong command-line arguments

ENVIRONMENT = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "PJRT_NPROC": "1",
    "OMP_NUM_THREADS": "1",
}


class WorkerPool:
    """Workers that start on first use, and run until the end of a block.

    - **Takes** `workers`, the number of processes to start, by default one for each core; 0 to
        compute in this process; `scheduler`, an address or a dask cluster to use instead.
    """

    def __init__(self, stack: contextlib.ExitStack, workers: int | None, scheduler: Any):
        self._stack, self._scheduler = stack, scheduler
        if workers is not None:
            check_kind("workers", workers, Integral, "a whole number, 0 or more")
            if workers < 0:
                raise InputError("workers", workers, "should be a whole number, 0 or more")
        self._num_workers = (os.cpu_count() or 1) if workers is None else workers
        self._client: Any = None
        self.check: Callable[[], None] = lambda: None

    def client(self) -> Any:
        """A `distributed.Client` of the workers; None if this process should compute."""
        if self._client is None and (self._num_workers > 0 or self._scheduler is not None):
            context = connected(self._scheduler, self._num_workers)
            self._client, self.check = self._stack.enter_context(context)
        return self._client


@contextlib.contextmanager
def worker_pool(workers: int | None, scheduler: Any) -> Iterator[WorkerPool]:
    """A [`WorkerPool`][] whose workers end with the block."""
    with contextlib.ExitStack() as stack:
        yield WorkerPool(stack, workers, scheduler)


@contextlib.contextmanager
def connected(scheduler: Any, num_workers: int) -> Iterator[Any]:
    """A `distributed.Client` of the scheduler at an address, or of a new one.

    Also yields a function that raises [`ComputationError`][lazyrich.ComputationError] if the
    workers have ended.

    - **Takes** `scheduler`, None, an address, or a dask cluster with its own credential.
    - **Raises** [`InputError`][lazyrich.InputError] if nothing answers at the address, or if
        the connection is not safe.
    """
    require("distributed", "maps", "a sweep on worker processes (any but workers=0)")
    from distributed import Client, Security, SpecCluster

    if scheduler is not None:
        # A cluster has its own credential; for an address, dask's configuration may name one.
        security = getattr(scheduler, "security", None) or Security()
        named = getattr(scheduler, "scheduler_address", scheduler)
        address = checked_address(named, security)
        with _quiet():
            try:
                client = Client(address, security=security, timeout=10, set_as_default=False)
            except (OSError, ValueError, TypeError, RuntimeError) as error:
                accepted = f"should be the address of a running dask scheduler ({error})"
                raise InputError("scheduler", named, accepted) from None
            with _closing(client):
                yield client, lambda: None
        return
    require("cryptography", "maps", "a sweep on worker processes (any but workers=0)")
    security = Security.temporary()
    options = {"host": _LOOPBACK, "protocol": "tls://", "port": 0, "security": security}
    with (
        _quiet(),
        # All workers share one cache of compiled code, also workers that replace others. Only this
        # user can read the folder, because it also contains the credential.
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        SpecCluster(
            workers={},
            scheduler={"cls": _scheduler(), "options": {**options, "dashboard": False}},
            security=security,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, security=security, set_as_default=False) as client,
        _worker_processes(cluster.scheduler_address, num_workers, Path(scratch), security) as check,
    ):
        yield client, check


def _scheduler() -> type[Any]:
    from ..._core.dask_nodes import Scheduler

    return Scheduler


_INSECURE = "insecure+"


def checked_address(named: Any, security: Any) -> str:
    """The address of a scheduler, refused if others on the network could run code here.

    A scheduler receives experiments and returns pickles, and reading a pickle runs code. So the
    address of another machine must use TLS, with the files that dask's configuration names, or
    state that it is not safe: `insecure+tcp://...`.

    - **Raises** [`InputError`][lazyrich.InputError] for any other address.
    """
    if not isinstance(named, str):
        raise InputError("scheduler", named, "should be an address, or a dask cluster")
    if named.startswith(_INSECURE):
        return named.removeprefix(_INSECURE)
    protocol, separator, rest = named.partition("://")
    protocol, rest = (protocol, rest) if separator else ("tcp", named)
    if protocol in ("tls", "wss"):
        tls = security.get_tls_config_for_role("client")
        if not (tls["ca_file"] and tls["cert"]):
            accepted = (
                "needs the files of a credential: set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
                "..._TLS__CLIENT__CERT and ..._TLS__CLIENT__KEY"
            )
            raise InputError("scheduler", named, accepted)
    elif protocol in ("tcp", "ws") and not _is_loopback(rest):
        accepted = (
            "has no TLS: anyone who reaches it, or answers in its place, can run code on all "
            f"machines of the sweep; use tls://, or {_INSECURE}{protocol}://{rest} in a network "
            "that you trust"
        )
        raise InputError("scheduler", named, accepted)
    return named


def _is_loopback(place: str) -> bool:
    """Whether `HOST:PORT` is on this machine only."""
    host = place.rsplit(":", 1)[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _closing(client: Any) -> Iterator[None]:
    """Closes a client at the end, even if its scheduler no longer answers."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            client.close(timeout=2)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the log messages of distributed. Errors that matter are raised separately."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    loggers = [logging.getLogger(name) for name in {"distributed", *names}]
    before = [(logger, logger.level) for logger in loggers if logger.level != logging.NOTSET]
    for logger, _ in before:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)


@contextlib.contextmanager
def _worker_processes(
    address: str, num_workers: int, scratch: Path, security: Any
) -> Iterator[Callable[[], None]]:
    """Worker processes of a scheduler, started by dask's command.

    `multiprocessing` would run the user's script again in each worker. In each process a nanny
    restarts its worker if the worker is killed. If this process is killed, the workers lose the
    scheduler and end.
    """
    # The caller sets the number of threads; flags that are already set are kept.
    environment = {**ENVIRONMENT, **os.environ}
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(scratch / "compiled"))
    environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ENVIRONMENT['XLA_FLAGS']}"
    # Modules that this process finds, such as those in the folder of the user's script.
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(place).absolute()) for place in sys.path)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, *_WORKER]
    command += ["--nworkers", str(num_workers), "--local-directory", str(scratch), *_GUARDED]
    tls = security.get_tls_config_for_role("worker")
    for option, key in (("--tls-ca-file", "ca_file"), ("--tls-cert", "cert"), ("--tls-key", "key")):
        place = scratch / key
        private(place, tls[key].encode())
        command += [option, str(place)]
    log = scratch / "log"

    def start() -> subprocess.Popen[bytes]:
        with log.open("wb") as file:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                # Ctrl-C is for this process, which then ends the workers.
                start_new_session=True,
            )

    started = [start()]

    def check() -> None:
        code = started[-1].poll()
        if code is None:
            return
        # A worker that is killed while it starts ends its nanny, and that nanny the others.
        if code != _USAGE and len(started) < _MAX_STARTS:
            started.append(start())
            return
        lines = log.read_text(errors="replace").strip().splitlines()
        output = [line for line in lines if " - INFO - " not in line] or [f"exit code {code}"]
        raise ComputationError(f"the worker processes end repeatedly: {output[-1]}")

    try:
        yield check
    finally:
        # Killed at once, because workers would otherwise finish their batches first. A worker ends
        # together with its nanny.
        started[-1].kill()
        started[-1].wait()
