"""`lazyrich explore` as a user starts it, and a page of it in a browser.

The fixtures `browser` and `new_page` are in `conftest`; tests with them have the mark `browser`.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _BROWSERS)), "")
SIZES = {"wide": (1280, 800), "narrow": (390, 844)}
COMMAND = [sys.executable, "-m", "lazyrich", "explore"]


class Served:
    """A running explorer: `address`, `host` with its port, `token`, `process`."""

    def __init__(self, process: subprocess.Popen[str]):
        assert process.stdout is not None
        self.process = psutil.Process(process.pid)
        line = process.stdout.readline()
        assert line.startswith("lazyrich: http://127.0.0.1:"), line
        self.address = line.split()[-1]
        self.host, self.token = self.address.split("/")[2:4]

    @property
    def workers(self) -> list[psutil.Process]:
        return self.process.children(recursive=True)

    def answer(
        self, path: str = "", method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of an answer; `path` is what follows the token."""
        return self.answer_of(f"/{self.token}/{path}", method, **headers)

    def answer_of(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """The same of a whole path; `Host="..."` replaces the header of that name."""
        with contextlib.closing(HTTPConnection(self.host, timeout=20)) as connection:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for key, value in headers.items():
                connection.putheader(key, value)
            connection.endheaders()
            found = connection.getresponse()
            kept = {key.lower(): value for key, value in found.getheaders()}
            return found.status, kept, found.read().decode()

    def tab(self, path: str | None = None, origin: str | None = "", **options: Any) -> "Client":
        """A socket to the explorer, as one of its pages opens it."""
        place = f"/{self.token}/socket" if path is None else path
        sender: Any = f"http://{self.host}" if origin == "" else origin
        options = {"max_size": None, "compression": None, "open_timeout": 20} | options
        # Closed by the client, which a test may leave open.
        return Client(connect(f"ws://{self.host}{place}", origin=sender, **options).__enter__())


class Client:
    """What a page does with its socket, without a browser."""

    def __init__(self, socket: ClientConnection):
        self.socket, self._next = socket, 0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, message: Any) -> None:
        self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def ask(self, job: str, args: Any = None, **fields: Any) -> int:
        """Asks for a job; returns its number."""
        self._next += 1
        self.send({"id": self._next, "job": job, "args": {} if args is None else args} | fields)
        return self._next

    def event(self, timeout: float = 60) -> dict[str, Any]:
        """The next event of a job."""
        while True:
            found = json.loads(self.socket.recv(timeout))
            if found["event"] != "worker":
                return dict(found)

    def until(self, number: int | None, *events: str) -> dict[str, Any]:
        """The next event of a job that is one of these; at most a minute away."""
        last = time.monotonic() + 60
        while True:
            found = self.event(last - time.monotonic())
            if found["id"] == number and found["event"] in events:
                return found

    def end(self, number: int | None) -> dict[str, Any]:
        """The event that ends a job."""
        return self.until(number, "done", "failed", "cancelled", "stale")

    def closed(self) -> tuple[int | None, str]:
        """Code and reason with which the server has closed the socket; reads what it sent before.

        - **Raises** `TimeoutError` if it does not close it.
        """
        last = time.monotonic() + 60
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.socket.recv(last - time.monotonic())
        return self.socket.close_code, self.socket.close_reason or ""


class Watched:
    """A page in a browser, `page`, and what it complained of, `complaints`."""

    def __init__(self, page: "Page"):
        self.page, self.complaints = page, list[str]()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def findings(self) -> list[str]:
        """What axe-core finds, serious or critical: the rule and the element."""
        script = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
        self.page.evaluate(script)
        results = self.page.evaluate("axe.run()")
        assert len(results["passes"]) > 5
        return [
            f"{found['id']}: {node['html'][:200]}"
            for found in results["violations"]
            if found["impact"] in ("serious", "critical")
            for node in found["nodes"]
        ]

    def is_cut(self) -> bool:
        """Whether the page is wider than the screen."""
        code = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        return bool(self.page.evaluate(code))


class Wire:
    """The socket of a page, on which a test lets answers come late, or fail.

    Made while the page is blank; its address is opened afterwards. `heard` are the events that
    the explorer has sent, each the job and its name.
    """

    def __init__(self, page: "Page"):
        self._jobs, self._late = dict[int, str](), dict[str, list[Callable[[], None]]]()
        self._failing, self.heard = dict[str, str](), list[tuple[str, str]]()
        self._socket: WebSocketRoute | None = None
        page.route_web_socket(re.compile("/socket$"), self._join)

    def hold(self, job: str) -> None:
        """From now on, answers of a job wait."""
        self._late[job] = []

    def let(self, job: str) -> None:
        """Sends the answers that wait, and lets others pass."""
        for send in self._late.pop(job):
            send()

    def fail(self, job: str, words: str) -> None:
        """From now on, a job fails with these words, and the explorer hears nothing of it."""
        self._failing[job] = words

    def cut(self) -> None:
        """Ends the connection; the page makes another one."""
        assert self._socket is not None
        self._socket.close(code=1011)

    def _join(self, socket: "WebSocketRoute") -> None:
        self._socket, server = socket, socket.connect_to_server()

        def asked(text: str | bytes) -> None:
            message = json.loads(text)
            if "job" in message:
                number, job = message["id"], message["job"]
                self._jobs[number] = job
                if job in self._failing:
                    data = {"error": self._failing[job]}
                    answered(json.dumps({"id": number, "event": "failed", "data": data}))
                    return
            server.send(text)

        def answered(text: str | bytes) -> None:
            message = json.loads(text)
            job = self._jobs.get(message["id"], "")
            self.heard.append((job, message["event"]))
            late = self._late.get(job)
            if late is None:
                socket.send(text)
            else:
                late.append(lambda: socket.send(text))

        socket.on_message(asked)
        server.on_message(answered)


@contextlib.contextmanager
def served(*arguments: str | Path, **variables: str) -> Iterator[Served]:
    """An explorer, ended as by Ctrl-C."""
    command = [*COMMAND, "--no-browser", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}
    ) as process:
        try:
            yield Served(process)
        finally:
            process.send_signal(signal.SIGINT)
