"""How far the sweeps of a store have come."""

import json
import math
import os
import time
import warnings
from typing import Any, NamedTuple

from .._sweep import Sweep
from .sealed import Damaged
from .store import Store
from .table import sources

# A process that has not been heard of for so long is not at work any more.
_SILENCE = 120.0
# Bytes of what it says: thousands of batches at work have fifty letters each.
_MAX_HEARTBEAT = 2**20


class Status(NamedTuple):
    """One sweep of a store, in runs.

    - `num_done` counts runs in files, of which `outcomes` says how they came out and
        `num_failed` raised; `num_running` those of batches that a live process says it works
        on; `num_missing` what is in no file.
    - `rate`, runs a second, and `seconds_left`, by the processes at work; None without any.
    - `seconds_per_run`, the mean over all files, on one worker.
    - `damaged`, files that do not end as they should, and how.
    """

    sweep: str
    num_runs: int
    num_done: int
    num_failed: int
    num_running: int
    num_missing: int
    outcomes: dict[str, int]
    rate: float | None
    seconds_left: float | None
    seconds_per_run: float | None
    damaged: dict[str, str]


def status(store: str | os.PathLike[str]) -> list[Status]:
    """The state of every sweep in a store, from the last bytes of its files.

    - **Raises** [`InputError`][lazyrich.InputError] if there is no store.

    Files that describe no sweep are named in a warning.
    """
    opened = Store(store)
    heartbeats = _heartbeats(opened)
    sweeps, damaged = opened.examined_sweeps()
    warn_damaged(opened, damaged, "it is left out")
    return [_of_sweep(opened, name, sweep, heartbeats) for name, sweep in sweeps.items()]


def warn_damaged(store: Store, damaged: dict[str, str], loss: str) -> None:
    """A warning for each file that cannot be read, in one line."""
    for name, how in damaged.items():
        warnings.warn(f"{store.url}: {name} is damaged, {loss}: {how}", stacklevel=3)


def _of_sweep(store: Store, name: str, sweep: Sweep, heartbeats: list[dict[str, Any]]) -> Status:
    outcomes: dict[str, int] = {}
    damaged: dict[str, str] = {}
    num_done, seconds = 0, 0.0
    for source in sources(store, sweep):
        try:
            summary: Any = store.summary(source.name)
            source.check(len(summary["hashes"]))
        except Damaged as error:
            damaged[source.name] = str(error)
            continue
        num_done += len(source.runs)
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
        outcomes=dict(sorted(outcomes.items())),
        rate=rate,
        seconds_left=num_missing / rate if rate else None,
        seconds_per_run=seconds / num_done if num_done else None,
        damaged=damaged,
    )


def _heartbeats(store: Store) -> list[dict[str, Any]]:
    """What processes at work have said lately."""
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
            continue  # gone meanwhile, or not ours
    return found
