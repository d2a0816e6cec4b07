"""The server over HTTP, at /mcp: tokens, the Host and Origin of a request, and the socket that listens."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from liteq_dashboard.access import Viewer
from liteq_dashboard.guard.pace import Pace
from liteq_dashboard.guard.tokens import Tokens
from liteq_mcp.server import mcp_server

if TYPE_CHECKING:
    from liteq import LiteQ
    from liteq_mcp.options import Options

__all__ = ["PATH", "http_app", "is_loopback", "serve"]

PATH: Final = "/mcp"
VIEWER: Final = "liteq.viewer"
WRONG_A_MINUTE: Final = 10
LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def http_app(app: LiteQ, viewer: Viewer, options: Options, *, host: str, tokens: Tokens | None = None) -> ASGIApp:
    """The server at PATH, for `viewer`; with `tokens` for theirs, who have no right that `viewer` has not."""

    def viewer_of(ctx: ServerRequestContext[Any, Any]) -> Viewer:
        found: Viewer = ctx.request.scope[VIEWER] if isinstance(ctx.request, Request) else Viewer("", ())
        return found

    inner = mcp_server(app, viewer_of, options).streamable_http_app(
        streamable_http_path=PATH, transport_security=_security(host)
    )
    return _Door(AuthContextMiddleware(inner), app, viewer, tokens, any_host=not is_loopback(host))


def _security(host: str) -> TransportSecuritySettings:
    """The Hosts and Origins that are taken: on loopback its names alone, as a page of elsewhere may point there.

    A server that others reach may have any name; there the door compares Origin and Host, and asks for a token.
    """
    if not is_loopback(host):
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    names = [*LOCAL, *([host] if host not in LOCAL else [])]
    return TransportSecuritySettings(
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],
        allowed_origins=[f"{scheme}://{name}{port}" for scheme in ("http", "https") for name in names
                         for port in ("", ":*")],
    )  # fmt: skip


class _Door:
    """Lets in whoever sends a token that is known, as its viewer; refuses others without a reason."""

    def __init__(
        self, app: ASGIApp, queue: LiteQ, viewer: Viewer, tokens: Tokens | None, *, any_host: bool
    ) -> None:  # fmt: skip
        self._app, self._viewer, self._tokens, self._any_host = app, viewer, tokens, any_host
        self._wrong = Pace(WRONG_A_MINUTE, queue.clock, 60.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        refused = self._foreign(request)
        if refused is None:
            refused = self._let_in(request, scope)
        await (refused or self._app)(scope, receive, send)

    def _foreign(self, request: Request) -> PlainTextResponse | None:
        """A page of another site, where any Host is taken: 403."""
        origin = request.headers.get("origin")
        if not self._any_host or origin is None or urlsplit(origin).netloc == request.headers.get("host"):
            return None
        return PlainTextResponse("Forbidden", 403)

    def _let_in(self, request: Request, scope: Scope) -> PlainTextResponse | None:
        """Put the viewer into `scope`; else the refusal: 401, and 429 after ten wrong tokens a minute."""
        viewer: Viewer | None = self._viewer
        token = ""
        if self._tokens is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            token = given.strip() if scheme.lower() == "bearer" else ""
            address = request.client.host if request.client is not None else ""
            if self._wrong.is_spent(address):
                return PlainTextResponse("Too Many Requests", 429, {"retry-after": "60"})
            viewer = self._tokens.viewer(token) if token else None
            if viewer is None:
                if token:
                    self._wrong.allows(address)
                return PlainTextResponse("Unauthorized", 401, {"www-authenticate": "Bearer"})
            viewer = viewer.only(self._viewer.rights)
            # A session, and the answer to a question, belong to the token that began them.
            scope["user"] = AuthenticatedUser(AccessToken(token=token, client_id=viewer.name, scopes=[]))
        scope[VIEWER] = viewer
        return None


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serve `app` on a socket that listens, until SIGINT or SIGTERM."""
    import uvicorn

    options: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": 1,  # a stream to a client never ends by itself
    }
    uvicorn.Server(uvicorn.Config(app, **options)).run(sockets=[listening])
