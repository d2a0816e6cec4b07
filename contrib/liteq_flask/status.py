"""A blueprint that tells how the queue does, as JSON; and the guarded place for a dashboard to be mounted on.

    app.register_blueprint(status_blueprint(), url_prefix="/liteq")

GET health   200 when the queue's file can be used; `?workers=2`: and at least two workers live; else 503
GET status   workers, messages by queue and state, dead letters, warnings

Who may look: with `app.config["LITEQ_STATUS_TOKEN"]`, whoever sends `Authorization: Bearer <token>`; without it, only
this machine, directly. What is registered on the blueprint is guarded in the same way.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any, cast

from flask import Blueprint, Response, abort, current_app, jsonify, request

from liteq._version import __version__
from liteq.exceptions import LiteqError
from liteq.states import State
from liteq.worker.identity import is_dead
from liteq_flask.app import EXTENSION, LiteQ

__all__ = ["status_blueprint"]

TOKEN = "LITEQ_STATUS_TOKEN"
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def status_blueprint(name: str = "liteq") -> Blueprint:
    """The blueprint, for the queue of the app that it is registered on."""
    blueprint = Blueprint(name, __name__)
    blueprint.before_request(_guard)
    blueprint.add_url_rule("/health", "health", _health)
    blueprint.add_url_rule("/status", "status", _status)
    return blueprint


def _guard() -> None:
    token = current_app.config.get(TOKEN)
    if token:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), str(token).encode()):
            abort(_refused(401, f"send `Authorization: Bearer ...` with the token of {TOKEN}"))
    elif not _is_local():
        abort(_refused(403, f"only this machine may look; for others set app.config[{TOKEN!r}]"))


def _is_local() -> bool:
    """Whether the request is this machine's own: not handed on by a proxy, and not another site's page's."""
    # Behind a proxy on the same machine everybody comes from 127.0.0.1; and a name that somebody lets point to
    # 127.0.0.1 brings a browser here from any page: then the Host is that name.
    if any(header in request.headers for header in FORWARDED):
        return False
    host = request.host.rpartition(":")[0] if request.host.rpartition("]")[2].startswith(":") else request.host
    host = host if host.startswith("[") else host.partition(":")[0]
    if host not in LOCAL_NAMES:
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _refused(code: int, why: str) -> Response:
    response = jsonify(error=why)
    response.status_code = code
    if code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _health() -> tuple[Response, int]:
    wanted = request.args.get("workers", 0, type=int)
    try:
        _queue().storage.next_due_ms()
        living = len(_workers())
    except LiteqError as exc:
        return jsonify(status="unavailable", error=str(exc)), 503
    enough = living >= wanted
    return jsonify(status="ok" if enough else "too few workers", workers=living), 200 if enough else 503


def _status() -> tuple[Response, int]:
    storage = _queue().storage
    queues: dict[str, dict[str, int]] = {}
    for count in storage.counts():
        queues.setdefault(count.queue, {})[count.state.value] = count.n
    document = {
        "version": __version__,
        "queues": queues,
        "dead": sum(states.get(State.DEAD.value, 0) for states in queues.values()),
        "workers": _workers(),
        "warnings": storage.driver.warnings(),
    }
    return jsonify(document), 200


def _workers() -> list[dict[str, Any]]:
    queue = _queue()
    now_ms = queue.clock.now_ms()
    return [
        {"name": w.name, "pid": w.pid, "running": w.leased, "heartbeat_age_s": (now_ms - w.heartbeat_ms) / 1000}
        for w in queue.control.living()
        if not is_dead(w.identity)
    ]


def _queue() -> LiteQ:
    found = current_app.extensions.get(EXTENSION)
    if found is None:
        abort(_refused(503, "this app has no queue: call LiteQ(app), or queue.init_app(app)"))
    return cast(LiteQ, found)
