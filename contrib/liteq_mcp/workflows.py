"""Workflows as an agent reads them: one by any id of it, or the newest, or runs by a search."""

from __future__ import annotations

from typing import Any, Final

from liteq.monitor.runs.approvals import HIDDEN
from liteq.monitor.runs.runs import as_seen, run_document, value, waiting_line
from liteq.monitor.runs.workflow_list import workflows
from liteq.monitor.runs.workflows import ROWS, Workflow, look, step_documents, workflow_document
from liteq.operating.choosing import Choice, page_of
from liteq.utils.text import times
from liteq_mcp.bounds import fitting
from liteq_mcp.tools import Call, Refused

__all__ = ["LISTED", "PARTS_OF_WORKFLOWS", "workflow"]

PARTS_OF_WORKFLOWS: Final = ("graph", "rows", "arguments", "values", "streams", "inbox")
OF_PART: Final = {
    "graph": ("nodes", "edges"), "rows": ("rows",), "arguments": ("args", "kwargs"), "values": ("values",),
    "streams": ("streams",), "inbox": ("inbox",),
}  # fmt: skip
LISTED: Final = 20


def workflow(call: Call) -> dict[str, Any]:
    """One workflow, or a list. Raises Refused for an id that is not there, and for both at once."""
    id_, q = call.get("id"), call.get("q")
    if id_ is None:
        return fitting(lambda limit: _runs(call, q, limit) if q else _newest(call, limit), call.get("limit", LISTED))
    if q:
        raise Refused("q: give an id or a search, not both")
    found = look(call.app, id_, call.viewer.sight)
    if found is None:
        raise Refused(f"there is no workflow {id_!r:.100}: no run, message or group has this id")
    after, parts = call.get("after", "0"), set(call.get("parts", ()))
    if not after.isdecimal():
        raise Refused(f"after: with an id, give `next` of the page before, not {after!r:.100}")
    return fitting(lambda limit: whole(call, found, parts, after=int(after), limit=limit), call.get("limit", ROWS))


def whole(call: Call, found: Workflow, parts: set[str], *, after: int, limit: int) -> dict[str, Any]:
    """One workflow as a document, with the `parts` that are asked for; a canvas has its rows in any case.

    `after` and `limit` choose a page of a run's steps, or of a canvas's rows: `next` is the mark of the one behind it.
    """
    see = call.viewer.sight
    document = workflow_document(call.app, found, see, after=0 if found.run else after, limit=limit)
    run = document.pop("run") or {}
    mark = document["rows"]["next"]
    if found.run is not None:
        run["steps"] = step_documents(call.app, found, see, after=after, limit=limit)
        mark = after + limit if len(found.steps) > after + limit else None
    left_out = {"steps_left_out"} | {name for part, names in OF_PART.items() if part not in parts for name in names}
    if found.run is None:
        left_out.discard("rows")
    both = {**run, **document, "approvals": _approvals(call, found), "steps": run.get("steps", [])}
    kept = {name: value for name, value in both.items() if name not in left_out}
    return {**kept, "waiting_for": run.get("waiting_for", []), "next": None if mark is None else str(mark)}


def _approvals(call: Call, found: Workflow) -> list[dict[str, Any]]:
    """The open approvals of a run; a viewer that decides sees what was asked, also without `payloads`."""
    if found.run is None:
        return []
    shows = call.viewer.sight.payloads or call.viewer.can("approve")
    documents = []
    for one in call.app.storage.runs.approvals(found.run.id):
        asked = value(one.details)
        asked = asked if isinstance(asked, dict) else {}
        details = asked.get("details")
        documents.append({
            "title": one.title, "details": details if shows or details is None else HIDDEN,
            "schema": asked.get("schema"), **times(since=one.since_ms, due=one.due_ms),
        })  # fmt: skip
    return documents


def _newest(call: Call, limit: int) -> dict[str, Any]:
    found = workflows(call.app, call.get("after", ""), call.viewer.sight, limit=limit)
    return {**found, "items": [{**one, "waiting_for": _in_list(one["waits_for"])} for one in found["items"]]}


def _in_list(line: str) -> list[str]:
    return [line] if line else []


def _runs(call: Call, q: str, limit: int) -> dict[str, Any]:
    """The runs of a search, the newest first. A word without a colon is a workflow's name."""
    app, see = call.app, call.viewer.sight
    words = [word if ":" in word else f"workflow:{word}" for word in q.split()]
    if not any(word.startswith(("workflow:", "status:")) for word in words):
        raise Refused("q: a search for runs begins with workflow:NAME or status:STATUS; tag: and since: make it finer")
    choice = Choice("cancel", " ".join(words), (), see, app.clock.now_ms())
    page = page_of(app, choice, after=call.get("after"), limit=limit)
    ids = [id_ for _, id_ in page.found]
    known = {run.id: run for run in app.storage.runs.list(ids, limit=limit, waits=True)} if ids else {}
    items = [
        {
            **run_document(app, run),
            "kind": "run",
            "waits_for": waiting_line(run),
            **times(
                due=run.due_ms,
                deadline=run.deadline_ms,
                created=run.created_ms,
                started=run.started_ms,
                finished=run.finished_ms,
            ),
        }
        for run in (as_seen(app, known[id_], see) for id_ in ids if id_ in known)
    ]
    return {"items": items, "next": page.after, "note": ""}
