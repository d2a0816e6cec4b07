"""Failures, grouped by their cause, and one cause with its tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from liteq.monitor.tasks.failures import cause as document_of
from liteq.monitor.tasks.failures import failures as documents_of
from liteq.monitor.tasks.tasks import tasks
from liteq_dashboard.drawn.traces import own_frames
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.render import html, problem
from liteq_dashboard.texts import TEXTS

__all__ = ["ROUTES"]

SHOWN = 50


def failures(request: Request, reader: Reader) -> Response:
    """The causes, newest first."""
    found = documents_of(reader.app, see=reader.sight)
    return html(request, "failures.html", part=request.get("part") or None, found=found)


def failure(request: Request, reader: Reader) -> Response:
    """One cause: its tasks, the traceback of the newest, what they have in common."""
    id_ = request.path_args["cause"]
    found = document_of(reader.app, id_, see=reader.sight)
    if found is None:
        return problem(404, f"there is no cause {id_!r:.100}: no task failed with it, or it was forgotten since")
    listed = tasks(reader.app, f"cause:{found['id']}", request.get("after") or None, SHOWN, reader.sight)
    return html(
        request, "failure.html", part=request.get("part") or None, it=found, tasks=listed, after=request.get("after"),
        trace=found.get("traceback") or "",
        own_trace=own_frames(found.get("traceback") or ""), common=_common(listed["items"]), chart=None,
    )  # fmt: skip


def _common(items: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """How the tasks are spread over queues and workers, the most frequent first."""
    found = []
    for name in ("queue", "worker"):
        counts = Counter(str(one[name]) for one in items if one.get(name))
        if counts:
            spread = ", ".join(f"{value} ({n} of {len(items)})" for value, n in counts.most_common(4))
            found.append((str(TEXTS[name]), spread))
    return found


ROUTES = (Route("GET", "failures", "view", failures), Route("GET", "failures/{cause}", "view", failure))
