"""A blueprint that tells how the queue does, as JSON; and the guarded place for a dashboard to be mounted on.

    app.register_blueprint(status_blueprint(), url_prefix="/liteq")

GET health       200 when the queue's file can be used; `?workers=2`: and at least two workers live; else 503. Its
                 `status` is "stuck" or "warning" where work does not go on; with `?strict=1`, 503 for "stuck"
GET status       workers, messages by queue and state, dead letters, and `warnings`: what is wrong
GET tasks/<id>   a task's state, and its result or its error; 404 for an id that the file does not know

A request may look that sends `Authorization: Bearer <token>` with the token of `app.config["LITEQ_STATUS_TOKEN"]`.
Without a token nothing may, unless `app.config["LITEQ_STATUS_LOCAL"]` is true: then a request whose connection has both
ends on the loopback. Behind a proxy on the same machine that is everybody's, so take a token there. Routes that are
registered on the blueprint are guarded in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from flask import Blueprint, Response, abort, current_app, request

from liteq.monitor import documents
from liteq_flask.app import EXTENSION, LiteQ

__all__ = ["queue_of_app", "server_address", "status_blueprint"]

TOKEN = "LITEQ_STATUS_TOKEN"
LOCAL = "LITEQ_STATUS_LOCAL"
SOCKETS = ("werkzeug.socket", "gunicorn.socket")


def status_blueprint(name: str = "liteq") -> Blueprint:
    """The blueprint, for the queue of the app that it is registered on."""
    blueprint = Blueprint(name, __name__)
    blueprint.before_request(_guard)
    blueprint.add_url_rule("/health", "health", _health)
    blueprint.add_url_rule("/status", "status", _status)
    blueprint.add_url_rule("/tasks/<task_id>", "task", _task)
    return blueprint


def _guard() -> None:
    token = current_app.config.get(TOKEN)
    guard = documents.Guard(
        token=str(token) if token else None,
        setting=f"app.config[{TOKEN!r}]",
        local=current_app.config.get(LOCAL) is True,
        local_setting=f"app.config[{LOCAL!r}] = True",
    )
    ends = documents.Ends(request.host, request.remote_addr, server_address(request.environ))
    refused = documents.refusal(guard, request.headers.items(), ends)
    if refused is not None:
        abort(_response(refused))


def server_address(environ: Mapping[str, Any]) -> str | None:
    """The address of this end of the connection: by its socket where the server tells, else the server's own word."""
    for name in SOCKETS:
        own = environ.get(name)
        if own is not None:
            address = own.getsockname()
            return str(address[0]) if isinstance(address, tuple) else None
    return environ.get("SERVER_NAME")


# `_named`: the parameters of the prefix below which the blueprint is registered, such as /<tenant>/liteq.


def _health(**_named: str) -> Response:
    _check(*documents.HEALTH)
    return _response(documents.health(queue_of_app(), request.args.get("workers"), request.args.get("strict")))


def _status(**_named: str) -> Response:
    _check()
    return _response(documents.status(queue_of_app()))


def _task(task_id: str, **_named: str) -> Response:
    _check()
    return _response(documents.task(queue_of_app(), task_id))


def _check(*known: str) -> None:
    """End the request with 400 where its query has a parameter that is not one of `known`."""
    refused = documents.misasked(request.args, known)
    if refused is not None:
        abort(_response(refused))


def _response(answer: documents.Answer) -> Response:
    return Response(answer.body, answer.code, answer.headers, mimetype="application/json")


def queue_of_app() -> LiteQ:
    """The queue of the current app; ends the request with 503 where it has none."""
    found = current_app.extensions.get(EXTENSION)
    if found is None:
        abort(
            _response(
                documents.Answer(503, {"error": "this app has no queue: call LiteQ(app), or queue.init_app(app)"})
            )
        )
    return cast(LiteQ, found)
