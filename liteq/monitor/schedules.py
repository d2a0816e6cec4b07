"""Schedules as JSON objects: when an entry is due next, when it ran last, how its last runs ended, how late it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import orjson

from liteq.app.schedules import run_id
from liteq.clock import from_ms, to_ms
from liteq.context import App
from liteq.context.display import redacted
from liteq.exceptions import LiteqError
from liteq.monitor.access.sight import ALL, Sight
from liteq.schedules import BaseSchedule, NeverDue, from_document
from liteq.sending.destination import queue_for
from liteq.serialization import decode
from liteq.storage.sending.periodic import ScheduleRecord
from liteq.utils.text import iso_time

__all__ = ["in_words", "next_times", "queue_of_call", "schedule", "schedules"]

SHOWN_RUNS = 20
SHOWN_TIMES = 5
WITH_RUNS = 40  # entries of a list whose runs are looked up; beyond, only those of one entry are
MOST_STEPS = 200  # of a schedule's times, looking back for those before now
FAR_BACK = timedelta(days=4 * 366)
NOTHING: Mapping[str, Any] = MappingProxyType({})


def schedules(app: App, see: Sight = ALL) -> dict[str, Any]:
    """Every entry, by name: `{items, next, note}`; of the first 40 also `runs`, the last 20 times of each."""
    seen = [record for record in app.storage.schedules.all() if see.sees(queue_of(app, record))]
    items = [_document(app, record, see, with_runs=n < WITH_RUNS) for n, record in enumerate(seen)]
    note = f"the last runs are shown of the first {WITH_RUNS}" if len(seen) > WITH_RUNS else None
    return {"items": items, "next": None, "note": note}


def schedule(app: App, name: str, see: Sight = ALL) -> dict[str, Any] | None:
    """The entry `name`; None where there is none, or where its queue is not seen."""
    record = app.storage.schedules.find(name)
    if record is None or not see.sees(queue_of(app, record)):
        return None
    return _document(app, record, see, with_runs=True)


def queue_of(app: App, record: ScheduleRecord) -> str | None:
    """The queue to which an entry's runs go; None for a canvas, whose tasks may go to several."""
    sent = decode(record.signature)
    if sent.get("subtask_type"):
        return None
    return queue_of_call(app, sent["task"], sent.get("options") or {}, sent.get("args") or (), sent.get("kwargs") or {})


def queue_of_call(
    app: App, task: str, options: Mapping[str, Any] = NOTHING, args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] = NOTHING,
) -> str | None:  # fmt: skip
    """The queue to which this call would go; None where it would be refused, or its route raises."""
    try:
        return queue_for(app, task, args, kwargs, options)
    except Exception:  # noqa: BLE001 - a route is a function of the program's
        return None


def in_words(document: bytes) -> str:
    """A schedule as people say it, as far as this program knows its kind."""
    found = orjson.loads(document)
    if found.get("kind") == "every":
        return f"every {found['seconds']:g} s"
    try:
        return re.sub(r"^<(?:crontab: )?(.*?)(?: \(m/h/dM/MY/d\))?>$", r"\1", repr(from_document(found)))
    except LiteqError:  # of a class of the program's own, or worked out when it is sent
        return str(found.get("repr") or found.get("kind"))


def next_times(record: ScheduleRecord, count: int) -> list[datetime]:
    """The next times of an entry, in UTC; one alone where only its own program can compute more."""
    if record.next_due_ms is None:
        return []
    times = [from_ms(record.next_due_ms)]
    computed = _computed(record)
    try:
        while computed is not None and len(times) < count:
            times.append(computed.next_after(times[-1]).astimezone(UTC))
    except NeverDue:
        pass  # that was the last
    return times[:count]


def _computed(record: ScheduleRecord) -> BaseSchedule | None:
    try:
        return from_document(orjson.loads(record.schedule))
    except LiteqError:
        return None


def _document(app: App, record: ScheduleRecord, see: Sight, *, with_runs: bool) -> dict[str, Any]:
    signature = decode(record.signature)
    now_ms = app.clock.now_ms()
    due = record.next_due_ms if record.enabled else None
    times = next_times(record, SHOWN_TIMES) if record.enabled else []
    found: dict[str, Any] = {
        "name": record.name,
        "task": signature.get("task"),
        "queue": queue_of(app, record),
        "schedule": in_words(record.schedule),
        "timezone": orjson.loads(record.schedule).get("timezone"),
        "overlap": signature.get("overlap", "allow"),
        "catch_up": signature.get("catch_up"),
        "owner": record.owner or None,
        "enabled": record.enabled,
        "next": due,
        "next_iso": iso_time(due),
        "times": [to_ms(time) for time in times],
        "late_s": max(0.0, (now_ms - due) / 1000) if due is not None else None,
        "last": record.last_run_ms,
        "last_iso": iso_time(record.last_run_ms),
        "last_id": record.last_id,
        "total": record.total_run_count,
        "runs": _runs(app, record, now_ms) if with_runs else None,
    }
    if see.payloads and not signature.get("subtask_type"):
        args, kwargs = redacted(app, signature["task"], signature.get("args") or (), signature.get("kwargs") or {})
        found |= {"args": args, "kwargs": kwargs}
    return found


def _runs(app: App, record: ScheduleRecord, now_ms: int) -> list[dict[str, Any]]:
    """The last 20 times of an entry, the oldest first; `state` None where nothing is known of a run any more."""
    times = _past(record, now_ms)
    ids = [run_id(record.name, at) for at in times]
    wanted = ids if record.last_id is None or record.last_id in ids else [*ids, record.last_id]
    known = app.storage.schedules.runs(wanted)
    found = [_run(id_, at, known) for id_, at in zip(ids, times, strict=True)]
    if len(wanted) > len(ids) and record.last_run_ms is not None:  # sent out of turn, or under an id of its own
        found = [*found, _run(wanted[-1], record.last_run_ms, known)]
    return sorted(found, key=lambda one: one["at"])[-SHOWN_RUNS:]


def _run(id_: str, at_ms: int, known: dict[str, Any]) -> dict[str, Any]:
    run = known.get(id_)
    return {
        "id": id_,
        "at": at_ms,
        "at_iso": iso_time(at_ms),
        "state": run.state if run else None,
        "started": run.started_ms if run else None,
        "finished": run.finished_ms if run else None,
    }


def _past(record: ScheduleRecord, now_ms: int) -> Sequence[int]:
    """The times of an entry before now that it may have run for, the oldest first; [] where they cannot be told."""
    computed = _computed(record)
    if computed is None or record.next_due_ms is None or record.last_run_ms is None:
        return []
    next_due = from_ms(record.next_due_ms)
    try:
        gap = computed.next_after(next_due) - next_due
    except NeverDue:
        gap = timedelta(days=1)
    begin = next_due - gap * min(SHOWN_RUNS + 1, FAR_BACK // gap)  # whole gaps: an interval's times lie on a grid
    found: list[int] = []
    try:
        at = begin
        for _ in range(MOST_STEPS):
            at = computed.next_after(at).astimezone(UTC)
            if at >= next_due or to_ms(at) > now_ms:
                break
            found.append(to_ms(at))
    except NeverDue:
        pass
    return [at for at in found if at > record.created_ms][-SHOWN_RUNS:]
