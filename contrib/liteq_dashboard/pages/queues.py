"""The queues, and one of them: how late it is, what waits in it, which workers take from it."""

from __future__ import annotations

from liteq.monitor.tasks.queues import queue as document_of
from liteq.monitor.tasks.queues import queues as documents_of
from liteq.monitor.workers import workers
from liteq_dashboard.drawn.charts import charts_of, range_of
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.render import html, problem

__all__ = ["ROUTES"]

METRICS = ("done_s", "failed_s", "waiting", "wait_p95_s")


def queues(request: Request, reader: Reader) -> Response:
    """Every queue that has messages, workers, or a pause."""
    return html(request, "queues.html", part=request.get("part") or None, found=documents_of(reader.app, reader.sight))


def queue(request: Request, reader: Reader) -> Response:
    """One queue; 404 for one outside of what the viewer sees."""
    name = request.path_args["name"]
    found = document_of(reader.app, name, reader.sight)
    if found is None:
        return problem(404, f"there is no queue {name!r:.100}")
    part = request.get("part") or None
    range_ = range_of(request.get("range"))
    looked = found.get("looked_at") or 0
    return html(
        request, "queue.html", part=part, it=found, by_task=(found.get("tasks") or [])[:50],
        tasks_note=f"of the {looked:,} that are claimed next" if looked else "",
        workers=[one for one in workers(reader.app, reader.sight)["items"] if name in one["queues"]],
        charts=() if part else charts_of(request, reader, METRICS, range_, queue=name),
    )  # fmt: skip


ROUTES = (Route("GET", "queues", "view", queues), Route("GET", "queues/{name}", "view", queue))
