"""The signals of runs, and the webhook that gets them too. For the process that settles outcomes, after it has."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from liteq import signals
from liteq.clock import from_ms
from liteq.context import App
from liteq.execution.hushed import Quoted
from liteq.message import DeadLetter, Flag, Lease, Outcome, Park, StepRow, Suspend
from liteq.policy.money import as_text, from_units
from liteq.sending.webhook import tell_webhook
from liteq.serialization import decode, decode_error
from liteq.workflow.history.frames import enter, leave

if TYPE_CHECKING:
    from liteq.storage.spending.kinds import Warned

__all__ = ["announce", "announce_budget", "announce_budgets", "announce_doubt", "announce_request"]

logger = logging.getLogger("liteq.workflow")

DOUBT = re.compile(r"\?\d+$")  # the scope of a question about a step (`doubt_scope`); a key's has the position 0


def announce(app: App, lease: Lease, outcome: Outcome) -> None:
    """Send the signal of an outcome that was settled just now: `workflow_stuck`, `workflow_failed`,
    `approval_requested`, `step_in_doubt`.

    With the setting `workflow_webhook` a task sends the same to that URL. Costs nothing for other outcomes. Never
    raises for a receiver; StorageError, where the webhook's task cannot be sent, is logged.
    """
    kind = type(outcome)
    if kind is Suspend:
        for row in outcome.rows:  # type: ignore[union-attr]
            if row.kind == "approval" and row.ended_ms is None:
                announce_request(app, lease, row)
                if DOUBT.search(row.scope) and row.pos > 0:
                    announce_doubt(app, lease, decode(row.details or b"{}")["details"])
    elif kind is Park:
        if outcome.state == "stuck":  # type: ignore[union-attr]
            text = _text(outcome.error)  # type: ignore[union-attr]
            about = {"task_name": lease.task, "task_id": lease.id}
            logger.error("Workflow %s[%s] is stuck: %.1000s", lease.task, lease.id, Quoted(text), extra=about)
            _tell(app, signals.workflow_stuck, lease, error=text)
    elif kind is DeadLetter and lease.flags & Flag.RUN and not lease.flags & Flag.STEP:
        _tell(app, signals.workflow_failed, lease, error=_text(outcome.error))  # type: ignore[union-attr]


def announce_request(app: App, lease: Lease, row: StepRow) -> None:
    """Send `approval_requested` for an open approval: the first time, or as a reminder (`attempts` of them so far)."""
    document = decode(row.details) if row.details else {}
    due = None if row.due_ms is None else from_ms(row.due_ms)
    _tell(
        app, signals.approval_requested, lease, title=row.name, details=document.get("details"),
        schema=document.get("schema"), due=due,
    )  # fmt: skip


def announce_budget(app: App, lease: Lease, warned: Warned) -> None:
    """Send `budget_warning`: so much of a budget is spent that people wanted to know."""
    shown = {name: as_text(from_units(n)) if warned.what == "cost" else n
             for name, n in (("spent", warned.spent), ("most", warned.most))}  # fmt: skip
    text = "run %s: %s of %s %s of the budget %s are spent"
    logger.warning(text, lease.id, shown["spent"], shown["most"], warned.what, warned.label)
    _tell(app, signals.budget_warning, lease, budget=warned.label, what=warned.what, **shown)


def announce_budgets(app: App, lease: Lease, warned: Iterable[Warned]) -> None:
    """Send `budget_warning` from inside a run, once for each of `warned`."""
    token = enter(None)  # the task that tells the webhook is no call of the body's
    try:
        for one in warned:
            announce_budget(app, lease, one)
    finally:
        leave(token)


def announce_doubt(app: App, lease: Lease, details: Mapping[str, Any]) -> None:
    """Send `step_in_doubt`: of the step that `details` name. Once for each time that it was begun and has not ended."""
    _tell(app, signals.step_in_doubt, lease, **details)


def _text(error: bytes | None) -> str:
    if error is None:
        return "unknown"
    doc = decode_error(error)
    return f"{doc.type}: {doc.message}"


def _tell(app: App, signal: signals.Signal, lease: Lease, **fields: Any) -> None:
    if signal.receivers:
        signal.send(sender=app.tasks.get(lease.task), run_id=lease.id, name=lease.task, **fields)
    tell_webhook(app, {"signal": signal.name, "run_id": lease.id, "name": lease.task, **fields}, queue=lease.queue)
