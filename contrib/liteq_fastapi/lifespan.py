"""The queue's file is open as long as the web app runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from liteq import LiteQ

__all__ = ["lifespan", "opened"]

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


@asynccontextmanager
async def opened(queue: LiteQ) -> AsyncIterator[LiteQ]:
    """Open the file of `queue`, for the block; for a lifespan of your own.

    What is wrong with its settings or its file is raised here, before the first request. Requests then find it open:
    the first of them does not wait for settings to be read and a schema to be looked at.
    """
    await asyncio.to_thread(_open, queue)
    try:
        yield queue
    finally:
        await asyncio.to_thread(queue.close)


def _open(queue: LiteQ) -> None:
    queue.finalize()
    queue.storage.migrate()
    queue.storage.reader.next_due_ms()


def lifespan(queue: LiteQ, inner: Lifespan | None = None) -> Lifespan:
    """A lifespan for `FastAPI(lifespan=lifespan(queue))`; `inner` is another one, that runs within it.

    Requests have `request.state.liteq`, and what `inner` yields.
    """

    @asynccontextmanager
    async def around(asgi_app: Any) -> AsyncIterator[dict[str, Any]]:
        async with opened(queue):
            if inner is None:
                yield {"liteq": queue}
                return
            async with inner(asgi_app) as state:
                yield {"liteq": queue, **(state or {})}

    return around
