"""The first page: is it well?"""

from __future__ import annotations

from liteq.monitor.overview import overview as document_of
from liteq_dashboard.drawn.charts import RANGES, charts_of, range_of
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.render import html

__all__ = ["ROUTES"]

SHOWN = ("pending", "leased", "scheduled", "held", "blocked", "dead")
METRICS = ("done_s", "failed_s", "wait_p95_s", "run_p95_s")


def overview(request: Request, reader: Reader) -> Response:
    """The verdict, the rates, the queues, what runs longest, the newest causes of failure, warnings."""
    found = document_of(reader.app, reader.sight)
    range_ = range_of(request.get("range"))
    part = request.get("part") or None
    return html(
        request, "overview.html", part=part, it=found, tone=_tone(found), shown_states=SHOWN, ranges=tuple(RANGES),
        range=range_, charts=() if part else charts_of(request, reader, METRICS, range_),
        warnings=[one for one in found["warnings"] if one.rstrip(".") not in found["verdict"]],
    )  # fmt: skip


def _tone(found: dict[str, object]) -> str:
    if not found["well"]:
        return "bad"
    return "warn" if found["warnings"] else "ok"


ROUTES = (Route("GET", "", "view", overview),)
