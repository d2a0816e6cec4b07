"""What a web application tells of its queue, as JSON documents, and who may look: for Flask and FastAPI.

A document comes with the HTTP status of its answer. None has a task's arguments or its traceback in it.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from liteq import states
from liteq._version import __version__
from liteq.context.living import living
from liteq.exceptions import LiteqError
from liteq.states import State

__all__ = ["Answer", "health", "outcome", "refusal", "status", "task"]

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Answer(NamedTuple):
    """An HTTP status, and a document for JSON."""

    code: int
    document: dict[str, Any]

    @property
    def body(self) -> bytes:
        """The document as JSON; what JSON does not know, as text."""
        return orjson.dumps(self.document, default=str, option=orjson.OPT_NON_STR_KEYS)

    @property
    def headers(self) -> dict[str, str]:
        """To be sent with it. What is true now is not true later."""
        challenge = {"WWW-Authenticate": "Bearer"} if self.code == 401 else {}
        return {"Cache-Control": "no-store", **challenge}


# -- who may look ------------------------------------------------------------------------------------------------------


def refusal(
    token: str | None, setting: str, headers: Iterable[tuple[str, str]], host: str, address: str | None
) -> Answer | None:
    """None for a request that may look; else the answer it gets.

    With a `token`, who sends it as `Authorization: Bearer ...`; without one, this machine alone, directly. `setting`:
    where the token is set, `host`: the Host header, `address`: the client's.
    """
    sent = {name.lower(): value for name, value in headers}
    if token:
        scheme, _, given = sent.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
            return None
        return Answer(401, {"error": f"send `Authorization: Bearer ...` with the token of {setting}"})
    if _is_local(sent, host, address):
        return None
    return Answer(403, {"error": f"only this machine may look; for others set {setting}"})


def _is_local(sent: Mapping[str, str], host: str, address: str | None) -> bool:
    """Whether a request is this machine's own: not handed on by a proxy, and not another site's page's."""
    # Behind a proxy on the same machine everybody comes from 127.0.0.1; and a name that somebody lets point to
    # 127.0.0.1 brings a browser here from any page: then the Host is that name.
    if any(name in sent for name in FORWARDED):
        return False
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name not in LOCAL_NAMES:
        return False
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


# -- the documents -----------------------------------------------------------------------------------------------------


def _or_unavailable(tell: Callable[..., Answer]) -> Callable[..., Answer]:
    """A file that cannot be read is an answer too: 503."""

    def told(app: Any, *args: Any) -> Answer:
        try:
            return tell(app, *args)
        except LiteqError as exc:
            return Answer(503, {"status": "unavailable", "error": str(exc)})

    return told


@_or_unavailable
def health(app: Any, workers: str | None = None) -> Answer:
    """200 when the queue's file can be used and at least `workers` workers live, else 503; 422 for no number."""
    try:
        wanted = int(workers or 0)
    except ValueError:
        return Answer(422, {"error": f"workers is how many must live, a whole number, not {workers!r:.80}"})
    app.storage.next_due_ms()
    alive = len(_workers(app))
    enough = alive >= wanted
    return Answer(200 if enough else 503, {"status": "ok" if enough else "too few workers", "workers": alive})


@_or_unavailable
def status(app: Any) -> Answer:
    """Messages by queue and state, dead letters, workers, warnings."""
    queues: dict[str, dict[str, int]] = {}
    for count in app.storage.counts():
        queues.setdefault(count.queue, {})[count.state.value] = count.n
    return Answer(
        200,
        {
            "version": __version__,
            "queues": queues,
            "dead": sum(by_state.get(State.DEAD.value, 0) for by_state in queues.values()),
            "workers": _workers(app),
            "warnings": app.storage.driver.warnings(),
        },
    )


@_or_unavailable
def task(app: Any, task_id: str) -> Answer:
    """How the task `task_id` does, and its result or its error; 404 for an id that the file of `app` does not know."""
    if app.storage.find(task_id) is None:
        return Answer(404, {"error": f"there is no task {task_id!r:.300}: nobody sent it, or its result has expired"})
    meta = app.AsyncResult(task_id)._get_task_meta()
    return Answer(200, {"id": task_id, "task": meta["name"], **outcome(meta["status"], meta["result"])})


def outcome(state: str, info: Any) -> dict[str, Any]:
    """{"state", "ready", "info"}, or {"state", "ready", "error": {"type", "message"}}.

    `info` is the task's result, its exception, or the meta of `update_state`.
    """
    told: dict[str, Any] = {"state": state, "ready": state in states.READY_STATES}
    if isinstance(info, BaseException):
        return {**told, "error": {"type": type(info).__name__, "message": str(info)}}
    return {**told, "info": info}


def _workers(app: Any) -> list[dict[str, Any]]:
    now_ms = app.clock.now_ms()
    return [
        {"name": w.name, "pid": w.pid, "running": w.leased, "heartbeat_age_s": (now_ms - w.heartbeat_ms) / 1000}
        for w in living(app)
    ]
