"""Schedulers and workers of dask without the HTTP server that dask starts for each.

The process that supervises the workers imports this module before it starts them. The module
therefore imports neither JAX nor the rest of this library.
"""

from typing import Any

import distributed


class Scheduler(distributed.Scheduler):
    """A scheduler whose only open port is protected by credentials."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing, because dask's HTTP routes are open to anyone who reaches the port."""


class Worker(distributed.Worker):
    """A worker without an HTTP server."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing, see `Scheduler`."""
