"""Schedulers and workers of dask without the HTTP server that each of theirs starts.

A module of its own that brings in neither JAX nor the rest of this library: the process that
looks after the workers imports it before it starts them.
"""

from typing import Any

import distributed


class Scheduler(distributed.Scheduler):
    """A scheduler whose one open port is the one that credentials protect."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Starts none: routes of dask's are open to whoever reaches the port."""


class Worker(distributed.Worker):
    """A worker, likewise."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Starts none, see `Scheduler`."""
