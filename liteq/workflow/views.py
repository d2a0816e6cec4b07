"""Runs as their readers are given them: a run, its steps, its approvals, the chunks of its streams."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from liteq.clock import from_ms
from liteq.serialization import decode, decode_error

if TYPE_CHECKING:
    from liteq.context import App
    from liteq.storage.runs.records import Approval, RunRecord, RunStep

__all__ = ["ApprovalRequest", "RunInfo", "StepInfo", "approval_of", "info_of", "step_of"]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run.

    `waiting_for`: "event go", "approval TITLE", "child ID", "timer", "memo NAME", "limit KEY", "budget NAME", "slot".
    """

    version: str
    waiting_for: list[str] = field(default_factory=list)
    due: datetime | None = None
    error: str | None = None
    parent_id: str | None = None
    forked_from: str | None = None
    tags: list[str] = field(default_factory=list)
    created: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A step of a run. `n` counts from 1 in the order in which they began; `memo`: it was answered by the memo.

    `fallback`: the argument that took the place of its own, as its key was paused or failing; None: it ran as called.
    """

    n: int
    scope: str
    kind: str
    name: str
    key: str | None
    status: str
    attempts: int
    output: Any
    error: str | None
    child_id: str | None
    memo: bool
    started: datetime | None
    finished: datetime | None
    fallback: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """An open request for a decision. `schema`: JSON schema of the data that a yes has to bring."""

    title: str
    details: Any
    schema: dict[str, Any] | None
    since: datetime | None
    due: datetime | None


def _when(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def _error(data: bytes | None) -> str | None:
    if data is None:
        return None
    doc = decode_error(data)
    return f"{doc.type}: {doc.message}" if doc.message else doc.type


def info_of(record: RunRecord) -> RunInfo:
    """A run's record for people."""
    return RunInfo(
        record.version, list(record.waiting_for), _when(record.due_ms), _error(record.error), record.parent_id,
        record.forked_from, list(record.tags), _when(record.created_ms), _when(record.started_ms),
        _when(record.finished_ms),
    )  # fmt: skip


def step_of(app: App, found: RunStep) -> StepInfo:
    """A step's record for people; its output as the step's function returned it, where that is known here."""
    row = found.row
    return StepInfo(
        found.n, row.scope, row.kind, row.name, row.key, found.status, row.attempts, _output(app, row),
        _error(row.error), row.child, bool(row.memo), _when(row.started_ms), _when(row.ended_ms),
        decode(row.details).get("fallback") if row.kind == "step" and row.details else None,
    )  # fmt: skip


def _output(app: App, row: Any) -> Any:
    if row.output is None:
        return None
    steps = app.steps_of_workflows
    known = steps.get(row.name) or app.tasks.get(row.name)
    if row.kind in {"step", "call", "spawn", "map"} and known is not None and hasattr(known, "codec"):
        try:
            return known.codec.result.decode(row.output)
        except Exception:  # noqa: BLE001, S110 - of older code: as plain data
            pass
    return decode(row.output)


def approval_of(found: Approval) -> ApprovalRequest:
    """An approval's record for people."""
    document = decode(found.details) if found.details else {}
    return ApprovalRequest(
        found.title, document.get("details"), document.get("schema"), _when(found.since_ms), _when(found.due_ms)
    )
