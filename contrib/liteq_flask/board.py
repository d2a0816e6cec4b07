"""The dashboard's routes as rules of Flask's. Imported when a program makes the blueprint: a worker does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from flask import Blueprint, Response, current_app, request
from markupsafe import Markup

from liteq.monitor.documents import Ends
from liteq_dashboard.dispatch import FORMS, LARGEST_BODY, Asked, Dashboard, has_body, local_viewer, with_body
from liteq_dashboard.hosts import path_below, viewer_of
from liteq_dashboard.routes import Table, routes
from liteq_flask.app import LiteQ
from liteq_flask.status import queue_of_app, server_address

if TYPE_CHECKING:
    from liteq_dashboard import Viewer

__all__ = ["blueprint_of"]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # all come here, and are 405 where there is no route


def blueprint_of(name: str, access: Callable[[Any], Any] | None, options: dict[str, Any]) -> Blueprint:
    """The blueprint called `name`, guarded by `access`; `options` are those of each queue's `Dashboard`."""
    boards: WeakKeyDictionary[LiteQ, Dashboard] = WeakKeyDictionary()

    def view(line: str, **caught: str) -> Response:
        queue = queue_of_app()
        board = boards.get(queue) or boards.setdefault(queue, Dashboard(queue, **options))
        asked = _asked(line, caught.get("liteq_rest"))
        viewer: Viewer | None = local_viewer(asked) if access is None else viewer_of(access, request)
        answer = board.respond(asked, viewer)
        return Response(answer.body, answer.status, dict(answer.headers))

    blueprint = Blueprint(name, __name__)
    for path in dict.fromkeys(route.path for route in Table(routes()).routes):
        rule = "/" + path.replace("{", "<").replace("}", ">")
        endpoint = path.translate(str.maketrans("/.", "__", "{}")) or "overview"
        blueprint.add_url_rule(rule, endpoint, partial(view, path), methods=METHODS, provide_automatic_options=False)
    blueprint.add_url_rule(
        "/<path:liteq_rest>", "rest", partial(view, ""), methods=METHODS, provide_automatic_options=False
    )
    return blueprint


def _asked(line: str, rest: str | None) -> Asked:
    base, path = path_below(request.script_root + request.path, line, rest)
    asked = Asked(
        method=request.method,
        path=path,
        base=base,
        query=request.query_string.decode("latin-1"),
        headers={name.lower(): value for name, value in request.headers.items()},
        ends=Ends(request.host, request.remote_addr, server_address(request.environ)),
        csrf=_csrf(),
    )
    if request.method in {"GET", "HEAD"}:
        return asked
    is_there = has_body(asked.headers)
    return with_body(asked, _body, lambda: request.form.to_dict(flat=False), is_there=is_there, forms=FORMS)


def _body() -> bytes:
    """The body; of one in chunks, which has not told its length, no more than is looked at."""
    told = request.content_length is not None
    return request.get_data() if told else request.stream.read(LARGEST_BODY + 1)


def _csrf() -> str:
    """The hidden field of Flask-WTF, where the app is protected by it."""
    token = current_app.jinja_env.globals.get("csrf_token")
    if not callable(token):
        return ""
    name = current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token")
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, token())
