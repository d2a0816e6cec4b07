"""The dashboard as an application to be mounted in one of FastAPI or Starlette."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request

from liteq import LiteQ

if TYPE_CHECKING:
    from liteq_dashboard import Viewer

__all__ = ["dashboard"]


def dashboard(
    queue: LiteQ,
    *,
    access: Callable[[Request], Awaitable[Viewer | None] | Viewer | None] | None = None,
    read_only: bool = False,
    origins: Iterable[str] = (),
    framed_by: Iterable[str] = (),
) -> Starlette:
    """The application for `queue`, to be mounted.

        app.mount("/liteq", dashboard(queue, access=who))

    `access`: a function, which may be async, that makes a `liteq_dashboard.Viewer` of Starlette's request; None: 401.
    Without it this machine alone may look, not by way of a proxy. `read_only`: nobody may act. `origins`: other origins
    from which forms may come. `framed_by`: origins that may show it in a frame. Raises ImproperlyConfigured where
    Jinja2 is not installed.
    """
    from liteq_dashboard.hosts import check_packages

    check_packages("jinja2")
    from liteq_dashboard.asgi import asgi_app

    return asgi_app(queue, access, read_only=read_only, origins=origins, framed_by=framed_by)
