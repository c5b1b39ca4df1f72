"""The server: the page, its files, and a socket for each tab."""

import asyncio
import contextlib
import logging
import socket
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from .security import Guard
from .tab import MAX_MESSAGE, Tab
from .worker import Worker

_STATIC = Path(str(files(__package__).joinpath("static")))
# Every file that the page can load, by its name in the address.
_SCRIPTS = ["main", "socket", "figure", "lab", "controls", "kept", "map", "inside", "tour"]
_NAMES = ("style.css", "lab.css", *(f"{name}.js" for name in _SCRIPTS))
_FILES = {name: _STATIC / name for name in _NAMES}
_TYPES = {".css": "text/css", ".js": "text/javascript", ".html": "text/html"}
# Tabs at a time; each has a socket and a few tasks.
_MAX_TABS = 50


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leaves signals to the caller."""
        yield


class Explorer:
    """The server of a page on a socket that listens; `run` in its own event loop and thread.

    - **Takes** `listener`; `token`, see `security`; `workers` by name, not yet running.
    """

    def __init__(self, listener: socket.socket, token: str, source: str | None, scratch: str):
        self._listener, self._token = listener, token
        self._tabs: set[Tab] = set()
        self._workers = {
            name: Worker(name, source, scratch, self._changed) for name in ("quick", "run")
        }
        self._quick = self._workers["quick"]
        self._server: _Server | None = None
        self._is_stopped = False

    def run(self) -> None:
        """Serves until `stop` is called."""
        asyncio.run(self._serve())

    def stop(self) -> None:
        """Ends the server; from any thread."""
        self._is_stopped = True
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True

    async def _serve(self) -> None:
        for name in ("uvicorn", "uvicorn.error", "websockets"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        port = self._listener.getsockname()[1]
        config = uvicorn.Config(
            Guard(self._app(), self._token, port),
            http="h11", ws="websockets-sansio", loop="asyncio", lifespan="off",
            log_config=None, access_log=False, server_header=False, proxy_headers=False,
            # A message that is a little too large is answered, a larger one ends the socket.
            ws_max_size=4 * MAX_MESSAGE, ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = _Server(config)
        self._server.should_exit = self._is_stopped
        working = [asyncio.create_task(part) for part in (self._quick.run(), self._run_later())]
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _run_later(self) -> None:
        """Starts the worker of runs after the other one, which the page needs first."""
        while self._quick.state == "starting":
            await asyncio.sleep(0.05)
        await self._workers["run"].run()

    def _app(self) -> Starlette:
        base = f"/{self._token}"
        routes: list[Any] = [
            Route(base, lambda request: RedirectResponse(f"{base}/")),
            Route(f"{base}/", _file(_STATIC / "page.html")),
            Route(f"{base}/static/plotly.js", _file(_plotly())),
            WebSocketRoute(f"{base}/socket", self._socket),
        ]
        routes += [Route(f"{base}/static/{name}", _file(path)) for name, path in _FILES.items()]
        app = Starlette(routes=routes, exception_handlers={404: _absent, 500: _failed})
        app.router.redirect_slashes = False
        return app

    async def _socket(self, socket: WebSocket) -> None:
        if len(self._tabs) >= _MAX_TABS:
            await socket.accept()
            await socket.close(1013, f"{_MAX_TABS} tabs are open; close some")
            return
        tab = Tab(socket, self._workers)
        self._tabs.add(tab)
        try:
            await tab.serve()
        finally:
            self._tabs.discard(tab)

    def _changed(self, worker: Worker) -> None:
        for tab in self._tabs:
            tab.tell_state(worker)


def _file(path: Path) -> Any:
    """An endpoint that answers with a file."""

    async def answer(request: Request) -> Response:
        del request
        return FileResponse(path, media_type=_TYPES[path.suffix])

    return answer


def _plotly() -> Path:
    """Plotly's script, without importing the package."""
    found = find_spec("plotly")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("package_data") / "plotly.min.js"


async def _absent(request: Request, error: Exception) -> Response:
    del request, error
    return PlainTextResponse("There is no such page.\n", 404)


async def _failed(request: Request, error: Exception) -> Response:
    del request, error
    return PlainTextResponse("The server failed to answer this.\n", 500)
