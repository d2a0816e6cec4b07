"""A blueprint that tells how the queue does, as JSON; and the guarded place for a dashboard to be mounted on.

    app.register_blueprint(status_blueprint(), url_prefix="/liteq")

GET health       200 when the queue's file can be used; `?workers=2`: and at least two workers live; else 503
GET status       workers, messages by queue and state, dead letters, warnings
GET tasks/<id>   a task's state, and its result or its error; 404 for an id that the file does not know

With `app.config["LITEQ_STATUS_TOKEN"]` a request needs `Authorization: Bearer <token>`. Without it, only this machine
may look, and not through a proxy. Views that you register on the blueprint are guarded in the same way.
"""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, abort, current_app, request

from liteq.monitor import documents
from liteq_flask.app import EXTENSION, LiteQ

__all__ = ["status_blueprint"]

TOKEN = "LITEQ_STATUS_TOKEN"


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
    refused = documents.refusal(
        str(token) if token else None,
        f"app.config[{TOKEN!r}]",
        request.headers.items(),
        request.host,
        request.remote_addr,
    )
    if refused is not None:
        abort(_response(refused))


def _health() -> Response:
    return _response(documents.health(_queue(), request.args.get("workers")))


def _status() -> Response:
    return _response(documents.status(_queue()))


def _task(task_id: str) -> Response:
    return _response(documents.task(_queue(), task_id))


def _response(answer: documents.Answer) -> Response:
    return Response(answer.body, answer.code, answer.headers, mimetype="application/json")


def _queue() -> LiteQ:
    found = current_app.extensions.get(EXTENSION)
    if found is None:
        abort(
            _response(
                documents.Answer(503, {"error": "this app has no queue: call LiteQ(app), or queue.init_app(app)"})
            )
        )
    return cast(LiteQ, found)
