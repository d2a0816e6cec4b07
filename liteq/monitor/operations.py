"""Bulk actions as documents: what is being done to many messages, by whom, and how far it has come."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import orjson

from liteq.context import App
from liteq.monitor.access.sight import ALL, Sight
from liteq.storage.operating.operations import Operation
from liteq.utils.text import iso_time

__all__ = ["STALE_MS", "document", "interrupted", "is_seen", "operation", "operations"]

STALE_MS = 10_000  # an owner that has not done a chunk for so long is gone
PAGE = 100


def operations(app: App, see: Sight = ALL, *, after: str | None = None, limit: int = PAGE) -> dict[str, Any]:
    """`{items, next, note}`: the newest first; `after` is the `next` of the page before, an id. Raises ValueError."""
    if after and app.storage.operations.find(after) is None:
        raise ValueError("`after` is no mark of this list: take it from the `next` of the page before")
    found = app.storage.operations.page(after=after or None, limit=limit)
    now_ms = app.clock.now_ms()
    items = [document(one, now_ms) for one in found if is_seen(one, see)]
    return {"items": items, "next": found[-1].id if len(found) == limit else None, "note": ""}


def operation(app: App, id: str, see: Sight = ALL) -> dict[str, Any] | None:
    """One bulk action; None where there is none that `see` shows."""
    found = app.storage.operations.find(id)
    if found is None or not is_seen(found, see):
        return None
    return document(found, app.clock.now_ms())


def document(one: Operation, now_ms: int) -> dict[str, Any]:
    """A bulk action as a JSON object. `state`: running stopped interrupted failed done."""
    arguments = orjson.loads(one.arguments)
    taken = {name: value for name, value in arguments["take"].items() if name != "reason" and value is not None}
    return {
        "id": one.id,
        "kind": one.kind,
        "q": one.filter,
        "ids": len(arguments.get("ids", ())),
        "arguments": taken,
        "actor": one.actor,
        "reason": one.reason,
        "source": one.source,
        "state": "interrupted" if interrupted(one, now_ms) else one.state,
        "stopping": bool(one.stop),
        "found": {"n": one.found, "exact": one.found < 10_000},
        "done": one.done,
        "skipped": one.skipped,
        "rate": one.rate,
        "error": one.error,
        "owner": one.owner,
        "beat": one.beat_ms,
        "beat_iso": iso_time(one.beat_ms),
        "created": one.created_ms,
        "created_iso": iso_time(one.created_ms),
        "finished": one.finished_ms,
        "finished_iso": iso_time(one.finished_ms),
    }


def interrupted(one: Operation, now_ms: int) -> bool:
    """Whether the process that does an operation has gone, so that another can continue it."""
    if one.state != "running":
        return False
    return now_ms - one.beat_ms > STALE_MS or _has_gone(one.owner)


def _has_gone(owner: str | None) -> bool:
    """Whether a process of this machine is not there any more; of another machine only the beat tells."""
    host, _, rest = (owner or "").rpartition(":")[0].rpartition(":")
    # On Windows the look would be a signal.
    if host != socket.gethostname() or not rest.isdecimal() or sys.platform == "win32":
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def is_seen(one: Operation, see: Sight) -> bool:
    """Whether an operation is one for `see`: it acts within the queues that this viewer has, glob by glob."""
    if see.queues is None:
        return True
    return one.queues is not None and set(orjson.loads(one.queues)) <= set(see.queues)
