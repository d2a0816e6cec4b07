"""Failures by their causes, and one cause: how often, since when, how large a share of the task's runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from liteq.context import App
from liteq.context.display import REDACTED
from liteq.monitor.access.failing import masked_text
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.messages import failure, masked
from liteq.storage.statistics.causes import CauseRecord
from liteq.storage.statistics.stats import Number
from liteq.utils.text import times

__all__ = ["cause", "failures"]

SHOWN: Final = 200  # causes of a list
HOUR_S: Final = 3_600
COUNTED: Final = 10_000  # dead letters of a cause
NEAR: Final = 100  # dead letters of a cause that are looked at for a viewer of some queues
FAILED: Final = frozenset({"failed", "retried", "crashed", "rejected"})
ATTEMPTS: Final = FAILED | {"succeeded"}


def failures(app: App, see: Sight = ALL, *, limit: int = SHOWN, task: str | None = None) -> dict[str, Any]:
    """The causes of failure, the newest first: {"items", "next", "note"}. There is no further page. `task`: its own.

    An item: `id task queue exception frame message n first last release sample per_hour share`, times with `_iso`.
    `n` counts each attempt that failed so, `per_hour` and `share` those of the task by that exception in the last hour.
    For a viewer of some queues, `n` is what stands there as dead letters, of the newest 100.
    """
    records = app.storage.causes.list(limit=SHOWN)
    hour = app.storage.stats.counts(HOUR_S)
    wanted = (record for record in records if task is None or record.task == task)
    documents = (_document(app, record, hour, see) for record in wanted)
    found = list(islice((one for one in documents if one is not None), limit))
    full = len(records) == SHOWN
    return {"items": found, "next": None, "note": f"the newest {SHOWN} causes" if full else ""}


def cause(app: App, id_: str, see: Sight = ALL) -> dict[str, Any] | None:
    """One cause: the fields of a list, and `dead` ({"n", "exact"}), how many dead letters it has now, `tasks`, the
    newest of these ([{"id", "finished"}]), and the `traceback` of the sample. None: not there, or outside of `see`.
    """
    record = app.storage.causes.find(id_)
    if record is None:
        return None
    document = _document(app, record, app.storage.stats.counts(HOUR_S), see)
    if document is None:
        return None
    if see.queues is None:
        rows: Sequence[tuple[int, int, str, str]] = app.storage.causes.tasks_of(id_, limit=NEAR)
        n = app.storage.causes.count_dead(id_)
        dead = {"n": n, "exact": n < COUNTED}
    else:
        rows = _seen(app, id_, see)
        dead = {"n": len(rows), "exact": len(rows) < NEAR}
    tasks = [{"id": one, **times(finished=ms)} for ms, _, one, _ in rows]
    return {**document, "dead": dead, "tasks": tasks, "traceback": _traceback(app, document["sample"])}


def _document(app: App, record: CauseRecord, hour: Sequence[Number], see: Sight) -> dict[str, Any] | None:
    """None where all of it lies outside of `see`."""
    n, sample = record.n, record.sample
    if see.queues is not None:
        rows = _seen(app, record.id, see)
        if not rows and not see.sees(record.queue or None):
            return None
        n, sample = len(rows), rows[0][2] if rows else None
    own = [stat for stat in hour if stat.task == record.task and see.sees(stat.queue)]
    failed = sum(stat.n for stat in own if stat.outcome in FAILED and stat.cause == record.exception)
    attempts = sum(stat.n for stat in own if stat.outcome in ATTEMPTS)
    return {
        "id": record.id,
        "task": record.task,
        "queue": record.queue if see.sees(record.queue or None) else None,
        "exception": record.exception,
        "frame": record.frame,
        "message": _message(app, record),
        "n": n,
        **times(first=record.first_ms, last=record.last_ms),
        "release": record.release,
        "sample": sample,
        "per_hour": failed,
        "share": failed / attempts if attempts else None,
    }


def _seen(app: App, cause: str, see: Sight) -> list[tuple[int, int, str, str]]:
    """The newest dead letters of a cause, of those that lie within `see`."""
    return [row for row in app.storage.causes.tasks_of(cause, limit=NEAR) if see.sees(row[3])]


def _message(app: App, record: CauseRecord) -> str:
    """The words of a cause, with `***` where they quote an argument that its task hides.

    Where the message is gone that would tell, all of it is hidden.
    """
    known = app.tasks.find(record.task)
    if known is not None and not getattr(known, "sensitive", ()):
        return record.message
    sample = app.storage.reader.find(record.sample) if record.sample else None
    if sample is None:
        return REDACTED
    return masked(app, record.task, record.message, lambda: sample)


def _traceback(app: App, sample: str | None) -> str:
    record = app.storage.reader.find(sample) if sample else None
    error = None if record is None else failure(record)
    return "" if record is None or error is None else masked_text(app, record, error.traceback, record)
