"""The progress of the sweeps in a store."""

import json
import math
import os
import time
import warnings
from dataclasses import dataclass
from typing import Any

from .._sweep import Sweep
from .sealed import Damaged
from .store import Store
from .table import sources

# A process whose last heartbeat is older than this is no longer at work.
_SILENCE = 120.0
# The largest heartbeat file in bytes. A batch in progress takes about fifty.
_MAX_HEARTBEAT = 2**20


@dataclass(frozen=True, kw_only=True)
class Status:
    """The progress of one sweep of a store, in runs.

    - `num_done` counts runs in files: `outcomes` says how many have each outcome, and
        `num_failed` how many raised. `num_running` counts runs in batches that a live process
        works on; `num_missing` counts runs in no file; `num_forecast` counts runs in files with
        forecasts.
    - `rate`, in runs per second, and `seconds_left`, from the processes at work; None if there
        are none.
    - `seconds_per_run`, the mean over all files, on one worker.
    - `damaged`, files without a valid end, and their damage.
    """

    sweep: str
    num_runs: int
    num_done: int
    num_failed: int
    num_running: int
    num_missing: int
    num_forecast: int
    outcomes: dict[str, int]
    rate: float | None
    seconds_left: float | None
    seconds_per_run: float | None
    damaged: dict[str, str]


def status(store: str | os.PathLike[str]) -> list[Status]:
    """The progress of every sweep in a store, from the last bytes of its files.

    - **Raises** [`InputError`][lazyrich.InputError] if there is no store.

    A warning names files that do not describe a sweep.
    """
    opened = Store(store)
    heartbeats = _heartbeats(opened)
    sweeps, damaged = opened.examined_sweeps()
    warn_damaged(opened, damaged, "it is left out")
    return [_of_sweep(opened, name, sweep, heartbeats) for name, sweep in sweeps.items()]


def warn_damaged(store: Store, damaged: dict[str, str], loss: str) -> None:
    """A warning of one line for each file that cannot be read."""
    for name, how in damaged.items():
        warnings.warn(f"{store.url}: {name} is damaged, {loss}: {how}", stacklevel=3)


def _of_sweep(store: Store, name: str, sweep: Sweep, heartbeats: list[dict[str, Any]]) -> Status:
    outcomes: dict[str, int] = {}
    damaged: dict[str, str] = {}
    num_done, num_forecast, seconds = 0, 0, 0.0
    for source in sources(store, sweep):
        try:
            summary: Any = store.summary(source.name)
            source.check(len(summary["hashes"]))
        except Damaged as error:
            damaged[source.name] = str(error)
            continue
        num_done += len(source.runs)
        num_forecast += len(source.runs) if "forecast" in summary else 0
        seconds += summary["seconds"] * len(source.runs) / len(summary["hashes"])
        if len(source.runs) == len(summary["hashes"]):
            for outcome, count in summary["outcomes"].items():
                outcomes[outcome] = outcomes.get(outcome, 0) + count
    own = [heartbeat for heartbeat in heartbeats if heartbeat["sweep"] == sweep.content_hash]
    rate = sum(heartbeat["rate"] for heartbeat in own) or None
    files = {file for heartbeat in own for file in heartbeat["running"]} - set(store.files())
    num_missing = len(sweep) - num_done
    return Status(
        sweep=name,
        num_runs=len(sweep),
        num_done=num_done,
        num_failed=outcomes.get("failed", 0),
        num_running=min(num_missing, len(files) * sweep.batch_size),
        num_missing=num_missing,
        num_forecast=num_forecast,
        outcomes=dict(sorted(outcomes.items())),
        rate=rate,
        seconds_left=num_missing / rate if rate else None,
        seconds_per_run=seconds / num_done if num_done else None,
        damaged=damaged,
    )


def _heartbeats(store: Store) -> list[dict[str, Any]]:
    """The recent heartbeats of processes at work."""
    found = []
    for name in store.folder.names("running"):
        try:
            heartbeat = json.loads(store.folder.read(f"running/{name}", _MAX_HEARTBEAT))
            rate, when = float(heartbeat["rate"]), float(heartbeat["time"])
            running = [file for file in heartbeat["running"] if isinstance(file, str)]
            kept = {"sweep": str(heartbeat["sweep"]), "rate": rate, "running": running}
            if abs(time.time() - when) < _SILENCE and 0 <= rate < math.inf:
                found.append(kept)
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue  # removed meanwhile, or not a heartbeat
    return found
