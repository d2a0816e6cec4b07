"""The report of a run: how each step has ended, what it waits for, its outputs. Read from the file, at any time."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from liteq.clock import from_ms, to_ms
from liteq.context import App
from liteq.exceptions import RunNotFound
from liteq.serialization import decode
from liteq.storage.runs.records import RunRecord
from liteq_flow.errors import FlowRefused
from liteq_flow.installing import WORKFLOW
from liteq_flow.running.run import OUTPUTS, STEP, key_of, shown, spelled
from liteq_flow.snapshot import Snapshot

__all__ = ["ENDED", "find", "flow_of", "only_waits", "report", "text_of_report", "view"]

ENDED = frozenset({"succeeded", "failed", "aborted"})
STATUSES = {"cancelled": "aborted"}
# What follows a step's key in that of a call: an item of `parallel`, an attempt, a condition, an output, one more look.
OF_A_CALL = re.compile(r"(\[\d+\])?([#?>!][^/]*)?(~\d{1,9})?$")
FIELDS = ("id", "name", "status", "attempts", "exit_code", "started", "finished")


def find(app: App, run_id: str) -> RunRecord:
    """The run of this id, of a flow. Raises RunNotFound."""
    record: RunRecord | None = app.storage.runs.find(run_id)
    if record is None or record.name != WORKFLOW:
        raise RunNotFound(
            f"no run {run_id!r} of a flow is known here: it was never started on this file, or has expired"
        )
    return record


def flow_of(app: App, record: RunRecord) -> tuple[Snapshot | None, str]:
    """The snapshot of a run and the name of its flow; None where its arguments cannot be read here."""
    from liteq.serialization.content import ENVELOPE, Owner

    content = app.content
    if record.payload[:1] == ENVELOPE:
        args, kwargs = content.read(record.payload, Owner(record.id, record.name))
    else:
        args, kwargs = decode(record.payload, content)
    given = dict(zip(("snapshot", "name", "params", "queue"), args, strict=False)) | kwargs
    snapshot = given["snapshot"]
    return Snapshot(snapshot["file"], snapshot["texts"]), given["name"]


def only_waits(record: RunRecord) -> bool:
    """Whether nothing but a person, or an event, can have the run go on."""
    if record.status in {"paused", "stuck"}:
        return True
    if record.status != "waiting" or not record.waiting_for:
        return False
    return all(one.startswith(("approval ", "event ")) for one in record.waiting_for)


def report(app: App, run_id: str) -> dict[str, Any]:
    """The report, as plain data. Raises RunNotFound."""
    document = _document(app, find(app, run_id))
    return {**document, "steps": [one for _, one in document["steps"]]}


def _document(app: App, record: RunRecord) -> dict[str, Any]:
    """The report, with its steps as pairs of their key in the history and what is told of them."""
    state = {key: decode(value) for key, value in app.storage.runs.state(record.id).items()}
    snapshot, name = flow_of(app, record)
    waiting = _waiting(app, record)
    return {
        "id": record.id,
        "name": name,
        "status": STATUSES.get(record.status, record.status),
        "outputs": state.get(OUTPUTS) or {},
        "waiting": waiting,
        "steps": _steps(snapshot, name, state, record.status),
        "error": _error(record),
    }


def _error(record: RunRecord) -> str | None:
    if record.error is None:
        return record.reason or None if record.status == "cancelled" else None
    from liteq.serialization import decode_error

    found = decode_error(record.error)
    return found.message or found.type


def _waiting(app: App, record: RunRecord) -> list[dict[str, Any]]:
    found = []
    for one in app.Run(record.id).approvals():
        details = one.details if isinstance(one.details, Mapping) else {}
        found.append({"step": one.title, "prompt": details.get("prompt", ""), "form": one.schema})
    return found + [
        {"step": _step_of(app, record, waited), "prompt": waited, "form": None}
        for waited in record.waiting_for
        if waited.startswith("event ")
    ]


def _step_of(app: App, record: RunRecord, waited: str) -> str:
    """The step that waits for an event: the key of its call."""
    for step in app.Run(record.id).steps():
        if step.kind == "event" and step.key and f"event {step.name}" == waited and step.status == "waiting":
            return shown(step.key)
    return waited


def _steps(
    snapshot: Snapshot | None, name: str, state: Mapping[str, Any], status: str
) -> list[tuple[str, dict[str, Any]]]:  # fmt: skip
    """The steps in the order of the file, those below a step behind it; each with its key."""
    told = {key.removeprefix(STEP): value for key, value in state.items() if key.startswith(STEP)}
    declared: list[tuple[str, dict[str, Any]]] = []
    if snapshot is not None:
        try:
            flow, _ = snapshot.sub(name, snapshot.file)
        except (LookupError, FlowRefused):
            pass
        else:
            unended = _unended(status)
            declared = [
                (key_of(spelled(one.id)), {"id": one.id, "name": one.name, "status": unended}) for one in flow.steps
            ]
    rest = [key for key in told if key not in dict(declared)]
    found: list[tuple[str, dict[str, Any]]] = []
    for key, not_told in declared:
        found.append((key, _shown(told.get(key) or not_told)))
        inner = [one for one in rest if one.startswith((f"{key}/", f"{key}[", f"{key}#"))]
        found += [(one, _shown(told[one])) for one in inner]
        rest = [one for one in rest if one not in inner]
    return found + [(one, _shown(told[one])) for one in rest]


def _unended(status: str) -> str:
    return "aborted" if status in {"failed", "cancelled", "succeeded"} else "waiting"


def _shown(told: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: told.get(name) for name in FIELDS}
    found["attempts"] = told.get("attempts") or 0
    for name in ("started", "finished"):
        at = told.get(name)
        found[name] = from_ms(at).isoformat(timespec="milliseconds") if isinstance(at, int) else None
    if told.get("error"):
        found["error"] = told["error"]
    return found


MARKS = {"succeeded": "+", "failed": "!", "skipped": "-", "upstream_failed": "!", "aborted": "!", "waiting": "?"}


def text_of_report(document: Mapping[str, Any]) -> list[str]:
    """The report for people, in lines."""
    lines = [f"{document['name']} {document['id']}  {document['status']}"]
    wide = max((len(one["id"]) for one in document["steps"]), default=0)
    for step in document["steps"]:
        words = [f"{step['id']:<{wide}}", step["status"].replace("_", " ")]
        if step["exit_code"]:
            words.append(f"exit code {step['exit_code']}")
        if step["attempts"] > 1:
            words.append(f"{step['attempts']} attempts")
        lines.append(f"  {MARKS.get(step['status'], ' ')} {'  '.join(words)}")
        if step.get("error"):
            lines.append(f"      {str(step['error']).splitlines()[0][:200]}")
    for one in document["waiting"]:
        lines.append(f"  waits for {one['step']}: {one['prompt']}")
        approve = shlex.join(["liteq", "workflow", "approve", document["id"], one["step"], "--yes"])
        lines.append(f"      {approve} --data '{{...}}'")
    return lines


def view(app: App, run_id: str) -> dict[str, Any]:
    """The report for a page: its steps with the ids of their messages, whose logs are their output, as they run too."""
    record = find(app, run_id)
    document = _document(app, record)
    begun: dict[str, list[str]] = {}
    running: set[str] = set()
    for step in app.Run(record.id).steps():
        if step.kind == "spawn" and step.key and step.child_id:
            key = OF_A_CALL.sub("", step.key)
            begun.setdefault(key, []).append(step.child_id)
            if step.status in {"running", "waiting"}:
                running.add(key)
    told = dict(document["steps"])
    unended = {key: _shown({"id": shown(key), "name": shown(key), "status": "running"}) for key in sorted(running)}
    steps = [*document["steps"], *((key, one) for key, one in unended.items() if key not in told)]
    for key, one in steps:
        one["children"], one["error"] = begun.get(key, []), one.get("error")
        for name in ("started", "finished"):
            at = one[name]
            one[f"{name}_ms"] = None if at is None else to_ms(datetime.fromisoformat(at))
        if one["status"] == "waiting" and key in running:
            one["status"] = "running"
    return {**document, "steps": [one for _, one in steps]}
