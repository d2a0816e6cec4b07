"""A task for a page that follows it, as Server-Sent Events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, StreamingHttpResponse

from liteq.monitor.server_events import HEADERS, aevents, events, offset_of
from liteq.result import AsyncResult

if TYPE_CHECKING:
    from liteq.workflow.client.run import Run

__all__ = ["event_stream"]


def event_stream(
    result: AsyncResult[Any] | Run[Any], stream: str | None = None, *, request: HttpRequest
) -> StreamingHttpResponse:
    """The progress of `result` as Server-Sent Events: `progress` for each change, then one `done`.

    The data is JSON: {"state", "ready", "info"}, or "error" with "type" and "message" in the place of "info". With
    `stream`, the chunks that the task, or the run of a workflow, emits to it: the id of each is its offset, so that a
    page which connects again gets those behind the last one that it has seen; the data is JSON. An event `attempt`
    comes before the chunks of a retry, which begin anew.

    Under ASGI no thread waits, in a view of either kind; under WSGI the request keeps its thread until the task has
    ended, or the client has gone, which is noticed within 15 s. Raises Http404 under WSGI for an unknown id; under ASGI
    its stream is `done` at once. A browser's EventSource connects again after the end: close it on `done`.
    """
    after = offset_of(request.headers.get("Last-Event-ID"))
    if isinstance(request, ASGIRequest):
        body: Any = aevents(result, stream, after=after)
    else:
        whole: AsyncResult[Any] = AsyncResult(result.id, app=result.app)
        if not whole.exists():
            raise Http404(f"there is no task {result.id}")
        body = events(result, stream, after=after)
    return StreamingHttpResponse(body, content_type="text/event-stream", headers=HEADERS)
