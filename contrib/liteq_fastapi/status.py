"""How the queue does, as JSON: an application to be mounted in one of FastAPI or Starlette.

    app.mount("/liteq", status_app(queue))

GET health       200 when the queue's file can be used; `?workers=2`: and at least two workers live; else 503. Its
                 `status` is "stuck" or "warning" where work does not go on; with `?strict=1`, 503 for "stuck"
GET status       workers, messages by queue and state, dead letters, and `warnings`: what is wrong
GET tasks/{id}   a task's state, and its result or its error; 404 for an id that the file does not know

A request may look that sends `Authorization: Bearer <token>` with the `token`. Without a token nothing may, unless
`local=True` is given: then a request whose connection has both ends on the loopback. Behind a proxy on the same machine
that is everybody's, so take a token there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from liteq import LiteQ
from liteq.monitor import documents
from liteq.utils.async_threads import reading

__all__ = ["status_app"]


def status_app(queue: LiteQ, *, token: str | None = None, local: bool = False) -> Starlette:
    """The application, for `queue`. Raises ValueError for an empty `token`, which would let in nobody, or everybody."""
    if token is not None and not token.strip():
        raise ValueError("the token is empty: give one; or leave it out and say local=True for this machine alone")
    guard = documents.Guard(token, "status_app(queue, token=...)", local, "status_app(queue, local=True)")

    def told(tell: Callable[..., documents.Answer], *known: str, named: Iterable[str] = ()) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            answer = _refusal(request, guard) or documents.misasked(request.query_params, known)
            if answer is None:
                # In the reading thread: neither the file nor the look at the workers holds the event loop up.
                # By name: the path below which this is mounted may have parameters of its own.
                given = [*map(request.path_params.get, named), *map(request.query_params.get, known)]
                answer = await reading(queue, tell, queue, *given)
            return Response(answer.body, answer.code, answer.headers, media_type="application/json")

        return endpoint

    return Starlette(
        routes=[
            Route("/health", told(documents.health, *documents.HEALTH)),
            Route("/status", told(documents.status)),
            Route("/tasks/{id}", told(documents.task, named=["id"])),
        ]
    )


def _refusal(request: Request, guard: documents.Guard) -> documents.Answer | None:
    client = request.client.host if request.client is not None else None
    server = request.scope.get("server")
    ends = documents.Ends(request.headers.get("host", ""), client, server[0] if server else None)
    return documents.refusal(guard, request.headers.items(), ends)
