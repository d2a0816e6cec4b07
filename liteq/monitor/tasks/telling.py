"""The signs of tasks that run, as documents: their progress, and the chunks of their streams."""

from __future__ import annotations

from typing import Any, Final

from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.message import Flag
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.messages import masked
from liteq.result.progress import progress_from
from liteq.serialization import decode, kind_of
from liteq.storage.kept.streams import Chunk
from liteq.storage.reading.inspect import Record
from liteq.utils.json_text import to_json
from liteq.utils.text import times

__all__ = ["progress_document", "stream", "streams_of"]

STREAMS: Final = 20  # of one task, that are listed
LAST: Final = 20  # chunks of each
LONGEST: Final = 4_000  # characters of one chunk in a document
MOST: Final = 1_000  # chunks of one answer


def progress_document(told: bytes | None, see: Sight = ALL) -> dict[str, Any] | None:
    """The state that a task has told, and its last report: {"state", "meta", "current", "total", "note", "eta_s"}.

    `current` is None for a state that is no report of progress. `meta` and `note` are a task's own words: they need the
    right `payloads`.
    """
    if told is None:
        return None
    try:
        document = decode(told)
    except LiteqError as exc:
        return {"state": None, "meta": f"({exc})" if see.payloads else None, **_numbers({})}
    if not isinstance(document, dict):
        return None
    found = {"state": document.get("state"), "meta": document.get("meta") if see.payloads else None}
    numbers = _numbers(document)
    return {**found, **numbers, "note": numbers["note"] if see.payloads else None}


def _numbers(document: dict[str, Any]) -> dict[str, Any]:
    one = progress_from(document)
    at = document.get("at")
    if one is None:
        return {"current": None, "total": None, "note": None, "eta_s": None, **times(at=None)}
    told = {"current": one.done, "total": one.total, "note": one.note, "eta_s": one.eta_s}
    return {**told, **times(at=at if isinstance(at, int) else None)}


def streams_of(app: App, record: Record, see: Sight = ALL) -> list[dict[str, Any]]:
    """The streams of a task, each with its last chunks: {"name", "chunks", "last": [{"offset", "attempt", "data"}]}."""
    if not record.flags & (Flag.EMITS | Flag.RUN):
        return []
    found = []
    for name, n in app.storage.streams.names(record.id, limit=STREAMS):
        last: list[dict[str, Any]] = []
        if see.payloads:
            chunks, _ = app.storage.streams.chunks(record.id, name, after=max(0, n - LAST), limit=LAST)
            last = [_chunk(app, record, one) for one in chunks]
        found.append({"name": name, "chunks": n, "last": last})
    return found


def stream(
    app: App, id_: str, name: str, *, after: int = 0, limit: int = 100, see: Sight = ALL
) -> dict[str, Any] | None:  # fmt: skip
    """The chunks of one stream behind the offset `after`: {"items", "next", "note", "ended"}; None for no such task.

    `next` is the `after` of what follows, also where nothing is there yet; None once its task has ended.
    """
    record = app.storage.reader.find(id_)
    if record is None or not see.sees(record.queue) or not see.payloads:
        return None
    chunks, ended = app.storage.streams.chunks(id_, name, after=after, limit=max(1, min(limit, MOST)))
    items = [_chunk(app, record, one) for one in chunks]
    last = chunks[-1].offset if chunks else after
    return {"items": items, "next": None if ended else str(last), "note": "", "ended": ended}


def _chunk(app: App, record: Record, one: Chunk) -> dict[str, Any]:
    """A chunk; what is long is cut, and sensitive arguments that it quotes are hidden."""
    sealed = kind_of(one.data)
    if sealed is not None:
        return {"offset": one.offset, "attempt": one.attempt, "data": f"({sealed})"}
    try:
        value = decode(one.data)
    except LiteqError as exc:
        return {"offset": one.offset, "attempt": one.attempt, "data": f"({exc})"}
    text = value if isinstance(value, str) else to_json(value).decode()
    shown = masked(app, record.task, text, lambda: record)
    same = shown == text and len(text) <= LONGEST
    cut = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
    return {"offset": one.offset, "attempt": one.attempt, "data": value if same else cut}
