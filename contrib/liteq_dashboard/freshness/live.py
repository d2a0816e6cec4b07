"""Changes of a queue's file, told to the pages that look: by a stream where the host is ASGI, else they ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from liteq_dashboard.freshness.stamp import stamp_of

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["Broadcaster"]

LOOK_S = 1.0  # between two looks at the file
HEARTBEAT_S = (
    15.0  # proxies close a connection that is silent for a minute; a client that is gone is noticed by a write
)
LIFE_S = 15 * 60.0  # then the browser comes anew, and is asked again who it is
MOST_STREAMS = 50


class Broadcaster:
    """Looks at the file once a second while somebody listens, and tells all listeners of a change."""

    def __init__(self, app: LiteQ, *, look_s: float = LOOK_S, heartbeat_s: float = HEARTBEAT_S, life_s: float = LIFE_S):
        self._app = app
        self._look_s, self._heartbeat_s, self._life_s = look_s, heartbeat_s, life_s
        self._listeners: set[asyncio.Queue[str]] = set()
        self._looking: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """The number of streams that are open."""
        return len(self._listeners)

    @property
    def is_looking(self) -> bool:
        """Whether the file is looked at."""
        return self._looking is not None and not self._looking.done()

    def changes(self, since: str = "") -> AsyncIterator[bytes] | None:
        """A stream of events: `changed` with a stamp as its data, for each change; None where there are too many.

        The first comes at once when the file is not as it was at the stamp `since`.
        """
        if len(self._listeners) >= MOST_STREAMS:
            return None
        return self._stream(since)

    async def _stream(self, since: str) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._life_s
        listener: asyncio.Queue[str] = asyncio.Queue(maxsize=1)
        self._listeners.add(listener)
        if not self.is_looking:
            # Of now, and not of when the task first runs: what changes from here on is told.
            self._looking = loop.create_task(self._look(stamp_of(self._app)))
        try:
            yield b"retry: 2000\n\n"
            now = stamp_of(self._app)
            if since and since != now:
                yield _changed(now)
            while (left := ends - loop.time()) > 0:
                try:
                    async with asyncio.timeout(min(left, self._heartbeat_s)):
                        stamp = await listener.get()
                except TimeoutError:
                    yield b": alive\n\n"
                else:
                    yield _changed(stamp)
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self, last: str) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            now = stamp_of(self._app)
            if now == last:
                continue
            last = now
            for listener in self._listeners:
                if listener.empty():  # a slow reader is told once of many changes
                    listener.put_nowait(now)


def _changed(stamp: str) -> bytes:
    return f"event: changed\ndata: {stamp}\n\n".encode()
