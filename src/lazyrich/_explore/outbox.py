"""What is to be sent to a page, bounded for one that reads slowly or not at all."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Hashable

# Of these a page wants the newest only.
_REPLACED = ("progress", "part", "waiting")
# A page that leaves more than this unread is given up.
MAX_BYTES, MAX_MESSAGES = 2**26, 4000


class Outbox:
    """Messages in the order in which they were first put; iteration ends when it is closed.

    An unsent `progress`, `part` or `waiting` of a job is replaced by the next of its kind. With
    more than `MAX_BYTES` or `MAX_MESSAGES` unsent the box is closed.
    """

    def __init__(self) -> None:
        self._left: dict[Hashable, str] = {}
        self._size = 0
        self._count = itertools.count()
        self._there, self.closed = asyncio.Event(), asyncio.Event()

    def put(self, number: int | None, event: str, data: bytes) -> None:
        """Adds a message: an event of the job `number`, with data as JSON."""
        if self.closed.is_set():
            return
        head = "null" if number is None else number
        text = f'{{"id":{head},"event":"{event}","data":{data.decode()}}}'
        kind = (number, event) if event in _REPLACED else next(self._count)
        self._size += len(text) - len(self._left.get(kind, ""))
        self._left[kind] = text
        self._there.set()
        if self._size > MAX_BYTES or len(self._left) > MAX_MESSAGES:
            self.close()

    def close(self) -> None:
        """Forgets what has not been sent."""
        self._size = 0
        self._left.clear()
        self.closed.set()
        self._there.set()

    async def __aiter__(self) -> AsyncIterator[str]:
        while not self.closed.is_set():
            await self._there.wait()
            while self._left:
                text = self._left.pop(next(iter(self._left)))
                self._size -= len(text)
                yield text
            self._there.clear()
