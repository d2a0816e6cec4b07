"""The approvals that wait for a person, as documents; and the decision on one that waits no more."""

from __future__ import annotations

from typing import Any, Final

from liteq.context import App
from liteq.exceptions import RunNotFound
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.runs.runs import value
from liteq.monitor.runs.workflows import runs_seen
from liteq.storage.runs.records import Approval, RunRecord
from liteq.utils.text import iso_time

__all__ = ["approval", "approvals", "decision"]

MOST: Final = 1_000
HIDDEN: Final = "(hidden: it needs the right `payloads` or `approve`)"


def approvals(app: App, see: Sight = ALL) -> dict[str, Any]:
    """The open approvals, first those whose time is over or nearest, then the oldest: {"items", "next", "note"}.

    Each is seen by the queues of its run and of the workflow that the run is in. `details` are hidden from viewers
    without `payloads`.
    """
    open_ = app.storage.runs.approvals(limit=MOST)
    runs = app.storage.runs.list(list({one.run_id for one in open_}), limit=MOST) if open_ else []
    known = {run.id: run for run in runs_seen(app, runs, see)}
    seen = [(one, known[one.run_id]) for one in open_ if one.run_id in known]
    seen.sort(key=lambda pair: (pair[0].due_ms is None, pair[0].due_ms or 0, pair[0].since_ms))
    now_ms = app.clock.now_ms()
    note = f"the oldest {MOST:,} alone" if len(open_) >= MOST else ""
    return {"items": [_document(one, run, see, now_ms) for one, run in seen], "next": None, "note": note}


def approval(app: App, run_id: str, title: str, see: Sight = ALL) -> dict[str, Any] | None:
    """The oldest open approval `title` of a run; None: none is open, or it is not seen."""
    run = app.storage.runs.find(run_id)
    if run is None or not runs_seen(app, [run], see):
        return None
    try:
        open_ = app.storage.runs.approvals(run_id)
    except RunNotFound:
        return None
    found = next((one for one in open_ if one.title == title), None)
    return None if found is None else _document(found, run, see, app.clock.now_ms())


def decision(app: App, run_id: str, title: str, see: Sight = ALL) -> dict[str, Any] | None:
    """The last decision on `title` of a run: `ok by comment at timed_out`; None: none is kept, or not seen."""
    run = app.storage.runs.find(run_id)
    if run is None or not runs_seen(app, [run], see):
        return None
    try:
        steps = app.storage.runs.steps(run_id)
    except RunNotFound:
        return None
    ended = [
        one.row
        for one in steps
        if one.row.kind == "approval" and one.row.name == title and one.row.ended_ms is not None
    ]
    if not ended:
        return None
    last = max(ended, key=lambda row: row.ended_ms or 0)
    found = value(last.output)
    said = found if isinstance(found, dict) else {}
    return {
        "run_id": run_id, "title": title, "ok": bool(said.get("ok")), "by": said.get("by"),
        "comment": str(said.get("comment") or ""), "at": last.ended_ms, "at_iso": iso_time(last.ended_ms),
        "timed_out": last.output is None,
    }  # fmt: skip


def _document(one: Approval, run: RunRecord, see: Sight, now_ms: int) -> dict[str, Any]:
    asked = value(one.details)
    asked = asked if isinstance(asked, dict) else {}
    details = asked.get("details")
    return {
        "run_id": one.run_id,
        "name": run.name,
        "queue": run.queue,
        "title": one.title,
        "details": details if see.payloads or details is None else HIDDEN,
        "schema": asked.get("schema"),
        "since": one.since_ms,
        "since_iso": iso_time(one.since_ms),
        "due": one.due_ms,
        "due_iso": iso_time(one.due_ms),
        "overdue": one.due_ms is not None and one.due_ms <= now_ms,
    }
