"""A task for a page that follows it, as Server-Sent Events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Request, Response, abort
from flask import request as current

from liteq.monitor.server_events import HEADERS, INTERVAL_S, checked_interval, events, offset_of
from liteq.result import AsyncResult

if TYPE_CHECKING:
    from liteq.workflow.client.run import Run

__all__ = ["event_stream"]


def event_stream(
    result: AsyncResult[Any] | Run[Any], stream: str | None = None, *, request: Request | None = None,
    interval_s: float = INTERVAL_S,
) -> Response:  # fmt: skip
    """The progress of `result` as Server-Sent Events: `progress` for each change, then one `done`.

    The data is JSON: {"state", "ready", "info"}, or "error" with "type" and "message" in the place of "info". With
    `stream`, the chunks that the task, or the run of a workflow, emits to it: the id of each is its offset, so that a
    page which connects again gets those behind the last one that it has seen; the data is JSON. An event `attempt`
    comes before the chunks of a retry, which begin anew. Progress is looked at each `interval_s` seconds, and the end
    comes at once. `request` is the one that is answered, by default the current one.

    Ends the request with 404 for an unknown id. The request keeps its thread until the task has ended, or the client
    has gone, which is noticed within 15 s. Raises ValueError for an `interval_s` that is not above 0. A browser's
    EventSource connects again after the end: close it on `done`.
    """
    whole: AsyncResult[Any] = AsyncResult(result.id, app=result.app)
    if not whole.exists():
        abort(404, f"there is no task {result.id}")
    after = offset_of((current if request is None else request).headers.get("Last-Event-ID"))
    body = events(result, stream, after=after, interval_s=checked_interval(interval_s))
    return Response(body, mimetype="text/event-stream", headers=HEADERS)
