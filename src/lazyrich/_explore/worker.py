"""A worker: its process, started again when it dies, and the jobs that wait for it."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._core.errors import one_line
from .jobs import JOBS, WorkerName

# Seconds in which a job must answer when it is cancelled, before its process is killed.
PATIENCE = 5.0
# A process that dies so many times before it is ready is not started again.
_MAX_STARTS = 3

# Seconds in which a process that was killed is gone.
_LAST_WORDS = 2.0

_ENDINGS = ("done", "failed", "cancelled")
_numbers = itertools.count(1)


@dataclass(eq=False)
class Task:
    """A job that a page has asked for.

    - `tell`: called with each event and its data as JSON; exactly once with an event that ends it.
    """

    job: str
    args: dict[str, Any]
    tell: Callable[[str, bytes], None]
    number: int = field(default_factory=lambda: next(_numbers))
    is_cancelled: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def is_light(self) -> bool:
        """Whether it is computed in the thread of light jobs."""
        return JOBS[self.job].is_light


class Worker:
    """One process, and the tasks that wait for it; all methods are called in the event loop.

    At most two tasks run at a time, one of them light: see `Job`.

    - **Takes** `source` and `scratch`, see `Place`; `changed`, called with the worker when its
        `state` changes: `starting`, `ready` or `failed`, with the reason in `problem`.
    """

    def __init__(
        self, name: WorkerName, source: str | None, scratch: str, changed: Callable[..., None]
    ):
        self.name, self.source, self.state, self.problem = name, source, "starting", ""
        self._about = {"worker": name, "source": source, "scratch": scratch}
        self._changed, self._log = changed, os.path.join(scratch, f"{name}.log")  # noqa: PTH118
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: deque[Task] = deque()
        self._running: dict[bool, Task] = {}  # by whether it is light

    def num_ahead(self, task: Task) -> int:
        """The number of tasks before one that is added now."""
        tasks = (*self._waiting, *self._running.values())
        return sum(other.is_light == task.is_light for other in tasks)

    def is_waiting(self, task: Task) -> bool:
        """Whether a task has not begun."""
        return task in self._waiting

    def add(self, task: Task) -> None:
        """Computes a task after those that wait."""
        if self.state == "failed":
            task.tell("failed", _words(self.problem))
            return
        if ahead := self.num_ahead(task):
            task.tell("waiting", json.dumps({"ahead": ahead}).encode())
        self._waiting.append(task)
        self._next()

    def cancel(self, task: Task) -> bool:
        """Ends a task; returns whether it had not begun. Otherwise it ends within `PATIENCE`."""
        if task in self._waiting:
            self._waiting.remove(task)
            return True
        if task in self._running.values() and not task.is_cancelled:
            task.is_cancelled = True
            self._write({"cancel": task.number})
            task.timer = asyncio.get_running_loop().call_later(PATIENCE, self._kill)
        return False

    async def run(self) -> None:
        """Keeps a process running until this is cancelled."""
        num_starts = 0
        try:
            while num_starts < _MAX_STARTS:
                num_starts += 1
                process = await self._start()
                async for event, number, body in _messages(process):
                    if event == "ready":
                        num_starts = 0
                        self._become("ready")
                        self._next()
                    else:
                        self._heard(event, number, body)
                await process.wait()
                self._kill()
                self._died()
            self._give_up()
        finally:
            self._kill()
            # The loop ends soon, and must have heard of the end of its process before.
            if self._process is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), _LAST_WORDS)

    async def _start(self) -> asyncio.subprocess.Process:
        self._become("starting")
        pipe = asyncio.subprocess.PIPE
        # -P: a file of the current folder is not imported in place of an installed module. The
        # session of its own keeps Ctrl-C on the terminal from the process.
        command = [sys.executable, "-P", "-m", "lazyrich._explore.process"]
        with contextlib.ExitStack() as stack:
            log = None
            if "LAZYRICH_TRACEBACK" not in os.environ:
                log = stack.enter_context(open(self._log, "wb"))  # noqa: PTH123
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True
            )
        self._write(self._about)
        return self._process

    def _become(self, state: str) -> None:
        self.state = state
        self._changed(self)

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # Of a process that has just died the reader says so.
        with contextlib.suppress(OSError, RuntimeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _next(self) -> None:
        for task in list(self._waiting):
            if self.state == "ready" and task.is_light not in self._running:
                self._waiting.remove(task)
                self._running[task.is_light] = task
                self._write({"number": task.number, "job": task.job, "args": task.args})

    def _heard(self, event: str, number: int, body: bytes) -> None:
        for task in list(self._running.values()):
            if task.number != number:
                continue
            if event in _ENDINGS:
                self._end(task, event, body)
                self._next()
            elif not task.is_cancelled:
                task.tell(event, body)

    def _end(self, task: Task, event: str, body: bytes) -> None:
        if task.timer is not None:
            task.timer.cancel()
        del self._running[task.is_light]
        task.tell("cancelled", b"{}") if task.is_cancelled else task.tell(event, body)

    def _died(self) -> None:
        words = "the process that computed this has ended, perhaps for lack of memory; try again"
        for task in list(self._running.values()):
            self._end(task, "failed", _words(words))

    def _give_up(self) -> None:
        lines: list[str] = []
        with contextlib.suppress(OSError), open(self._log, "rb") as log:  # noqa: PTH123
            lines = log.read()[-10_000:].decode(errors="replace").splitlines()
        last = one_line(lines[-1] if lines else "its reason is on the terminal", 500)
        self.problem = f"the process that computes cannot start: {last}"
        self._become("failed")
        while self._waiting:
            self._waiting.popleft().tell("failed", _words(self.problem))

    def _kill(self) -> None:
        """Ends the process and those that it has started, which are in its group."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            elif self._process.returncode is None:
                self._process.kill()


async def _messages(process: asyncio.subprocess.Process) -> Any:
    """Event, number and body of each answer, until the process ends."""
    assert process.stdout is not None
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while line := await process.stdout.readline():
            head = json.loads(line)
            yield head["event"], head["number"], await process.stdout.readexactly(head["size"])


def _words(error: str) -> bytes:
    return json.dumps({"error": error}).encode()
