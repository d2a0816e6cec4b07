"""How far a replica must be, between requests: `Liteq-Position` of an answer, which the client brings again."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liteq.context import get_current_app
from liteq.result.position import COOKIE, HEADER, exchange

__all__ = ["PositionMiddleware"]


class PositionMiddleware:
    """`app.add_middleware(PositionMiddleware, queue=queue)`; without `queue` it is that of the current app.

    In a request that brings a position, by header or cookie, `get()` waits until the replica is that far. An answer
    whose request sent a task brings the position of it.
    """

    def __init__(self, app: ASGIApp, queue: Any = None) -> None:
        self._app = app
        self._queue = queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        with exchange(asked.headers.get(HEADER), asked.cookies.get(COOKIE)) as here:

            async def tell(message: Message) -> None:
                if message["type"] == "http.response.start":
                    position = await here.aposition(self._queue if self._queue is not None else get_current_app())
                    if position is not None:
                        _add(message, position, secure=asked.url.scheme == "https")
                await send(message)

            await self._app(scope, receive, tell)


def _add(message: Message, position: str, *, secure: bool) -> None:
    headers = MutableHeaders(scope=message)
    headers[HEADER] = position
    cookie = Response()
    cookie.set_cookie(COOKIE, position, secure=secure, httponly=True, samesite="lax")
    headers.append("set-cookie", cookie.headers["set-cookie"])
