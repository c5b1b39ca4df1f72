"""One socket: messages of a page in, events of its jobs out."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from .._core.errors import InputError, did_you_mean
from .first import first_answer
from .jobs import JOBS
from .outbox import Outbox
from .worker import Task, Worker

# The largest message of a page, in letters; a TOML file has at most a quarter of it.
MAX_MESSAGE = 10**6
# Slots of a tab with a job; the page uses a handful.
_MAX_SLOTS = 16
_MAX_NAME = 100
_MAX_ID = 2**53


class Tab:
    """The jobs of one page. In each slot at most one job runs and one waits.

    A newer job takes the place of the one that waits. One that runs in the worker `run` is ended
    for it; one in `quick` is nearly done, and so every change of a slider that began is drawn.
    """

    def __init__(self, socket: WebSocket, workers: Mapping[str, Worker]):
        self._socket, self._workers = socket, workers
        self._tasks: dict[int, tuple[Task, str]] = {}
        self.outbox = Outbox()

    async def serve(self) -> None:
        """Answers until the page closes the socket, or is too slow to read."""
        await self._socket.accept()
        for worker in self._workers.values():
            self.tell_state(worker)
        parts = (self._read(), self._write(), self.outbox.closed.wait())
        running = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in running:
                part.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self.outbox.close()
            for task, _ in list(self._tasks.values()):
                self._workers[JOBS[task.job].worker].cancel(task)

    def tell_state(self, worker: Worker) -> None:
        """Says whether a worker is ready."""
        data = {"worker": worker.name, "state": worker.state, "problem": worker.problem}
        self.outbox.put(None, "worker", json.dumps(data).encode())

    async def _write(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            async for text in self.outbox:
                await self._socket.send_text(text)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            try:
                self._take(_parsed(text))
            except InputError as error:
                self._fail(None, error)

    def _fail(self, number: int | None, error: InputError) -> None:
        self.outbox.put(number, "failed", json.dumps({"error": str(error)}).encode())

    def _take(self, message: dict[str, Any]) -> None:
        """Begins or cancels the job of a message."""
        if message.keys() == {"cancel"}:
            self._cancel(_number("cancel", message["cancel"]))
            return
        number = _number("id", message.get("id"))
        if number in self._tasks:
            raise InputError("id", number, "is the number of a job that has not ended")
        try:
            job, slot, args = _asked(message)
            self._check_slots(slot)
        except InputError as error:
            self._fail(number, error)
            return
        worker = self._workers[JOBS[job].worker]
        if worker.state == "starting" and (known := first_answer(job, args, worker.source)):
            self.outbox.put(number, "done", known)
            return
        for other, (task, taken) in list(self._tasks.items()):
            if taken != slot:
                continue
            theirs = self._workers[JOBS[task.job].worker]
            if theirs.is_waiting(task):
                theirs.cancel(task)
                self._tell(other, "stale", b"{}")
            elif JOBS[task.job].worker == "run":
                theirs.cancel(task)
        task = Task(job, args, lambda event, body: self._tell(number, event, body))
        self._tasks[number] = (task, slot)
        worker.add(task)

    def _check_slots(self, slot: str) -> None:
        slots = {taken for _, taken in self._tasks.values()}
        if slot not in slots and len(slots) >= _MAX_SLOTS:
            raise InputError("slot", slot, f"at most {_MAX_SLOTS} slots have a job at a time")

    def _cancel(self, number: int) -> None:
        # A job that has just ended is not there; the page hears of its end.
        if number in self._tasks:
            task, _ = self._tasks[number]
            if self._workers[JOBS[task.job].worker].cancel(task):
                self._tell(number, "cancelled", b"{}")

    def _tell(self, number: int, event: str, body: bytes) -> None:
        if event in ("done", "failed", "cancelled", "stale"):
            self._tasks.pop(number, None)
        self.outbox.put(number, event, body)


def _parsed(text: str | None) -> dict[str, Any]:
    if text is None:
        raise InputError("message", "bytes", "should be text")
    if len(text) > MAX_MESSAGE:
        words = f"has {len(text):,} letters, more than {MAX_MESSAGE:,} are not read"
        raise InputError("message", text, words)
    try:
        message = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InputError("message", text, "should be JSON") from None
    if not isinstance(message, dict):
        raise InputError("message", text, "should be a JSON object")
    return message


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _number(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_ID:
        raise InputError(key, value, "should be a whole number from 0 to 2^53")
    return value


def _asked(message: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Job, slot and arguments of a message; the slot is the job's name if it has none."""
    if unknown := message.keys() - {"id", "job", "slot", "args"}:
        raise InputError(min(unknown), message[min(unknown)], "unknown; id, job, slot, args are")
    job, args = message.get("job"), message.get("args", {})
    if not isinstance(job, str) or job not in JOBS:
        near = did_you_mean(job, JOBS) if isinstance(job, str) and len(job) < _MAX_NAME else ""
        raise InputError("job", job, f"should be a job of this version{near}; reload the page")
    slot = message.get("slot", job)
    if not isinstance(slot, str) or len(slot) > _MAX_NAME:
        raise InputError("slot", slot, f"should be a text of at most {_MAX_NAME} letters")
    if not isinstance(args, dict):
        raise InputError("args", args, "should be an object")
    return job, slot, args
