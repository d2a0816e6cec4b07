"""How the queue does, as JSON: an application to be mounted in one of FastAPI or Starlette.

    app.mount("/liteq", status_app(queue))

GET health       200 when the queue's file can be used; `?workers=2`: and at least two workers live; else 503
GET status       workers, messages by queue and state, dead letters, warnings
GET tasks/{id}   a task's state, and its result or its error; 404 for an id that the file does not know

With a `token` a request needs `Authorization: Bearer <token>`. Without one, only this machine may look, and not
through a proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from liteq import LiteQ
from liteq.monitor import documents
from liteq.utils.async_threads import reading

__all__ = ["status_app"]


def status_app(queue: LiteQ, *, token: str | None = None) -> Starlette:
    """The application, for `queue`. Raises ValueError for an empty `token`, which would let nobody or everybody in."""
    if token is not None and not token.strip():
        raise ValueError("the token is empty: leave it out, and only this machine may look; or give one")

    def told(tell: Callable[..., documents.Answer], *names: str) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            answer = _refusal(request, token)
            if answer is None:
                # In the reading thread: neither the file nor the look at the workers holds the event loop up.
                asked = {**request.query_params, **request.path_params}
                answer = await reading(queue, tell, queue, *(asked.get(name) for name in names))
            return Response(answer.body, answer.code, answer.headers, media_type="application/json")

        return endpoint

    return Starlette(
        routes=[
            Route("/health", told(documents.health, "workers")),
            Route("/status", told(documents.status)),
            Route("/tasks/{id}", told(documents.task, "id")),
        ]
    )


def _refusal(request: Request, token: str | None) -> documents.Answer | None:
    address = request.client.host if request.client is not None else None
    host = request.headers.get("host", "")
    return documents.refusal(token, "status_app(queue, token=...)", request.headers.items(), host, address)
