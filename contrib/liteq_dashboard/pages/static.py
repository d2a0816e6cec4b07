"""The files of `static/`, which a browser keeps for a year: their hash is in their path."""

from __future__ import annotations

from liteq_dashboard.assets import asset
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.render import problem

__all__ = ["ROUTES"]

KEPT = "public, max-age=31536000, immutable"


def own(request: Request, _reader: Reader) -> Response:
    """A file of the dashboard's own."""
    return _file(request, request.path_args["name"])


def vendored(request: Request, _reader: Reader) -> Response:
    """A file of a library."""
    return _file(request, f"vendor/{request.path_args['name']}")


def _file(request: Request, name: str) -> Response:
    found = asset(name)
    if found is None or found.hash != request.path_args["hash"]:
        return problem(404, "there is no such file; load the page again")
    return Response(200, {"content-type": found.type, "cache-control": KEPT}, found.body)


ROUTES = (
    Route("GET", "static/{hash}/{name}", "", own),
    Route("GET", "static/{hash}/vendor/{name}", "", vendored),
)
