"""Waiting for a result only as long as the client waits for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

__all__ = ["while_connected"]

T = TypeVar("T")


async def while_connected(request: Request, coroutine: Coroutine[Any, Any, T]) -> T:
    """Await `coroutine` while the client is connected; its result.

        await while_connected(request, result.aget(timeout=60))

    When the client goes away, `coroutine` is cancelled and ClientDisconnect is raised. The task runs on; revoke it in
    `except ClientDisconnect` where it is wanted no more. Read the request's body before.
    """
    work = asyncio.ensure_future(coroutine)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientDisconnect
    finally:
        for future in (work, gone):
            future.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
