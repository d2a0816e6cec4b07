"""A task for a page that follows it, as Server-Sent Events."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, StreamingHttpResponse

from liteq.monitor.server_events import HEADERS, INTERVAL_S, aevents, checked_interval, events, offset_of
from liteq.result import AsyncResult

if TYPE_CHECKING:
    from liteq.workflow.client.run import Run

__all__ = ["event_stream"]


class Events(StreamingHttpResponse):
    """The answer, which an `async def` view may await: then an unknown id is a 404."""

    def __init__(self, result: AsyncResult[Any], body: Any, **options: Any) -> None:
        super().__init__(body, **options)
        self._result = result

    def __await__(self) -> Generator[Any, None, Events]:
        return self._checked().__await__()

    async def _checked(self) -> Events:
        if not await self._result.aexists():
            raise _no_such(self._result)
        return self


def _no_such(result: AsyncResult[Any]) -> Http404:
    return Http404(f"there is no task {result.id}")


def _runs_a_loop() -> bool:
    """Whether this thread runs an event loop, where a look into the file would hold up all that it serves."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def event_stream(
    result: AsyncResult[Any] | Run[Any], stream: str | None = None, *, request: HttpRequest,
    interval_s: float = INTERVAL_S,
) -> Events:  # fmt: skip
    """The progress of `result` as Server-Sent Events: `progress` for each change, then one `done`.

    The data is JSON: {"state", "ready", "info"}, or "error" with "type" and "message" in the place of "info". With
    `stream`, the chunks that the task, or the run of a workflow, emits to it: the id of each is its offset, so that a
    page which connects again gets those behind the last one that it has seen; the data is JSON. An event `attempt`
    comes before the chunks of a retry, which begin anew. Progress is looked at each `interval_s` seconds, and the end
    comes at once.

    Under ASGI no thread waits, in a view of either kind; under WSGI the request keeps its thread until the task has
    ended, or the client has gone, which is noticed within 15 s. Raises Http404 for an unknown id; an `async def` view
    has to await it for that, `return await event_stream(...)`, else the stream is `done` at once. Raises
    ValueError for an `interval_s` that is not above 0. A browser's EventSource connects again after the end: close it
    on `done`.
    """
    taken: Any = {"after": offset_of(request.headers.get("Last-Event-ID")), "interval_s": checked_interval(interval_s)}
    whole: AsyncResult[Any] = AsyncResult(result.id, app=result.app)
    under_asgi = isinstance(request, ASGIRequest)
    if not (under_asgi and _runs_a_loop()) and not whole.exists():
        raise _no_such(whole)
    make = aevents if under_asgi else events
    return Events(whole, make(result, stream, **taken), content_type="text/event-stream", headers=HEADERS)
