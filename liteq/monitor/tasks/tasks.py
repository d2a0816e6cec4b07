"""Tasks as documents: lists with their search, and one task with all that is known of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.message import Flag
from liteq.monitor import messages
from liteq.monitor.access.failing import error_document, masked_text
from liteq.monitor.access.keys import shown_key
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.links import links
from liteq.monitor.tasks.matching import Found, find
from liteq.monitor.tasks.search import Search, parse
from liteq.states import State
from liteq.storage.reading.browse import Line
from liteq.storage.reading.holding import FAIR, OF_NO_LIMIT
from liteq.storage.reading.inspect import Record
from liteq.storage.reading.lineage import Kin
from liteq.storage.sending.unique import shown
from liteq.utils.records import NamedTuple
from liteq.utils.text import span, times

__all__ = ["batch_of", "line_document", "line_documents", "record_document", "task", "tasks"]

MOST: Final = 1_000  # messages of a page
KIN: Final = 100  # of each kind that is listed
IN_A_BATCH: Final = 100  # ids of a batch that are listed
_ID: Final = re.compile(r"[\w.:-]{4,}")


def tasks(app: App, q: str = "", after: str | None = None, limit: int = 100, see: Sight = ALL) -> dict[str, Any]:
    """A page of tasks that fit the search `q`: {"items", "next", "note", "searched", "back_to", "back_to_iso"}.

    `next` is the `after` of the following page, None at the end. A search looks at a window of the newest 10,000 rows
    of its states, and `note` says how far back it reached; `next` goes on from there. An id, or the beginning of one,
    finds its messages. Raises BadSearch, with what to write instead.
    """
    search = parse(q, now_ms=app.clock.now_ms(), zone=app.timezone)
    limit = max(1, min(limit, MOST))
    by_id = _by_id(app, search, see) if after is None else []
    if by_id:
        found = Found(by_id, None, len(by_id), None, cut=False)
        return _answer(app, by_id, found, f"ids that begin with {search.text}", see)
    found = find(app, search, after=after, limit=limit, see=see)
    return _answer(app, found.lines, found, _note(app, found, search, see), see)


def _answer(app: App, lines: Sequence[Line], found: Found, note: str, see: Sight) -> dict[str, Any]:
    return {
        "items": line_documents(app, lines, see),
        "next": found.next,
        "note": note,
        "searched": found.searched,
        **times(back_to=found.back_to_ms),
    }


def _by_id(app: App, search: Search, see: Sight) -> list[Line]:
    """The messages whose ids begin with a search that is one word."""
    if search != Search(text=search.text, words=search.words) or len(search.words) != 1:
        return []
    if not _ID.fullmatch(search.text):
        return []
    return [one for one in app.storage.views.begins_with(search.text) if see.sees(one.queue)]


def _note(app: App, found: Found, search: Search, see: Sight) -> str:
    notes = []
    if found.cut:
        back = ""
        if found.back_to_ms is not None:
            back = f", {span(max(0, app.clock.now_ms() - found.back_to_ms) / 1000)} back"
        notes.append(f"searched {found.searched:,} tasks{back}: the next window goes on from there")
    if search.words and not see.payloads:
        notes.append("words were looked for in errors alone: arguments need the right `payloads`")
    return "; ".join(notes)


def line_documents(app: App, lines: Sequence[Line], see: Sight) -> list[dict[str, Any]]:
    """Tasks in a list: of those that run, what they have told of their progress."""
    from liteq.monitor.tasks.telling import progress_document

    told = app.storage.views.progress_of([one.id for one in lines if one.state == State.LEASED])
    return [{**line_document(app, one, see), "progress": progress_document(told.get(one.id), see)} for one in lines]


def line_document(app: App, line: Line, see: Sight) -> dict[str, Any]:
    """A task in a list."""
    return {
        "id": line.id,
        "task": line.task,
        "queue": line.queue,
        "state": str(line.state),
        "priority": line.priority,
        **times(created=line.created_ms, due=line.due_ms, started=line.started_ms, finished=line.finished_ms),
        "worker": line.worker,
        "retries": line.retries,
        "crashes": line.crashes,
        "root_id": line.root_id,
        "parent_id": line.parent_id,
        "cause": line.cause,
        "waits_for": _waits_for(app, line, see),
        "error": error_document(app, line),
    }


def _waits_for(app: App, line: Line, see: Sight) -> str | None:
    """The key that a held message waits for; None for another, and for one that a worker's own rate holds."""
    if line.state != State.HELD or line.waits is None:
        return None
    if line.waits.startswith(FAIR):  # the turn of its key
        return shown_key(app, line.waits.removeprefix(f"{FAIR}{line.queue}:"), see, line)
    if line.waits.startswith(OF_NO_LIMIT):
        return None
    return shown_key(app, line.waits, see, line)


def record_document(app: App, record: Record, see: Sight = ALL) -> dict[str, Any]:
    """A task with its arguments and its result, where `see` allows these."""
    from liteq.monitor.tasks.telling import progress_document

    error = messages.failure(record)
    found: dict[str, Any] = {
        "id": record.id,
        "task": record.task,
        "queue": record.queue,
        "state": record.state.value,
        "priority": record.priority,
        **times(
            created=record.created_ms, due=record.due_ms, expires=record.expires_ms, started=record.started_ms,
            finished=record.finished_ms,
        ),
        "worker": record.worker,
        "retries": record.retries,
        "crashes": record.crashes,
        "reaps": record.reaps,
        "root_id": record.root_id,
        "parent_id": record.parent_id,
        "awaits": record.awaits,
        "group_id": record.group_id,
        "unique_key": None if (key := shown(record.unique_key)) is None else shown_key(app, key, see, record),
        "error": error_document(app, record, record),
        "traceback": "" if error is None else masked_text(app, record, error.traceback, record),
        "args": None,
        "kwargs": None,
        "hidden": not see.payloads,
        "result": None,
        "progress": progress_document(record.progress, see),
    }  # fmt: skip
    if see.payloads:
        found |= _payload(app, record)
    return found


def _payload(app: App, record: Record) -> dict[str, Any]:
    try:
        call = messages.shown(app, record)
        found = {"args": call.args, "kwargs": call.kwargs, "hidden": call.hidden}
    except (LiteqError, ValueError, TypeError) as exc:
        found = {"args": f"({exc})", "kwargs": {}, "hidden": False}
    try:
        found["result"] = messages.result(record)
    except LiteqError as exc:
        found["result"] = f"({exc})"
    return found


def task(app: App, id_: str, see: Sight = ALL) -> dict[str, Any] | None:
    """One task with all that is known of it; None where it is not there, or lies outside `see`.

    Beside the fields of a list: args, kwargs, result, traceback, attempts, kin, `why` it is as it is, `unique` and
    `duplicate_of`, the `batch` in which it ran, the `limits` that it goes by, its `tags`, its `streams` with their last
    chunks (its log is one), and `links`, the addresses where other tools have it.
    """
    from liteq.monitor.tasks.exclusion import duplicate_of, uniqueness_of
    from liteq.monitor.tasks.limits import limits_of
    from liteq.monitor.tasks.telling import streams_of
    from liteq.monitor.tasks.why import explain_record

    record = app.storage.reader.find(id_)
    if record is None or not see.sees(record.queue):
        return None
    return {
        **record_document(app, record, see),
        "attempts": _attempts(app, record),
        "batch": batch_of(app, record, see),
        "kin": _kin(app, record, see),
        "duplicate_of": duplicate_of(record),
        "unique": uniqueness_of(app, record, see),
        "limits": limits_of(app, record, see),
        "tags": app.storage.views.tags(record.id) if record.flags & (Flag.TAGGED | Flag.RUN) else [],
        "streams": streams_of(app, record, see),
        "why": explain_record(app, record, see),
        "links": links(app, record),
    }


def batch_of(app: App, record: Record, see: Sight = ALL) -> dict[str, Any] | None:
    """The batch in which a task was executed last: {"n", "began", "ids"}; None where it was executed alone.

    `ids`: those of the first 100 that are seen, the task's own among them.
    """
    found = app.storage.batches.of(record.id)
    if found is None:
        return None
    ids = list(found.ids[:IN_A_BATCH])
    if see.queues is not None:
        ids = [one for one in ids if (other := app.storage.reader.find(one)) is not None and see.sees(other.queue)]
    return {"n": len(found.ids), **times(began=found.began_ms), "ids": ids}


def _attempts(app: App, record: Record) -> list[dict[str, Any]]:
    """The attempts that are kept, and the only or the present one, of which its row tells."""
    found = [
        {
            "n": one.n,
            "worker": one.worker,
            **times(started=one.started_ms, ended=one.ended_ms),
            "outcome": one.outcome,
            "cause": one.cause,
            "error": error_document(app, _Attempted(record.id, record.task, "", one.error), record),
        }
        for one in app.storage.attempts(record.id)
    ]
    outcome = _OF_ROW.get(record.state)
    if outcome is not None and (record.state is State.LEASED or not found) and record.started_ms is not None:
        own = {"n": (found[-1]["n"] if found else 0) + 1, "worker": record.worker or "", "outcome": outcome}
        own |= {**times(started=record.started_ms, ended=record.finished_ms), "cause": None}
        found.append(own | {"error": error_document(app, record, record) if record.state is State.DEAD else None})
    return found


class _Attempted(NamedTuple):
    """A message as one of its attempts left it."""

    id: str
    task: str
    state: str
    error: bytes | None


_OF_ROW: Final = {State.LEASED: "running", State.SUCCEEDED: "succeeded", State.DEAD: "failed"}


def _kin(app: App, record: Record, see: Sight) -> dict[str, Any]:
    """The messages around one: what sent it, what it awaits, what awaits it, what it sent, its group."""
    kin = app.storage.views.kin(record.id, limit=KIN)
    near = {name: [_relative(one) for one in lines if see.sees(one.queue)] for name, lines in kin.lines().items()}
    group = kin.group
    counted = (
        None
        if group is None
        else {"id": group.id, "size": group.size, "remaining": group.remaining, "failed": group.failed}
    )
    return {**near, "group": counted}


def _relative(line: Kin) -> dict[str, Any]:
    return {"id": line.id, "task": line.task, "queue": line.queue, "state": str(line.state)}
