"""Unique calls, as documents: the key of one, what it excludes and until when, which message stands in its place."""

from __future__ import annotations

from typing import Any

from liteq.context import App
from liteq.message import Flag
from liteq.monitor.access.keys import shown_key
from liteq.monitor.access.sight import Sight
from liteq.policy.unique import Debounce, Throttle, unique_of
from liteq.states import FINISHED, State
from liteq.storage.reading.inspect import Record
from liteq.storage.sending.unique import SUPERSEDED
from liteq.utils.text import iso_time, span, times

__all__ = ["duplicate_of", "put_off", "uniqueness_of"]


def duplicate_of(record: Record) -> str | None:
    """The id of the message that a part of a canvas follows, as that one holds its unique key; None: of none."""
    follows = record.flags & Flag.ALIAS and record.flags & Flag.FOLLOWS
    return record.awaits if follows else None


def uniqueness_of(app: App, record: Record, see: Sight) -> dict[str, Any] | None:
    """The unique key of a message: {"key", "excludes", "holder", "superseded_by", "until"}; None for one without.

    `excludes`: "until it ends", "until it starts", "until a time" (then `until` says which), or None where it excludes
    nobody any more. `holder`: the unfinished message that holds the key now, where that is another one.
    """
    key = record.unique_key
    if key is None:
        return None
    held = app.storage.views.exclusive(key, record.id)
    now_ms = app.clock.now_ms()
    until_ms = held.until_ms if held.last == record.id and (held.until_ms or 0) > now_ms else None
    excludes = "until a time" if until_ms is not None else None
    if held.marked == key and record.state not in FINISHED:
        excludes = "until it starts" if record.flags & Flag.UNSTARTED else "until it ends"
    other = None if held.holder == record.id else _seen(app, held.holder, see)
    return {
        "key": shown_key(app, key, see, record),
        "excludes": excludes,
        "holder": other,
        "superseded_by": _seen(app, _newer(held.marked), see),
        **times(until=until_ms),
    }


def _newer(key: str | None) -> str | None:
    """The id of the call that took the place of one that has started, out of the mark behind its key."""
    parts = (key or "").split(SUPERSEDED)
    return parts[-1] if len(parts) == 3 else None


def _seen(app: App, id_: str | None, see: Sight) -> str | None:
    if id_ is None or see.queues is None:
        return id_
    record = app.storage.reader.find(id_)
    return id_ if record is not None and see.sees(record.queue) else None


def put_off(app: App, record: Record) -> tuple[str, str, dict[str, Any]] | None:
    """Why a call that is debounced or throttled is not due yet; None for one that is neither, or of an unknown task."""
    if record.state is not State.SCHEDULED or not record.flags & Flag.UNSTARTED or record.retries:
        return None
    asked = getattr(app.tasks.find(record.task), "unique", None)
    rule = unique_of(asked) if asked is not None else None
    left = span(max(0, record.due_ms - app.clock.now_ms()) / 1000)
    due = {"first": record.created_ms, "due": record.due_ms}
    when = f"in {left}, at {iso_time(record.due_ms)}"
    if isinstance(rule, Debounce):
        latest_ms = None if rule.max_wait_ms is None else record.created_ms + rule.max_wait_ms
        most = "" if latest_ms is None else f", to {iso_time(latest_ms)} at the latest"
        text = (
            f"It is debounced: it is due {when}. Each further call of its key puts it off by {span(rule.wait)}{most}."
        )
        return "debounced", text, {"wait_s": rule.wait, "max_wait_s": rule.max_wait, **times(**due, latest=latest_ms)}
    if isinstance(rule, Throttle):
        text = f"It is throttled: one call of its key starts every {span(rule.every)}, and the next one may {when}."
        return "throttled", text, {"every_s": rule.every, **times(**due)}
    return None
