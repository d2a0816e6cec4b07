"""The first page: is it well? One sentence, the numbers, the queues, what runs longest, what fails, what warns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from liteq.context import App
from liteq.context.living import living
from liteq.monitor import messages
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.findings import Finding, findings
from liteq.monitor.tasks.failures import failures
from liteq.monitor.tasks.pace import Pace, pace
from liteq.monitor.tasks.queues import count, queue_documents
from liteq.monitor.tasks.tasks import line_document
from liteq.monitor.tasks.telling import progress_document
from liteq.states import State
from liteq.storage.reading.overview import Bounded, Overview
from liteq.utils.text import span

__all__ = ["overview", "running", "states"]

RUNNING: Final = 20  # of those that run longest
LEASED: Final = 1_000  # rows among which they are looked for
CAUSES: Final = 10
READ: Final = 1_000  # rows of a state that are read to tell the queues of a viewer from others: 8 ms for all states


def overview(app: App, see: Sight = ALL) -> dict[str, Any]:
    """How the queue does: {"verdict", "well", "states", "queues", "running", "causes", "warnings", "rates", "now"}.

    `states` are counts ({"n", "exact"}). Costs the same beside ten rows and ten million.
    """
    look = app.storage.views.overview()
    found = findings(app, see)
    now = pace(app, see)
    queues = queue_documents(app, look, living(app), now, see)
    return {
        "now": app.clock.now_ms(),
        "verdict": _verdict(queues, found, now),
        "well": not any(one.status == "error" for one in found),
        "states": states(app, look, see),
        "queues": queues,
        "running": running(app, see),
        "causes": failures(app, see, limit=CAUSES)["items"],
        "warnings": [*(app.storage.driver.warnings() if see.queues is None else ()), *(one.detail for one in found)],
        "rates": now.rates(),
    }


def states(app: App, look: Overview, see: Sight = ALL) -> dict[str, Any]:
    """The number of messages in each state, within `see`."""
    if see.queues is None:
        return {state.value: count(n) for state, n in look.states.items()}
    seen = dict.fromkeys(State, Bounded(0))
    for one in app.storage.views.by_queue(read=READ):
        if see.sees(one.queue):
            seen[one.state] = seen[one.state].plus(Bounded(one.n, one.exact))
        elif not one.exact:  # some of the viewer's may stand behind those that were counted
            seen[one.state] = seen[one.state]._replace(exact=False)
    return {state.value: count(n) for state, n in seen.items()}


def running(app: App, see: Sight = ALL, limit: int = RUNNING) -> list[dict[str, Any]]:
    """The tasks that run longest: the fields of a list, and `progress`, and their arguments where `see` allows."""
    lines = [one for one in app.storage.views.page("leased", limit=LEASED) if see.sees(one.queue)]
    longest = sorted(lines, key=lambda one: (one.started_ms or one.due_ms, one.seq))[:limit]
    records = app.storage.reader.find_many([one.id for one in longest])
    found = []
    for line in longest:
        document = line_document(app, line, see) | {"progress": None, "args": None, "kwargs": None}
        if (record := records.get(line.id)) is not None:
            document["progress"] = progress_document(record.progress, see)
            if see.payloads:
                call = messages.shown(app, record)
                document |= {"args": call.args, "kwargs": call.kwargs}
        found.append(document)
    return found


def _verdict(queues: Sequence[dict[str, Any]], found: Sequence[Finding], now: Pace) -> str:
    """One sentence: is it well, and if not, the first thing that is not."""
    errors = [one for one in found if one.status == "error"]
    if errors:
        more = f" And {len(errors) - 1} more: see the warnings." if len(errors) > 1 else ""
        return f"Not well: {errors[0].detail}.{more}"
    parts = []
    if now.done_s:
        parts.append(f"{now.done_s:,.1f} tasks/s")
    late = max(queues, key=lambda one: one["head_wait_s"] or 0.0, default=None)
    if late is not None and (late["head_wait_s"] or 0) >= 60:
        busy = late["slots"] and late["running"] >= late["slots"]
        parts.append(f"{late['name']} is {span(late['head_wait_s'])} behind" + (", all its slots busy" if busy else ""))
    parts += [f"{task} fails {share:.0%}" for task, share in now.failing[:1]]
    paused = [one["name"] for one in queues if one["paused"] is not None]
    if paused:
        parts.append(f"{', '.join(paused[:3])} paused")
    if found:
        parts.append(found[0].detail)
    if not parts and not any(one["workers"] for one in queues):
        return "Idle: nothing waits, and no worker lives."
    waits = any(one["waiting"]["n"] or one["running"] for one in queues)
    return f"{'Working' if waits else 'Idle'}. {'; '.join(parts)}".rstrip(" ") + ("." if parts else "")
