"""A task for a page that follows it, as Server-Sent Events: the chunks of a stream, or its progress; then `done`.

The integrations of the frameworks answer with these. `result` is an AsyncResult, or a Run of a workflow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from liteq import states
from liteq.context import App
from liteq.monitor.documents import outcome
from liteq.result import AsyncResult
from liteq.result.streaming import Chunk, afollow, follow, look_at
from liteq.result.waiting import DoneBell
from liteq.utils.async_threads import reading
from liteq.utils.json_text import to_json

__all__ = ["ALIVE", "HEADERS", "INTERVAL_S", "Followed", "aevents", "checked_interval", "events", "offset_of"]

# Proxies close a connection that is silent for a minute; and a client that is gone is noticed by a write.
HEARTBEAT_S = 15.0
INTERVAL_S = 0.5  # until progress is looked at again: it rings no bell
ALIVE = b": alive\n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Followed(Protocol):
    """An AsyncResult, or a Run."""

    app: App
    id: str


def offset_of(last_event_id: str | None) -> int:
    """The offset that the header `Last-Event-ID` holds: of the last chunk that the page has; 0 where it has none."""
    text = (last_event_id or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def checked_interval(interval_s: float) -> float:
    """`interval_s`, after how many seconds progress is looked at again. Raises ValueError for one that is not above 0.

    For `event_stream` of each framework, before it begins to answer.
    """
    if not interval_s > 0:
        raise ValueError(f"interval_s is a number of seconds above 0, not {interval_s!r}")
    return interval_s


def events(
    result: Followed, stream: str | None = None, *, after: int = 0, interval_s: float = INTERVAL_S
) -> Iterator[bytes]:
    """The events of `result`, for code that may block.

    With `stream` each chunk behind the offset `after`: its id is its offset, its data is JSON. An event `attempt`, with
    its number, comes before the chunks of a retry, which begin anew. Without: `progress`, for each change, which is
    looked for each `interval_s` seconds; the end comes at once. Both end with `done`: the JSON of `outcome`. An unknown
    id is done at once.
    """
    yield from _progress(result, interval_s) if stream is None else _chunks(result, stream, after)


async def aevents(
    result: Followed, stream: str | None = None, *, after: int = 0, interval_s: float = INTERVAL_S
) -> AsyncIterator[bytes]:
    """`events()` for async code."""
    following = _aprogress(result, interval_s) if stream is None else _achunks(result, stream, after)
    try:
        async for event in following:
            yield event
    finally:
        await following.aclose()  # type: ignore[attr-defined]


class _Writer:
    """Writes chunks as events; those up to `after` only tell which attempt the page has seen."""

    def __init__(self, after: int) -> None:
        self._after = after
        self._attempt: int | None = None

    def write(self, chunk: Chunk | None) -> bytes:
        if chunk is None:
            return ALIVE
        before, self._attempt = self._attempt, chunk.attempt
        if chunk.offset <= self._after:
            return b""
        anew = b"" if before in (None, chunk.attempt) else b"event: attempt\ndata: %d\n\n" % chunk.attempt
        return anew + b"id: %d\ndata: %b\n\n" % (chunk.offset, to_json(chunk.data))


def _chunks(result: Followed, stream: str, after: int) -> Iterator[bytes]:
    writer, look = _Writer(after), look_at(result.app, result.id, stream)
    for chunk in follow(result.app, look, max(after - 1, 0), idle_s=HEARTBEAT_S):
        if event := writer.write(chunk):
            yield event
    yield _event(b"done", _outcome(result))


async def _achunks(result: Followed, stream: str, after: int) -> AsyncIterator[bytes]:
    writer = _Writer(after)
    look = await reading(result.app, look_at, result.app, result.id, stream)
    following = afollow(result.app, look, max(after - 1, 0), idle_s=HEARTBEAT_S)
    try:
        async for chunk in following:
            if event := writer.write(chunk):
                yield event
    finally:
        await following.aclose()  # type: ignore[attr-defined]
    yield _event(b"done", await reading(result.app, _outcome, result))


def _progress(result: Followed, interval_s: float) -> Iterator[bytes]:
    clock, last = result.app.clock, None
    with DoneBell(result.app) as bell:
        idle_at = clock.monotonic() + HEARTBEAT_S
        while True:
            now = _outcome(result)
            if now["over"]:
                yield _event(b"done", now)
                return
            if now != last:
                last = now
                yield _event(b"progress", now)
            elif clock.monotonic() >= idle_at:
                yield ALIVE
            else:
                bell.wait(min(interval_s, idle_at - clock.monotonic()))
                continue
            idle_at = clock.monotonic() + HEARTBEAT_S


async def _aprogress(result: Followed, interval_s: float) -> AsyncIterator[bytes]:
    from liteq.result.hub import ringing
    from liteq.storage.listeners import REST

    clock, last = result.app.clock, None
    await reading(result.app, _outcome, result)  # opens the file, where it is not open: before anything listens
    with ringing(result.app) as rings:
        idle_at = clock.monotonic() + HEARTBEAT_S
        while True:
            began = clock.monotonic()
            now = await reading(result.app, _outcome, result)
            looked_s = clock.monotonic() - began
            if now["over"]:
                yield _event(b"done", now)
                return
            if now != last:
                last = now
                yield _event(b"progress", now)
            elif clock.monotonic() >= idle_at:
                yield ALIVE
            else:
                await rings.wait(min(interval_s, idle_at - clock.monotonic()), rest_s=REST * looked_s)
                continue
            idle_at = clock.monotonic() + HEARTBEAT_S


def _outcome(result: Followed) -> dict[str, Any]:
    """Its outcome as of now, and whether nothing more comes: it has ended, or is not known."""
    whole: AsyncResult[Any] = AsyncResult(result.id, app=result.app)
    if not whole.exists():
        return {**outcome(states.PENDING, None), "over": True}
    meta = whole._get_task_meta()
    found = outcome(meta["status"], meta["result"])
    return {**found, "over": found["ready"]}


def _event(name: bytes, found: dict[str, Any]) -> bytes:
    document = {key: value for key, value in found.items() if key != "over"}
    return b"event: %b\ndata: %b\n\n" % (name, to_json(document))
