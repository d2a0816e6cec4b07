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
from liteq.monitor.tasks.search import BadSearch
from liteq.monitor.tasks.tasks import task, tasks
from liteq.monitor.tasks.telling import stream
from liteq.monitor.tasks.types import task_type
from liteq.monitor.tasks.why import explain
from liteq.monitor.workers import worker, workers
from liteq.utils.json_text import to_json
from liteq_dashboard.charts import RANGES
from liteq_dashboard.export import FORMATS, exported
from liteq_dashboard.http import Page, Reader, Request, Response, Route
from liteq_dashboard.render import json_answer, problem

__all__ = ["ROUTES"]

MOST = 1_000


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
    form, limit = request.get("format"), request.get("limit", "100")
    if form not in {"", "json", *FORMATS}:
        return problem(400, f"format is json, {' or '.join(FORMATS)}")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= MOST:
        return problem(400, f"limit is a number from 1 to {MOST:,}")
    try:
        if form not in FORMATS:
            return json_answer(
                tasks(reader.app, request.get("q"), request.get("after") or None, int(limit), reader.sight)
            )
        if not request.viewer.can("export"):
            return problem(403, "this needs the right 'export', which you do not have")
        return exported(reader, request.get("q"), form)
    except BadSearch as exc:
        return problem(400, str(exc))


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
    after, limit = request.get("after", "0"), request.get("limit", "100")
    if not all(one.isascii() and one.isdigit() and len(one) < 16 for one in (after, limit)):
        return problem(400, "after and limit are numbers")
    id_, name = request.path_args["id"], request.path_args["name"]
    found = stream(reader.app, id_, name, after=int(after), limit=min(int(limit), MOST), see=reader.sight)
    return problem(404, "there is no such task") if found is None else json_answer(found)


def acts(request: Request, reader: Reader) -> Response:
    """The acts of people and programs, the newest first: by `actor`, `action` and `target`."""
    words = {name: request.get(name) for name in ("actor", "action", "target")}
    try:
        return json_answer(activity(reader.app, request.get("after") or None, see=reader.sight, **words))
    except ValueError as exc:
        return problem(400, str(exc))


def points(request: Request, reader: Reader) -> Response:
    """The points of a `metric` over a `range`, of a `queue` or a `task` or of all; and the marks in it."""
    range_s = RANGES.get(request.get("range", "1h"))
    if range_s is None:
        return problem(400, f"range is one of {', '.join(RANGES)}")
    of = {name: request.get(name) or None for name in ("queue", "task")}
    try:
        return json_answer(series(reader.app, request.get("metric"), range_s, **of, see=reader.sight))
    except ValueError as exc:
        return problem(400, str(exc))


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
    Route("GET", "api/v1/operations", "view", whole(operations)),
    Route("GET", "api/v1/operations/{id}", "view", one(operation, "operation")),
    Route("GET", "api/v1/activity", "view", acts),
    Route("GET", "api/v1/series", "view", points),
    Route("GET", "health", "view", health),
    Route("GET", "metrics", "view", scraped),
)
