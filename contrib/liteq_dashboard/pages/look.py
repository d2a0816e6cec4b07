"""The reader's choices: theme, time zone, how often a page looks for changes. They are kept in a cookie."""

from __future__ import annotations

from dataclasses import replace

from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.looks import LOOK_COOKIE, look_of
from liteq_dashboard.render import redirect

__all__ = ["ROUTES"]

KEPT_S = 31_536_000


def save(request: Request, _reader: Reader) -> Response:
    """Keep the choices, and go back to the page that they were made on."""
    look = look_of("~".join(request.posted(name) for name in ("theme", "zone", "live")))
    answer = redirect(request, link(request.base, request.posted("back").lstrip("/")))
    kept = f"{LOOK_COOKIE}={look.cookie}; Max-Age={KEPT_S}; Path={request.base}/; SameSite=Strict"
    return replace(answer, headers={**answer.headers, "set-cookie": kept})


ROUTES = (Route("POST", "look", "view", save),)
