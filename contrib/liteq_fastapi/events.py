"""A task's progress, as it happens: for a loop in async code, and as Server-Sent Events for a page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from liteq import states
from liteq.monitor.documents import outcome
from liteq.monitor.server_events import HEADERS, INTERVAL_S, Followed, aevents, checked_interval, offset_of
from liteq.result import AsyncResult

if TYPE_CHECKING:
    from liteq.workflow.client.run import Run

__all__ = ["Progress", "event_stream", "progress"]


class Progress(NamedTuple):
    """The state of a task at one moment: `info` is its result, its exception, or the meta of `update_state`."""

    state: str
    info: Any

    @property
    def ready(self) -> bool:
        """Whether it has finished."""
        return self.state in states.READY_STATES

    def document(self) -> dict[str, Any]:
        """For JSON: {"state", "ready", "info"}, or {"state", "ready", "error": {"type", "message"}}."""
        return outcome(self.state, self.info)


async def progress(result: AsyncResult[Any], *, interval_s: float = 0.5) -> AsyncIterator[Progress]:
    """Yield the progress of `result` now, and then each change, up to its end.

    The end comes by wake-up; progress before it is looked at each `interval_s` seconds. An unknown id is
    PENDING for ever: ask `result.exists()`. Wrap it in `asyncio.timeout()` for a limit.
    """
    last = None
    while True:
        meta = await result.ameta()
        now = Progress(meta["status"], meta["result"])
        if last is None or now.document() != last.document():
            yield now
        if now.ready:
            return
        last = now
        try:
            await result.aget(timeout=interval_s, propagate=False, disable_sync_subtasks=False)
        except TimeoutError:
            pass


class Events(StreamingResponse):
    """The events of `result`, of a stream those behind the last one that the request says it has."""

    def __init__(self, result: Followed, stream: str | None, last: str | None, interval_s: float) -> None:
        super().__init__((), media_type="text/event-stream", headers=HEADERS)
        self._result, self._stream, self._last = result, stream, last
        self._interval_s = interval_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        last = self._last or Headers(scope=scope).get("last-event-id")
        self.body_iterator = aevents(self._result, self._stream, after=offset_of(last), interval_s=self._interval_s)
        await super().__call__(scope, receive, send)


async def event_stream(
    result: AsyncResult[Any] | Run[Any], stream: str | None = None, *, request: Request | None = None,
    interval_s: float = INTERVAL_S,
) -> StreamingResponse:  # fmt: skip
    """The progress of `result` as Server-Sent Events: `progress` for each change, then one `done`.

    The data is JSON: {"state", "ready", "info"}, or "error" with "type" and "message" in the place of "info". With
    `stream`, the chunks that the task, or the run of a workflow, emits to it: the id of each is its offset, so that a
    page which connects again gets those behind the last one that it has seen; the data is JSON. An event `attempt`
    comes before the chunks of a retry, which begin anew. Progress is looked at each `interval_s` seconds, and the end
    comes at once. `request` is the one that is answered: by default the one that gets the response.

    Raises HTTPException 404 for an unknown id, ValueError for an `interval_s` that is not above 0. When the client goes
    away the waiting ends with it, and the task runs on. A browser's EventSource connects again after the end of a
    stream: have the page close it on `done`.
    """
    interval_s = checked_interval(interval_s)
    whole: AsyncResult[Any] = AsyncResult(result.id, app=result.app)
    if not await whole.aexists():
        raise HTTPException(404, f"there is no task {result.id}")
    last = None if request is None else request.headers.get("last-event-id")
    return Events(result, stream, last, interval_s)
