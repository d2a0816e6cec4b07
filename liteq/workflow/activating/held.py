"""Sessions that are held over a run: opened by the step that first needs one, used by the next, closed when it rests.

A session belongs to no step and to no place of the body. While it is open the run comes to rest as without it, and
suspends: the session is closed then, and is opened anew only if a later step needs it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from liteq.workflow.history.frames import enter, here, outside
from liteq.workflow.history.places import Awaiting

__all__ = ["close_all", "drop", "held"]

T = TypeVar("T")
logger = logging.getLogger("liteq.workflow")
PATIENCE_S = 5.0  # for a session that is closed


class Session:
    """One open session: a task enters and leaves it, since its code may insist on that."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[Any]], loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[Any] = loop.create_future()
        self.closing = asyncio.Event()
        context = contextvars.copy_context()
        context.run(enter, None)  # of no step and of no body: what it creates takes no place
        self.task = asyncio.Task(self._hold(make), loop=loop, context=context)

    async def _hold(self, make: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        try:
            async with make() as value:
                self.opened.set_result(value)
                await self.closing.wait()
        except BaseException as exc:
            if not self.opened.done():
                self.opened.set_exception(exc if isinstance(exc, Exception) else RuntimeError(f"it was ended: {exc!r}"))
                self.opened.exception()  # told to whoever still waits
                return
            if not isinstance(exc, Exception):
                raise
            logger.warning("a session that was held over a run has ended by %s: %s", type(exc).__name__, exc)

    async def close(self) -> None:
        """Close it; one that does not yield in time is cancelled."""
        self.closing.set()
        _, late = await asyncio.wait({self.task}, timeout=PATIENCE_S)
        for task in late:
            task.cancel()
            await asyncio.wait({task}, timeout=PATIENCE_S)


async def held(key: Hashable, make: Callable[[], AbstractAsyncContextManager[T]]) -> T:
    """The session under `key`, for a step of an async body: that which is open, else `make()` entered now.

    It stays open for the next steps, until the activation ends. Raises what entering it raises, and WorkflowError where
    no run executes.
    """
    pending = _pending()
    session: Session | None = pending.sessions.get(key)
    if session is None or session.task.done():
        session = pending.sessions[key] = Session(make, pending.loop)
    value: T = await asyncio.shield(session.opened)
    return value


async def drop(key: Hashable) -> None:
    """Close the session under `key`, if there is one: it is broken, and the next step opens another."""
    session: Session | None = _pending().sessions.pop(key, None)
    if session is not None:
        await session.close()


def _pending() -> Awaiting:
    frame = here()
    pending: Awaiting | None = None if frame is None else frame.machine.pending
    if pending is None:
        raise outside("a held session")
    return pending


async def close_all(pending: Awaiting) -> None:
    """Close the sessions of an activation that ends."""
    sessions = [*pending.sessions.values()]
    pending.sessions.clear()
    await asyncio.gather(*(session.close() for session in sessions))
