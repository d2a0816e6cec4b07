"""The audit: who did what, and why."""

from __future__ import annotations

from liteq.monitor.activity import PAGE
from liteq.monitor.activity import activity as document_of
from liteq_dashboard.acts.acting import tried
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.render import html

__all__ = ["ROUTES"]

FILTERS = ("actor", "action", "target")


def activity(request: Request, reader: Reader) -> Response:
    """The newest acts, of one actor, action or target where these are given."""
    asked = {name: request.get(name).strip() for name in FILTERS}

    def show() -> Response:
        found = document_of(reader.app, request.get("after") or None, reader.sight, limit=PAGE, **asked)
        part = request.get("part") or None
        return html(request, "activity.html", part=part, found=found, asked=asked, after=request.get("after"))

    return tried(show)


ROUTES = (Route("GET", "activity", "view", activity),)
