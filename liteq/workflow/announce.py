"""The signals of runs, and the webhook that gets them too. For the process that settles outcomes, after it has."""

from __future__ import annotations

import logging
from typing import Any

from liteq import signals
from liteq.clock import from_ms
from liteq.context import App
from liteq.message import DeadLetter, Flag, Lease, Outcome, Park, StepRow, Suspend
from liteq.serialization import decode, decode_error

__all__ = ["WEBHOOK", "announce", "announce_request", "post"]

logger = logging.getLogger("liteq.workflow")

WEBHOOK = "liteq.workflow_webhook"
TIMEOUT_S = 10.0


def announce(app: App, lease: Lease, outcome: Outcome) -> None:
    """Send `workflow_stuck`, `workflow_failed` or `approval_requested` for an outcome that was settled just now.

    With the setting `workflow_webhook` a task sends the same to that URL. Costs nothing for other outcomes. Never
    raises for a receiver; StorageError, where the webhook's task cannot be sent, is logged.
    """
    kind = type(outcome)
    if kind is Suspend:
        for row in outcome.rows:  # type: ignore[union-attr]
            if row.kind == "approval" and row.ended_ms is None:
                announce_request(app, lease.id, lease.task, row)
    elif kind is Park:
        if outcome.state == "stuck":  # type: ignore[union-attr]
            text = _text(outcome.error)  # type: ignore[union-attr]
            logger.error("Workflow %s[%s] is stuck: %.1000s", lease.task, lease.id, text)
            _tell(app, signals.workflow_stuck, lease.id, lease.task, error=text)
    elif kind is DeadLetter and lease.flags & Flag.RUN and not lease.flags & Flag.STEP:
        _tell(app, signals.workflow_failed, lease.id, lease.task, error=_text(outcome.error))  # type: ignore[union-attr]


def announce_request(app: App, run_id: str, name: str, row: StepRow) -> None:
    """Send `approval_requested` for an open approval: the first time, or as a reminder."""
    document = decode(row.details) if row.details else {}
    due = None if row.due_ms is None else from_ms(row.due_ms)
    _tell(
        app, signals.approval_requested, run_id, name, title=row.name, details=document.get("details"),
        schema=document.get("schema"), due=due,
    )  # fmt: skip


def _text(error: bytes | None) -> str:
    if error is None:
        return "unknown"
    doc = decode_error(error)
    return f"{doc.type}: {doc.message}"


def _tell(app: App, signal: signals.Signal, run_id: str, name: str, **fields: Any) -> None:
    if signal.receivers:
        signal.send(sender=app.tasks.get(name), run_id=run_id, name=name, **fields)
    url = app.conf.workflow_webhook
    if url:
        document = {"signal": signal.name, "run_id": run_id, "name": name, **fields}
        try:
            app.sender.send_call(None, WEBHOOK, (url, document), {}, None, {})
        except Exception:
            logger.exception("the webhook of %s[%s] cannot be sent", name, run_id)


def post(url: str, document: dict[str, Any]) -> int:
    """Post a signal as JSON; the status of the answer. Raises OSError, which has its task retried."""
    import urllib.request

    from liteq.utils.json_text import to_json

    if not url.startswith(("http://", "https://")):
        raise ValueError(f"workflow_webhook is an http or https URL, not {url!r}")
    headers = {"Content-Type": "application/json", "User-Agent": "liteq"}
    request = urllib.request.Request(url, to_json(document), headers, method="POST")  # noqa: S310 - checked above
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        return int(answer.status)
