"""The workers, one of them, and what it can be asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liteq import LiteQ
from liteq.exceptions import closest
from liteq.monitor.tasks.search import quoted
from liteq.monitor.tasks.tasks import tasks
from liteq.monitor.workers import is_within
from liteq.monitor.workers import worker as document_of
from liteq.monitor.workers import workers as documents_of
from liteq_dashboard.acts.acting import sees
from liteq_dashboard.acts.asking import Asked, Field, carry_out, confirm
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.render import html, problem
from liteq_dashboard.texts import TEXTS, label

__all__ = ["ROUTES"]

ACTIONS = ("stop", "grow", "shrink", "consume", "log-level")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
UNREAD = frozenset({"clock_offset_s", "file"})
MOST_SLOTS = 1_000
SHOWN = 100
WAIT_S = 2.0  # for the worker's answer
TEXT = {
    "stop": "It takes nothing new, finishes what runs, returns the rest to the queue, and ends.",
    "grow": "It executes so many more tasks at a time.",
    "shrink": "It executes so many fewer tasks at a time, at least one.",
    "consume": "It takes from this queue too, until it ends.",
    "log-level": "It logs from this level on, until it ends.",
}


def workers(request: Request, reader: Reader) -> Response:
    """Those that live, and those that fell silent."""
    found = documents_of(reader.app, reader.sight)
    return html(request, "workers.html", part=request.get("part") or None, found=found)


def worker(request: Request, reader: Reader) -> Response:
    """One worker: what it runs, and what it tells of itself."""
    found = document_of(reader.app, request.path_args["name"], reader.sight)
    if found is None:
        return _none(request)
    running = tasks(reader.app, f"state:leased worker:{quoted(found['name'])}", None, SHOWN, reader.sight)
    return html(
        request, "worker.html", part=request.get("part") or None, it=found, running=running,
        actions=ACTIONS if is_within(reader.app, found["name"], reader.sight) else (), facts=_facts(found["facts"]),
    )  # fmt: skip


def _facts(told: dict[str, Any]) -> list[tuple[str, Any]]:
    """The other facts that a worker tells: lists in one line; nothing of what only other workers read."""
    return [
        (name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else value)
        for name, value in sorted(told.items())
        if name not in UNREAD
    ]


def _told_to(request: Request, reader: Reader) -> dict[str, Any] | Response:
    """The worker of the path, for a viewer who may tell it something; else the problem."""
    found = document_of(reader.app, request.path_args["name"], reader.sight)
    if found is None or request.path_args["action"] not in ACTIONS:
        return _none(request)
    if not is_within(reader.app, found["name"], reader.sight):
        return problem(403, "it takes from other queues too: only a viewer of all of them may tell it something")
    return found


def ask(request: Request, reader: Reader) -> Response:
    """The page that asks before a worker is told something."""
    found, action = _told_to(request, reader), request.path_args["action"]
    if isinstance(found, Response):
        return found
    asked = Asked(
        f"{label(action)}: {found['name']}", TEXT[action], label(action), _command(action, found["name"]),
        _fields(action), is_grave=action == "stop",
    )  # fmt: skip
    return confirm(request, asked, link(request.base, "workers", found["name"]))


def tell(request: Request, reader: Reader) -> Response:
    """Tell the worker, and say what it answered."""
    found, action = _told_to(request, reader), request.path_args["action"]
    if isinstance(found, Response):
        return found
    if action == "consume" and (unseen := sees(reader, request.posted("queue").strip())) is not None:
        return unseen
    name = found["name"]
    return carry_out(
        request, reader, lambda: _told(reader.app, action, name, request.posted), action=f"worker {action}",
        target=name, back=link(request.base, "workers", name), said=f"{name} was told: {label(action)}.",
    )  # fmt: skip


def _told(app: LiteQ, action: str, name: str, given: Callable[[str], str]) -> None:
    """Ask the worker, and wait for its answer. Raises ValueError for a value that it does not take, or no answer."""
    control = app.control
    how: dict[str, Any] = {"destination": [name], "reply": action != "stop", "timeout": WAIT_S}
    match action:
        case "stop":
            control.shutdown(destination=[name])
            return
        case "grow" | "shrink":
            answers = (control.pool_grow if action == "grow" else control.pool_shrink)(_number(given("n")), **how)
        case "consume":
            answers = control.add_consumer(_needed(given("queue"), "a queue"), **how)
        case _:
            level = given("level").upper()
            if level not in LEVELS:
                raise ValueError(f"unknown level {level!r}; use one of {closest(level, LEVELS)}")
            answers = control.broadcast("log_level", {"level": level}, **how)
    if not answers:
        raise ValueError(f"{name} has not answered within {WAIT_S:g} s: it may be busy, or gone")
    for answer in answers:
        for words in answer.values():
            if isinstance(words, dict) and "error" in words:
                raise ValueError(f"{name}: {words['error']}")


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SLOTS:
        raise ValueError(f"write a number from 1 to {MOST_SLOTS:,}, not {text!r:.40}")
    return int(text)


def _needed(text: str, what: str) -> str:
    if not text.strip():
        raise ValueError(f"write the name of {what}")
    return text.strip()


def _fields(action: str) -> tuple[Field, ...]:
    match action:
        case "grow" | "shrink":
            return (Field("n", "How many", "1", "number"),)
        case "consume":
            return (Field("queue", str(TEXTS["queue"])),)
        case "log-level":
            return (Field("level", label(action), "INFO", "choice", LEVELS),)
    return ()


def _command(action: str, name: str) -> list[str]:
    words = {"stop": ["shutdown"], "grow": ["pool_grow", "1"], "shrink": ["pool_shrink", "1"]}
    words |= {"consume": ["add_consumer", "QUEUE"], "log-level": ["log_level", "INFO"]}
    return ["control", "-d", name, *words[action]]


def _none(request: Request) -> Response:
    return problem(404, f"there is no worker {request.path_args['name']!r:.100}, or it cannot be asked for this")


ROUTES = (
    Route("GET", "workers", "view", workers),
    Route("GET", "workers/{name}", "view", worker),
    Route("GET", "workers/{name}/{action}", "workers", ask),
    Route("POST", "workers/{name}/{action}", "workers", tell),
)
