"""A task's progress, as it happens: for a loop in async code, and as Server-Sent Events for a page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from liteq import states
from liteq.monitor.documents import outcome
from liteq.monitor.server_events import ALIVE, HEADERS, HEARTBEAT_S, Followed, aevents, offset_of
from liteq.result import AsyncResult
from liteq.utils.json_text import to_json

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


class Chunks(StreamingResponse):
    """The chunks of a stream, behind the last one that the request says it has."""

    def __init__(self, result: Followed, stream: str) -> None:
        super().__init__((), media_type="text/event-stream", headers=HEADERS)
        self._result = result
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        last = Headers(scope=scope).get("last-event-id")
        self.body_iterator = aevents(self._result, self._stream, after=offset_of(last))
        await super().__call__(scope, receive, send)


async def event_stream(
    result: AsyncResult[Any] | Run[Any], stream: str | None = None, *, interval_s: float = 0.5
) -> StreamingResponse:
    """The progress of `result` as Server-Sent Events: `progress` for each change, then one `done`.

    The data is the JSON of `Progress.document()`. With `stream`, the chunks that the task, or the run of a workflow,
    emits to it: the id of each is its offset, so that a page which connects again gets those behind the last one that
    it has seen; the data is JSON. An event `attempt` comes before the chunks of a retry, which begin anew.

    Raises HTTPException 404 for an unknown id. When the client goes away the waiting ends with it, and the task runs
    on. A browser's EventSource connects again after the end of a stream: have the page close it on `done`.
    """
    whole: AsyncResult[Any] = AsyncResult(result.id, app=result.app)
    if not await whole.aexists():
        raise HTTPException(404, f"there is no task {result.id}")
    if stream is not None:
        return Chunks(result, stream)
    return StreamingResponse(_events(whole, interval_s), media_type="text/event-stream", headers=HEADERS)


async def _events(result: AsyncResult[Any], interval_s: float) -> AsyncIterator[bytes]:
    changes = progress(result, interval_s=interval_s)
    coming: asyncio.Future[Progress] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(changes))
            done, _ = await asyncio.wait((coming,), timeout=HEARTBEAT_S)
            if not done:
                yield ALIVE
                continue
            told, coming = coming.result(), None
            event = b"done" if told.ready else b"progress"
            yield b"event: %b\ndata: %b\n\n" % (event, to_json(told.document()))
            if told.ready:
                return
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
