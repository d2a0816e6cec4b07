"""The file: what doctor finds without reading all of it, its growth, the settings."""

from __future__ import annotations

from liteq.monitor.file import file as document_of
from liteq_dashboard.drawn.charts import charts_of
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.render import html, problem

__all__ = ["ROUTES"]

METRICS = ("file_bytes", "wal_bytes")
RANGE = "7d"
DAY_MS = 86_400_000


def file(request: Request, reader: Reader) -> Response:
    """The facts about the file, for viewers of all queues: it is the same for each of them."""
    if reader.sight.queues is not None:
        return problem(403, "the file holds more than your queues: only a viewer of all queues may see this page")
    found = document_of(reader.app)
    part = request.get("part") or None
    charts = charts_of(request, reader, METRICS, RANGE)
    checks = [
        *({"name": one["kind"], "status": one["status"], "detail": one["detail"]} for one in found["findings"]),
        *found["checks"],
    ]
    return html(request, "file.html", part=part, it=found, checks=checks, charts=charts, growth=_growth(charts))


def _growth(charts: list[dict[str, object]]) -> str:
    """How much the file grows a day, by its samples; "-" where there are too few of them."""
    points = charts[0]["points"] if charts else []
    if not isinstance(points, list) or len(points) < 2 or points[-1][0] - points[0][0] < DAY_MS / 24:
        return "-"
    grown = (points[-1][1] - points[0][1]) * DAY_MS / (points[-1][0] - points[0][0])
    return f"{grown / 1e6:+,.1f} MB"


ROUTES = (Route("GET", "file", "view", file),)
