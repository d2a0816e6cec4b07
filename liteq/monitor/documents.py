"""The state of a queue as JSON documents of a web application, and which requests may see them (Flask, FastAPI).

A document comes with the HTTP status of its answer. None has a task's arguments or its traceback in it.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from liteq import states
from liteq._version import __version__
from liteq.context import App
from liteq.context.living import living
from liteq.exceptions import LiteqError
from liteq.monitor.findings import Finding, findings
from liteq.states import State
from liteq.utils.json_text import to_json
from liteq.utils.misspelt import unknown_name
from liteq.utils.records import NamedTuple

__all__ = ["HEALTH", "Answer", "Ends", "Guard", "health", "misasked", "outcome", "refusal", "status", "task"]

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
HEALTH = ("workers", "strict")  # what `health` may be asked with
MOST_WORKERS = 1_000_000
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Answer(NamedTuple):
    """An HTTP status, and a document for JSON."""

    code: int
    document: dict[str, Any]

    @property
    def body(self) -> bytes:
        """The document as JSON; what JSON has no form for, as text."""
        return to_json(self.document)

    @property
    def headers(self) -> dict[str, str]:
        """To be sent with it. What is true now is not true later."""
        challenge = {"WWW-Authenticate": "Bearer"} if self.code == 401 else {}
        return {"Cache-Control": "no-store", **challenge}


# -- which requests may look -------------------------------------------------------------------------------------------


class Guard(NamedTuple):
    """The rule of a program for its status routes.

    `token`: a request that sends it as `Authorization: Bearer ...` may look. `local`: without a token, so may one
    whose connection has both ends on the loopback. `setting` and `local_setting`: where the program says these.
    """

    token: str | None
    setting: str
    local: bool
    local_setting: str


class Ends(NamedTuple):
    """The connection of a request: its Host header, the client's address and the server's; None where unknown."""

    host: str
    client: str | None
    server: str | None


def refusal(guard: Guard, headers: Iterable[tuple[str, str]], ends: Ends) -> Answer | None:
    """None for a request that may look; else the answer it gets: 401 with a token, 403 without one."""
    sent = {name.lower(): value for name, value in headers}
    token = guard.token
    if token:
        scheme, _, given = sent.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
            return None
        return Answer(401, {"error": f"send `Authorization: Bearer ...` with the token of {guard.setting}"})
    if not guard.local:
        error = (
            f"nobody may look: set {guard.setting} to a secret and send it as `Authorization: Bearer ...`, or set "
            f"{guard.local_setting} to let this machine look without one, where no proxy stands before the program"
        )
        return Answer(403, {"error": error})
    if _is_local(sent, ends):
        return None
    return Answer(403, {"error": f"only this machine may look; for others set {guard.setting}"})


def _is_local(sent: Mapping[str, str], ends: Ends) -> bool:
    """Whether a request is this machine's own: not seen to be handed on by a proxy, and not another site's page's.

    A bare `proxy_pass` of nginx on this machine cannot be told from this machine: hence the program has to say so.
    """
    # A name that somebody lets point to 127.0.0.1 brings a browser here from any page: then the Host is that name.
    host = ends.host
    if any(name in sent for name in FORWARDED):
        return False
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name not in LOCAL_NAMES:
        return False
    return _is_loopback(ends.client) and _is_loopback(ends.server)


def _is_loopback(address: str | None) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


# -- the documents -----------------------------------------------------------------------------------------------------


def _or_unavailable(answer: Callable[..., Answer]) -> Callable[..., Answer]:
    """`answer`, with 503 where the file cannot be read."""

    def guarded(app: App, *args: Any) -> Answer:
        try:
            return answer(app, *args)
        except LiteqError as exc:
            return Answer(503, {"status": "unavailable", "error": str(exc)})

    return guarded


def misasked(names: Collection[str], known: Collection[str] = ()) -> Answer | None:
    """400 for a request with parameters called `names`, of which one is not in `known`; else None."""
    unknown = unknown_name("parameter", names, known)
    return Answer(400, {"error": unknown}) if unknown else None


@_or_unavailable
def health(app: App, workers: str | None = None, strict: str | None = None) -> Answer:
    """200 when the queue's file can be used and at least `workers` workers live, else 503; 400 for no such number.

    Work that does not go on makes the status "stuck" or "warning", and `warnings` tells of it. The code stays 200: the
    program that answers is well, and to start it again helps nobody. With `strict=1` it is 503 for "stuck" too.
    """
    try:
        wanted = int(workers or 0)
    except ValueError:
        wanted = -1
    if not 0 <= wanted <= MOST_WORKERS:
        return Answer(400, {"error": f"workers must be a whole number up to {MOST_WORKERS:,}, not {workers!r:.80}"})
    app.storage.reader.next_due_ms()
    alive = len(_workers(app))
    found = findings(app)
    state = _worst(found) if alive >= wanted else "too few workers"
    well = alive >= wanted and not (state == "stuck" and strict not in {None, "", "0"})
    return Answer(200 if well else 503, {"status": state, "workers": alive, "warnings": [one.detail for one in found]})


def _worst(found: list[Finding]) -> str:
    if any(one.status == "error" for one in found):
        return "stuck"
    return "warning" if found else "ok"


@_or_unavailable
def status(app: App) -> Answer:
    """Messages by queue and state, dead letters, workers, and what is wrong: `status`, `warnings`, `findings`.

    Of each state 10,000 messages are counted at most; `not_exact` names those of which there are more.
    """
    found = findings(app)
    queues: dict[str, dict[str, int]] = {}
    counts = app.storage.views.by_queue()
    for count in counts:
        queues.setdefault(count.queue, {})[count.state.value] = count.n
    return Answer(
        200,
        {
            "version": __version__,
            "queues": queues,
            "not_exact": sorted({count.state.value for count in counts if not count.exact}),
            "dead": sum(by_state.get(State.DEAD.value, 0) for by_state in queues.values()),
            "workers": _workers(app),
            "status": _worst(found),
            "warnings": [*app.storage.driver.warnings(), *(one.detail for one in found)],
            "findings": [one._asdict() for one in found],
        },
    )


@_or_unavailable
def task(app: App, task_id: str) -> Answer:
    """The state of the task `task_id`, its result or its error; 404 for an id that the file does not know."""
    if app.storage.reader.find(task_id) is None:
        return Answer(404, {"error": f"no such task: {task_id!r:.300}; it was never sent, or its result has expired"})
    meta = app.AsyncResult(task_id)._get_task_meta()
    return Answer(200, {"id": task_id, "task": meta["name"], **outcome(meta["status"], meta["result"])})


def outcome(state: str, info: Any) -> dict[str, Any]:
    """{"state", "ready", "info"}, or {"state", "ready", "error": {"type", "message"}}.

    `info` is the task's result, its exception, or the meta of `update_state`.
    """
    found: dict[str, Any] = {"state": state, "ready": state in states.READY_STATES}
    if isinstance(info, BaseException):
        return {**found, "error": {"type": type(info).__name__, "message": str(info)}}
    return {**found, "info": info}


def _workers(app: App) -> list[dict[str, Any]]:
    now_ms = app.clock.now_ms()
    return [
        {"name": w.name, "pid": w.pid, "running": w.leased, "heartbeat_age_s": (now_ms - w.heartbeat_ms) / 1000}
        for w in living(app)
    ]
