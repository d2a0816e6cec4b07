"""The overview: what is wrong, what waits where, who works, and what beat sends next, on one page."""

from __future__ import annotations

from typing import Any

from liteq.clock import from_ms
from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.monitor.findings import findings
from liteq.monitor.workers import living
from liteq.states import State
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.runs.records import RunsWaiting
from liteq.utils.text import span
from liteq_django.admin.base import when
from liteq_django.project import default_app

__all__ = ["overview_of"]

SCHEDULES = 10  # the next ones


def overview_of() -> dict[str, Any]:
    """The facts for the template; where the file cannot be read, `error` says why."""
    app = default_app()
    try:
        storage = app.storage
        counts = storage.views.by_queue()
        queues: dict[str, dict[str, str]] = {}
        for one in counts:
            queues.setdefault(one.queue, {})[one.state.value] = f"{one.n:,}" + ("" if one.exact else "+")
        shown = [state.value for state in State if any(state.value in found for found in queues.values())]
        return {
            "findings": findings(app),
            "states": shown,
            "queues": [(name, [found.get(state, 0) for state in shown]) for name, found in sorted(queues.items())],
            "workers": [_worker(app, one) for one in living(app)],
            "schedules": _next(storage.schedules.all()),
            "runs": _runs(storage.runs.waiting()),
            "read_at": from_ms(app.clock.now_ms()),
        }
    except LiteqError as exc:
        return {"error": str(exc)}


def _worker(app: App, worker: WorkerRecord) -> tuple[Any, ...]:
    facts = worker.facts
    beat = span(max(0, app.clock.now_ms() - worker.heartbeat_ms) / 1000)
    queues = ", ".join(facts.get("queues") or ())
    return (
        worker.name,
        queues,
        f"{worker.leased} of {facts.get('concurrency', '?')}",
        facts.get("processed"),
        f"{beat} ago",
    )


def _runs(found: RunsWaiting) -> list[tuple[str, int]]:
    """The runs that have not ended and do not execute, as far as there are some."""
    counts = (("wait for something", found.waiting), ("paused", found.paused), ("stuck", found.stuck))
    return [(words, n) for words, n in (*counts, ("approvals are open", found.approvals)) if n]


def _next(records: Any) -> list[tuple[Any, ...]]:
    due = sorted((one for one in records if one.enabled and one.next_due_ms), key=lambda one: one.next_due_ms)
    return [(one.name, when(one.next_due_ms), when(one.last_run_ms)) for one in due[:SCHEDULES]]
