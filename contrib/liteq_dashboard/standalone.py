"""`liteq dashboard`: the dashboard as a server of its own, for one file or for several."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from liteq.exceptions import LiteqError
from liteq_dashboard.access import Viewer
from liteq_dashboard.asgi import natively
from liteq_dashboard.dispatch import Dashboard
from liteq_dashboard.guard.door import Door
from liteq_dashboard.http import Reader, Response, Route
from liteq_dashboard.http import Request as Asked
from liteq_dashboard.pages import static
from liteq_dashboard.render import html
from liteq_dashboard.routes import Table, routes

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["serve", "standalone_app"]

LOOKED_AT = 100  # files that the list of files opens, to tell which of them cannot be read


def standalone_app(apps: Mapping[str, LiteQ], door: Door, *, read_only: bool = False) -> ASGIApp:
    """The dashboards of `apps`, guarded by `door`, below its root: each below its name, a single one at the root."""

    def who(request: Request) -> Viewer | None:
        address = request.client.host if request.client is not None else None
        return door.viewer(request.headers, address)

    def board(app: LiteQ, lines: tuple[Route, ...]) -> Starlette:
        table = Table((*lines, *door.routes))
        return natively(Dashboard(app, read_only=read_only, table=table, login="login", leave="leave"), who)

    if len(apps) == 1:
        (app,) = apps.values()
        return _Below(board(app, routes()), door.root)

    def files(request: Asked, _reader: Reader) -> Response:
        named = [(name, app.broker_url, _trouble(app) if len(apps) <= LOOKED_AT else "") for name, app in apps.items()]
        return html(request, "files.html", files=named)

    index = board(next(iter(apps.values())), (Route("GET", "", "view", files), *static.ROUTES))
    mounts = [Mount(f"/{name}", board(app, routes())) for name, app in apps.items()]
    return _Below(Starlette(routes=[*mounts, Mount("", index)]), door.root)


def _trouble(app: LiteQ) -> str:
    """The reason why a file cannot be read; "" where it can."""
    try:
        app.storage.reader.next_due_ms()
    except LiteqError as exc:
        return str(exc)
    return ""


class _Below:
    """An application below a path, whether the proxy before it strips that path or not."""

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._root and scope["type"] == "http":
            path = scope["path"]
            is_whole = path == self._root or path.startswith(f"{self._root}/")
            whole = path if is_whole else self._root + path
            scope = {**scope, "root_path": self._root, "path": whole if whole != self._root else f"{whole}/"}
        await self._app(scope, receive, send)


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serve `app` on a socket that listens, until SIGINT or SIGTERM."""
    import uvicorn

    options: dict[str, Any] = {
        "lifespan": "off",
        "log_level": "warning",
        "access_log": False,
        "proxy_headers": False,  # the door reads them, and only from a proxy that it trusts
        "server_header": False,
        "timeout_graceful_shutdown": 1,  # a stream to a page never ends by itself
    }
    uvicorn.Server(uvicorn.Config(app, **options)).run(sockets=[listening])
