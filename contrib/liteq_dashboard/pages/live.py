"""`live`: changes as a stream where the host can, else the answer to whether there was one."""

from __future__ import annotations

from liteq_dashboard.freshness.stamp import stamp_of
from liteq_dashboard.http import Reader, Request, Response, Route, Stream
from liteq_dashboard.render import json_answer

__all__ = ["ROUTES"]


def live(request: Request, reader: Reader) -> Response:
    """`?since=STAMP`: a stream of `changed`. `?stamp=STAMP`, or under WSGI: the stamp of now; 204 where it is that."""
    known = request.get("stamp")
    if request.can_stream and not known:
        # X-Accel-Buffering: nginx would hold the events back.
        headers = {"content-type": "text/event-stream", "x-accel-buffering": "no"}
        return Stream(200, headers, since=request.get("since"))
    stamp = stamp_of(reader.app)
    return Response(204) if stamp == known else json_answer({"stamp": stamp})


ROUTES = (Route("GET", "live", "view", live),)
