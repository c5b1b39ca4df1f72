"""The process in which jobs are computed: `python -m lazyrich._explore.process`.

Messages are lines of JSON on stdin, answers a line of JSON and a body on stdout. When stdin
ends, the server has ended, however it did, and so does this process.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from .._core.errors import InputError, one_line
from .job import Cancelled, Place, encoded
from .jobs import JOBS, PRELOADED

# The largest number of letters in an error message.
_MAX_LINE = 2000


class _Channel:
    """Answers to the server, from any thread."""

    def __init__(self, out: BinaryIO):
        self._out, self._lock = out, threading.Lock()

    def say(self, number: int, event: str, data: dict[str, Any]) -> None:
        body = encoded(data)
        head = json.dumps({"number": number, "event": event, "size": len(body)}).encode()
        with self._lock:
            self._out.write(head + b"\n" + body)
            self._out.flush()


class _Inbox:
    """Jobs to compute, and the numbers of those that the page has cancelled."""

    def __init__(self, lines: BinaryIO, place: Place):
        self.jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.light: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.cancelled: set[int] = set()
        self._lines, self._place = lines, place
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        # A pipe that breaks is the end, too.
        with contextlib.suppress(OSError, ValueError):
            for line in self._lines:
                message = json.loads(line)
                if "cancel" in message:
                    self.cancelled.add(message["cancel"])
                else:
                    is_light = JOBS[message["job"]].is_light
                    (self.light if is_light else self.jobs).put(message)
        shutil.rmtree(self._place.scratch, ignore_errors=True)
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            # Processes that a job has started end, too.
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(0)


def main() -> None:
    """Computes jobs until the server ends."""
    lines, out = _own_streams()
    about = json.loads(lines.readline())
    place = Place(about["source"], Path(about["scratch"]))
    if about["worker"] == "run" and hasattr(os, "nice"):
        # Forecasts come first, also while a run takes every core.
        os.nice(5)
    inbox, channel = _Inbox(lines, place), _Channel(out)
    functions = _functions(about["worker"])
    channel.say(0, "ready", {})

    def compute(jobs: "queue.SimpleQueue[dict[str, Any]]") -> None:
        while True:
            _compute(jobs.get(), functions, inbox, channel, place)

    threading.Thread(target=compute, args=(inbox.light,), daemon=True).start()
    compute(inbox.jobs)


def _compute(
    message: dict[str, Any],
    functions: dict[str, Callable[..., dict[str, Any]]],
    inbox: _Inbox,
    channel: _Channel,
    place: Place,
) -> None:
    """Computes a job and says how it ended."""
    number = message["number"]

    def send(event: str, data: dict[str, Any]) -> None:
        if number in inbox.cancelled:
            raise Cancelled
        channel.say(number, event, data)

    event, data = _outcome(functions[message["job"]], message["args"], send, place)
    channel.say(number, "cancelled" if number in inbox.cancelled else event, data)
    inbox.cancelled.discard(number)


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Stdin and stdout for messages only; what libraries print goes to stderr."""
    lines, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return lines, out


def _functions(worker: str) -> dict[str, Callable[..., dict[str, Any]]]:
    """The functions of a worker's jobs, and what they import."""
    for module in PRELOADED:
        import_module(f"lazyrich.{module}")
    package = f"{__package__}.jobs"
    return {
        name: getattr(import_module(f"{package}.{job.module}"), job.function)
        for name, job in JOBS.items()
        if job.worker == worker
    }


def _outcome(
    function: Callable[..., dict[str, Any]], args: dict[str, Any], send: Any, place: Place
) -> tuple[str, dict[str, Any]]:
    try:
        return "done", function(args, send, place)
    except Cancelled:
        return "cancelled", {}
    except InputError as error:
        return "failed", {"error": str(error)}
    except Exception as error:
        if "LAZYRICH_TRACEBACK" in os.environ:
            sys.excepthook(type(error), error, error.__traceback__)
        words = one_line(error, _MAX_LINE) or type(error).__name__
        return "failed", {"error": words}


if __name__ == "__main__":
    main()
