"""`api/v1/openapi.json`: the API described, made from the route table."""

from __future__ import annotations

from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.openapi import description
from liteq_dashboard.render import json_answer

__all__ = ["ROUTES"]


def openapi(request: Request, _reader: Reader) -> Response:
    """This description."""
    from liteq_dashboard.routes import routes  # the table, of which this page is a line

    return json_answer(description(routes(), request.base))


ROUTES = (Route("GET", "api/v1/openapi.json", "view", openapi),)
