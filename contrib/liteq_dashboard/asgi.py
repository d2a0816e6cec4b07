"""The dashboard as an ASGI application: pages run in threads, changes are streamed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from liteq.monitor.documents import Ends
from liteq.utils.async_threads import looking, writing
from liteq_dashboard.access import Viewer
from liteq_dashboard.dispatch import LARGEST_BODY, TOO_LARGE, Asked, Dashboard, local_viewer, with_body
from liteq_dashboard.freshness.live import Broadcaster
from liteq_dashboard.hosts import as_written
from liteq_dashboard.http import Response as Answer
from liteq_dashboard.http import Stream
from liteq_dashboard.render import problem

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["Access", "Endpoint", "asgi_app", "ends_of", "natively"]

Access = Callable[[Request], "Awaitable[Viewer | None] | Viewer | None"]

MOST_FIELDS = 10_000


def asgi_app(
    queue: LiteQ,
    access: Access | None = None,
    *,
    read_only: bool = False,
    origins: Iterable[str] = (),
    framed_by: Iterable[str] = (),
) -> Starlette:
    """The dashboard of `queue`, to be mounted in an application of Starlette's or FastAPI's.

    `access`: `who(request) -> Viewer | None`, which may be async; None is 401. Without it this machine alone may look.
    `read_only`: nobody may act. `origins`: other origins from which forms may come. `framed_by`: origins that may show
    it in a frame.
    """
    return natively(Dashboard(queue, read_only=read_only, origins=origins, framed_by=framed_by), access)


def natively(dashboard: Dashboard, access: Access | None) -> Starlette:
    """An application with each path of the dashboard's table as a route of its own; the rest is 404 or 405."""
    endpoint = Endpoint(dashboard, access)
    paths = {route.path: None for route in dashboard.table.routes}  # once each, in their order
    routes = [Route(f"/{path}", endpoint, name=f"liteq {path or 'overview'}") for path in paths]
    return Starlette(routes=[*routes, Route("/{rest:path}", endpoint, name="liteq")])


class Endpoint:
    """The one endpoint behind all routes."""

    def __init__(self, dashboard: Dashboard, access: Access | None) -> None:
        self._dashboard = dashboard
        self._access = access
        self._changes = Broadcaster(dashboard.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return  # nobody reads the answer
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        asked = await _asked(request)
        viewer = await self._viewer(request, asked)
        # A write waits for the file's lock, with those of the program: so no reader waits behind it.
        run = looking if request.method in {"GET", "HEAD"} else writing
        answer = await run(self._dashboard.app, self._dashboard.respond, asked, viewer)
        if isinstance(answer, Stream):
            changes = self._changes.changes(answer.since)
            if changes is None:
                full = problem(503, "too many pages listen; ask `live?stamp=` instead", {"retry-after": "60"})
                return _response(self._dashboard.dressed(full))
            return StreamingResponse(changes, headers=dict(answer.headers))
        return _response(answer)

    async def _viewer(self, request: Request, asked: Asked) -> Viewer | None:
        if self._access is None:
            return local_viewer(asked)
        found = self._access(request)
        return await found if inspect.isawaitable(found) else found


def ends_of(request: Request) -> Ends:
    """The ends of the connection, and the host that the request names."""
    client = request.client.host if request.client is not None else None
    server = request.scope.get("server")
    return Ends(request.headers.get("host", ""), client, server[0] if server else None)


async def _asked(request: Request) -> Asked:
    """The request as all hosts hand it over."""
    base = request.scope.get("root_path", "").rstrip("/")
    asked = Asked(
        method=request.method,
        path=request.scope["path"].removeprefix(base).lstrip("/"),
        base=as_written(base),
        query=request.scope.get("query_string", b"").decode("utf-8", "replace"),  # a client may send any
        headers=dict(request.headers),
        ends=ends_of(request),
        can_stream=True,
    )
    return asked if request.method in {"GET", "HEAD"} else await _with_body(request, asked)


async def _with_body(request: Request, asked: Asked) -> Asked:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            return replace(asked, unread=TOO_LARGE)
    return with_body(
        asked,
        lambda: bytes(body),
        lambda: parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS),
        is_there=bool(body),
    )


def _response(answer: Answer) -> Response:
    headers = dict(answer.headers)
    if isinstance(answer.body, bytes):
        return Response(answer.body, answer.status, headers)
    return StreamingResponse(iterate_in_threadpool(answer.body), answer.status, headers)
