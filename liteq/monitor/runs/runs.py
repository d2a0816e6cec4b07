"""Runs of workflows as a person may see them: one document a run, a step, an approval."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from liteq import states
from liteq.context import App
from liteq.context.display import shown_call
from liteq.exceptions import BadMessage
from liteq.monitor.access.keys import Bearer, is_declared, shown_key
from liteq.monitor.access.sight import Sight
from liteq.monitor.messages import error_line, hiding
from liteq.monitor.runs.run_export import within
from liteq.serialization import decode, kind_of
from liteq.storage.runs.records import ENDED, STATUSES, Approval, MemoEntry, MemoStats, RunRecord, RunStep
from liteq.utils.text import iso_time

__all__ = [
    "ENDED",
    "STATUSES",
    "approval_document",
    "as_seen",
    "error_line",
    "hide_of",
    "memo_document",
    "memo_entry_document",
    "now_executing",
    "run_document",
    "step_document",
    "value",
    "waiting_line",
]

OF_LIMIT = "limit "  # before the key for which a run waits
CELERY_STATES = {
    "running": states.STARTED, "succeeded": states.SUCCESS, "failed": states.FAILURE, "cancelled": states.REVOKED,
}  # fmt: skip


class _Sent(NamedTuple):
    """The part of a run that `shown_call` looks at."""

    task: str
    payload: bytes
    options: bytes | None
    flags: int


def hide_of(app: App, run: RunRecord) -> Callable[[str], str] | None:
    """The function that hides, in a text, the arguments that the workflow of `run` calls sensitive; None: none."""
    return hiding(app, run.name, lambda: _Sent(run.name, run.payload, run.options, run.flags))


def as_seen(app: App, run: RunRecord, see: Sight) -> RunRecord:
    """`run` as this viewer may see it: its error hides what its arguments hide, and keys are cut as everywhere."""
    error = within(run.error, hide_of(app, run)) if run.error else run.error
    return run._replace(error=error, waiting_for=tuple(_waits(app, run, one, see) for one in run.waiting_for))


def _waits(app: App, run: RunRecord, waited: str, see: Sight) -> str:
    if not waited.startswith(OF_LIMIT):
        return waited
    key = waited.removeprefix(OF_LIMIT)
    declared = not see.payloads and is_declared(app.storage.views.limits(), key)
    return OF_LIMIT + shown_key(app, key, see, Bearer(run.id, run.name), is_declared=declared)


def run_document(app: App, run: RunRecord, *, with_args: bool = False) -> dict[str, Any]:
    """A run as a JSON object: the fields of `Run` and of its `info()`.

    `args`, `kwargs` and `result` are in it when asked for; arguments that the workflow calls sensitive are `***`.
    """
    found: dict[str, Any] = {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "state": CELERY_STATES.get(run.status, states.PENDING),
        "version": run.version,
        "queue": run.queue,
        "priority": run.priority,
        "waiting_for": list(run.waiting_for),
        "due": iso_time(run.due_ms),
        "deadline": iso_time(run.deadline_ms),
        "error": error_line(run.error, 1_000) or None,
        "asked": run.asked,
        "reason": run.reason,
        "parent_id": run.parent_id,
        "forked_from": run.forked_from,
        "tags": list(run.tags),
        "created": iso_time(run.created_ms),
        "started": iso_time(run.started_ms),
        "finished": iso_time(run.finished_ms),
    }
    if with_args:
        call = shown_call(app, _Sent(run.name, run.payload, run.options, run.flags))
        found |= {"args": call.args, "kwargs": call.kwargs, "result": value(run.result)}
    return found


def step_document(step: RunStep) -> dict[str, Any]:
    """A step as a JSON object: the fields of `StepInfo`."""
    row = step.row
    return {
        "n": step.n,
        "scope": row.scope,
        "kind": row.kind,
        "name": row.name,
        "key": row.key,
        "status": step.status,
        "attempts": row.attempts,
        "output": value(row.output),
        "error": error_line(row.error, 1_000) or None,
        "child_id": row.child,
        "memo": bool(row.memo),
        "due": iso_time(row.due_ms),
        "started": iso_time(row.started_ms),
        "finished": iso_time(row.ended_ms),
    }


def approval_document(found: Approval, name: str = "") -> dict[str, Any]:
    """An open approval as a JSON object: the fields of `ApprovalRequest`, and those of its run."""
    asked = value(found.details)
    asked = asked if isinstance(asked, dict) else {}
    return {
        "run_id": found.run_id,
        "name": name,
        "title": found.title,
        "details": asked.get("details"),
        "schema": asked.get("schema"),
        "since": iso_time(found.since_ms),
        "due": iso_time(found.due_ms),
    }


def memo_document(found: MemoStats) -> dict[str, Any]:
    """The memo of a step as a JSON object."""
    return {
        "name": found.name,
        "entries": found.entries,
        "hits": found.hits,
        "bytes": found.size,
        "saved": _money(found.saved),
        "computing": found.open,
    }


def memo_entry_document(found: MemoEntry, *, whole: bool = False) -> dict[str, Any]:
    """A result of the memo as a JSON object; `whole`: with the result itself."""
    document = {
        "key": found.key,
        "name": found.name,
        "scope": found.scope or None,
        "bytes": found.size,
        "hits": found.hits,
        "saved": _money(found.saved),
        "created": iso_time(found.created_ms),
        "expires": iso_time(found.expires_ms),
    }
    return document | {"value": value(found.output)} if whole else document


def _money(found: Decimal | None) -> str:
    return "0" if found is None else f"{found.normalize():f}"


def value(data: bytes | None) -> Any:
    """A stored value; None for none. No envelope is opened, and what cannot be read is told of."""
    if data is None:
        return None
    sealed = kind_of(data)
    if sealed is not None:
        return f"({sealed})"
    try:
        return decode(data)
    except BadMessage as exc:
        return f"({exc})"


def waiting_line(run: RunRecord, limit: int = 200) -> str:
    """A sentence on what a run waits for, of its error at most `limit` characters; "" for one that does not wait."""
    match run.status:
        case "queued":
            line = "a free worker"
        case "paused":
            line = "`liteq workflow resume`"
        case "stuck":
            line = error_line(run.error, limit)
        case "waiting":
            line = ", ".join(run.waiting_for)
        case _:
            line = ""
    return f"{line} (asked to {run.asked})".strip() if run.asked and run.status not in ENDED else line


def now_executing(run: RunRecord) -> list[str]:
    """The names of the steps that the run's worker says it executes."""
    found = value(run.now)
    rows: Iterable[Any] = found if isinstance(found, list) else ()
    return [str(one["name"]) for one in rows if isinstance(one, dict) and "name" in one]
