"""`api/v1`: the documents that the pages show, as JSON; and what machines ask: health and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liteq import metrics
from liteq.exceptions import ImproperlyConfigured
from liteq.monitor import documents
from liteq.monitor.activity import activity
from liteq.monitor.operations import operation, operations
from liteq.monitor.overview import overview
from liteq.monitor.schedules import schedule, schedules
from liteq.monitor.series import series
from liteq.monitor.tasks.failures import cause, failures
from liteq.monitor.tasks.queues import queue, queues
from liteq.monitor.tasks.tasks import task, tasks
from liteq.monitor.tasks.telling import stream
from liteq.monitor.tasks.types import task_type
from liteq.monitor.tasks.why import explain
from liteq.monitor.workers import worker, workers
from liteq.utils.json_text import to_json
from liteq.utils.text import place_of
from liteq_dashboard.acts.acting import tried
from liteq_dashboard.acts.export import FORMATS, exported
from liteq_dashboard.drawn.charts import RANGES
from liteq_dashboard.http import Page, Reader, Request, Response, Route
from liteq_dashboard.render import json_answer, problem

__all__ = ["ROUTES"]


def whole(read: Callable[..., Any]) -> Page:
    """The page of a document that needs no words of the request."""

    def page(_request: Request, reader: Reader) -> Response:
        return json_answer(read(reader.app, see=reader.sight))

    page.__doc__ = read.__doc__
    return page


def one(read: Callable[..., Any], noun: str) -> Page:
    """The page of one thing by its name or id; 404 where it is not there, or not for this viewer."""

    def page(request: Request, reader: Reader) -> Response:
        found = read(reader.app, request.path_args["id"], see=reader.sight)
        return problem(404, f"there is no such {noun}") if found is None else json_answer(found)

    page.__doc__ = read.__doc__
    return page


def found_tasks(request: Request, reader: Reader) -> Response:
    """A page of the tasks that the search `q` finds; with `format` all of them as lines: "ndjson" or "csv"."""
    form = request.get("format")
    if form not in {"", "json", *FORMATS}:
        return problem(400, f"format is json, {' or '.join(FORMATS)}")

    def do() -> Response:
        q, after, limit = request.get("q"), request.get("after") or None, request.limit()
        if form not in FORMATS:
            return json_answer(tasks(reader.app, q, after, limit, reader.sight))
        if not request.viewer.can("export"):
            return problem(403, "this needs the right 'export', which you do not have")
        return exported(reader, q, form)

    return tried(do)


def payload(request: Request, reader: Reader) -> Response:
    """The arguments, the result and the progress of a task, as a file; sensitive values are hidden."""
    found = task(reader.app, request.path_args["id"], see=reader.sight)
    if found is None:
        return problem(404, "there is no such task")
    shown = {name: found[name] for name in ("id", "task", "args", "kwargs", "result", "progress")}
    headers = {"content-type": "application/json", "content-disposition": 'attachment; filename="payload.json"'}
    return Response(200, headers, to_json(shown, indent=True))


def chunks(request: Request, reader: Reader) -> Response:
    """The chunks of a task's stream behind the offset `after`; `next` is the `after` of those that are to come."""
    id_, name = request.path_args["id"], request.path_args["name"]

    def do() -> Response:
        after, limit = place_of(request.get("after")), request.limit()
        found = stream(reader.app, id_, name, after=after, limit=limit, see=reader.sight)
        return problem(404, "there is no such task") if found is None else json_answer(found)

    return tried(do)


def acts(request: Request, reader: Reader) -> Response:
    """The acts of people and programs, the newest first: by `actor`, `action` and `target`."""
    words = {name: request.get(name) for name in ("actor", "action", "target")}
    after = request.get("after") or None
    return tried(lambda: json_answer(activity(reader.app, after, see=reader.sight, limit=request.limit(), **words)))


def done_to_many(request: Request, reader: Reader) -> Response:
    """The operations, the newest first."""
    after = request.get("after") or None
    return tried(lambda: json_answer(operations(reader.app, reader.sight, after=after, limit=request.limit())))


def points(request: Request, reader: Reader) -> Response:
    """The points of a `metric` over a `range`, of a `queue` or a `task` or of all; and the marks in it."""
    range_s = RANGES.get(request.get("range", "1h"))
    if range_s is None:
        return problem(400, f"range is one of {', '.join(RANGES)}")
    of = {name: request.get(name) or None for name in ("queue", "task")}
    return tried(lambda: json_answer(series(reader.app, request.get("metric"), range_s, **of, see=reader.sight)))


def health(request: Request, reader: Reader) -> Response:
    """200 where the file can be used and `workers` workers live, else 503; with `strict=1` also where work stands."""
    answer = documents.health(reader.app, request.get("workers") or None, request.get("strict") or None)
    document = dict(answer.document)
    if request.viewer.queues is not None:
        document.pop("warnings", None)  # they name queues
    return json_answer(document, answer.code)


def scraped(request: Request, reader: Reader) -> Response:
    """The metrics of the file in Prometheus's text format; `names=celery` and `names=flower` add those names."""
    if request.viewer.queues is not None:
        return problem(404, "the metrics are those of all queues: only a viewer of all queues may read them")
    try:
        return Response(
            200, {"content-type": metrics.CONTENT_TYPE}, metrics.exposition(reader.app, request.query.get("names", ()))
        )
    except ImproperlyConfigured as exc:
        return problem(501, str(exc))


ROUTES = (
    Route("GET", "api/v1/overview", "view", whole(overview)),
    Route("GET", "api/v1/tasks", "view", found_tasks),
    Route("GET", "api/v1/tasks/{id}", "view", one(task, "task")),
    Route("GET", "api/v1/tasks/{id}/why", "view", one(explain, "task")),
    Route("GET", "api/v1/tasks/{id}/payload", "payloads", payload),
    Route("GET", "api/v1/tasks/{id}/streams/{name}", "payloads", chunks),
    Route("GET", "api/v1/failures", "view", whole(failures)),
    Route("GET", "api/v1/failures/{id}", "view", one(cause, "cause")),
    Route("GET", "api/v1/types/{id}", "view", one(task_type, "task")),
    Route("GET", "api/v1/queues", "view", whole(queues)),
    Route("GET", "api/v1/queues/{id}", "view", one(queue, "queue")),
    Route("GET", "api/v1/workers", "view", whole(workers)),
    Route("GET", "api/v1/workers/{id}", "view", one(worker, "worker")),
    Route("GET", "api/v1/schedules", "view", whole(schedules)),
    Route("GET", "api/v1/schedules/{id}", "view", one(schedule, "schedule")),
    Route("GET", "api/v1/operations", "view", done_to_many),
    Route("GET", "api/v1/operations/{id}", "view", one(operation, "operation")),
    Route("GET", "api/v1/activity", "view", acts),
    Route("GET", "api/v1/series", "view", points),
    Route("GET", "health", "view", health),
    Route("GET", "metrics", "view", scraped),
)
