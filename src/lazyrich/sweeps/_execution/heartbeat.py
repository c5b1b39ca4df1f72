"""A file that shows others that a process works on a sweep."""

import contextlib
import json
import os
import socket
import time
import uuid
from typing import Any

from .._store import Store
from .._sweep import Sweep

_SECONDS = 2.0


class Heartbeat:
    """A file in a store's `running/` with the progress of a sweep, renewed every two seconds.

    Only `lazyrich status` reads it. If the file cannot be written, the sweep continues without.
    """

    def __init__(self, store: Store, sweep: Sweep):
        self._store, self._sweep = store, sweep.content_hash
        self._name = f"running/{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
        self._last = -_SECONDS
        self._running: list[str] = []

    def offer(self, progress: dict[str, Any], running: list[str] | None) -> None:
        """Writes the file again if the last time is long enough ago."""
        self._running = self._running if running is None else running
        if time.monotonic() - self._last < _SECONDS:
            return
        self._last = time.monotonic()
        content = {
            "sweep": self._sweep,
            "host": socket.gethostname(),
            "time": time.time(),
            "running": self._running,
            **progress,
        }
        with contextlib.suppress(OSError):
            self._store.folder.write(self._name, json.dumps(content).encode())

    def end(self) -> None:
        """Removes the file."""
        with contextlib.suppress(OSError):
            self._store.folder.remove(self._name)
