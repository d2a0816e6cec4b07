"""The schedules, one of them, and what can be done with it: run now, pause, resume, edit those that are the file's."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from liteq import LiteQ
from liteq.clock import from_ms
from liteq.context.display import REDACTED, redacted
from liteq.exceptions import LiteqError
from liteq.monitor.schedules import schedule as document_of
from liteq.monitor.schedules import schedules as documents_of
from liteq.operating.resend import restored
from liteq.schedules.text import schedule_from, text_of
from liteq.serialization import decode
from liteq.utils.json_text import from_json, to_json
from liteq_dashboard.acts.acting import act_on_schedule, actor
from liteq_dashboard.acts.asking import Asked, Field, carry_out, confirm
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.render import html, problem
from liteq_dashboard.texts import TEXTS, label

__all__ = ["ROUTES"]

MOST = 100  # schedules that are paused or resumed at once
ACTIONS = ("run", "pause", "resume", "edit")
DONE = {"run": "sent", "pause": "paused", "resume": "resumed", "edit": "changed"}
TEXT = {
    "run": "It is sent at once, paused or not. When it is due next stays as it is.",
    "pause": "No run of it begins until it is resumed, also across restarts.",
    "resume": "It runs again from its next time on; missed runs are not made up.",
    "edit": "Seconds between two runs, or the five fields of a crontab. Values are JSON.",
}


def schedules(request: Request, reader: Reader) -> Response:
    """All of them: next, last, how late, how the last runs ended."""
    found = documents_of(reader.app, reader.sight)
    return html(request, "schedules.html", part=request.get("part") or None, found=found)


def schedule(request: Request, reader: Reader) -> Response:
    """One of them, with its next times in its own zone."""
    found = document_of(reader.app, request.path_args["name"], reader.sight)
    if found is None:
        return _none(request.path_args["name"])
    zone = _zone(found["timezone"])
    times = [(ms, from_ms(ms).astimezone(zone).strftime("%a %d %b %Y %H:%M:%S %Z")) for ms in found["times"]]
    return html(request, "schedule.html", part=request.get("part") or None, it=found, zone_times=times)


def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, LookupError):
        return UTC


# -- what can be done --------------------------------------------------------------------------------------------------


def _eligible(reader: Reader, name: str, action: str) -> dict[str, Any] | Response:
    """The schedule that `action` may be done to; else the answer that says why not."""
    found = document_of(reader.app, name, reader.sight)
    if found is None or action not in ACTIONS:
        return _none(name)
    if action == "edit" and found["owner"]:
        return problem(409, f"{name} stands in the beat_schedule of {found['owner']}: change it there")
    if action == "edit" and _text(reader.app, name) is None:
        return problem(409, f"{name} is no interval and no crontab: change it where it was added")
    return found


def ask(request: Request, reader: Reader) -> Response:
    """The page that asks before a schedule is changed or sent."""
    name, action = request.path_args["name"], request.path_args["action"]
    found = _eligible(reader, name, action)
    if isinstance(found, Response):
        return found
    fields = _fields(reader.app, name, found) if action == "edit" else ()
    command = [] if action == "edit" else ["schedules", action, name]
    button = str(TEXTS["save"]) if action == "edit" else label(action)
    asked = Asked(f"{label(action)}: {name}", TEXT[action], button, command, fields)
    return confirm(request, asked, link(request.base, "schedules", name))


def do(request: Request, reader: Reader) -> Response:
    """Do it, and go back to the schedule."""
    name, action = request.path_args["name"], request.path_args["action"]
    found = _eligible(reader, name, action)
    if isinstance(found, Response):
        return found
    back, said, queue = link(request.base, "schedules", name), f"{name} was {DONE[action]}.", found["queue"]
    if action == "edit":
        return carry_out(
            request, reader, lambda: _edit(reader.app, name, request), action="schedule edit", target=name, back=back,
            said=said, queue=queue,
        )  # fmt: skip
    return carry_out(request, reader, lambda: _do(reader, name, action, queue, request), back=back, said=said)


def ask_all(request: Request, reader: Reader) -> Response:
    """The page that asks before several are paused or resumed."""
    action, names = request.get("action"), _seen(reader, request.query.get("name", []))
    if action not in {"pause", "resume"} or not names:
        return problem(400, "tick the schedules first, then pause or resume them")
    kept = [("action", action), *(("name", name) for name in names)]
    text = f"{TEXT[action]} {len(names)}: {', '.join(names)}."
    asked = Asked(f"{label(action)}: {len(names)}", text, label(action), ["schedules", action, *names])
    return confirm(request, asked, link(request.base, "schedules"), kept)


def do_all(request: Request, reader: Reader) -> Response:
    """Pause or resume several."""
    action, names = request.posted("action"), _seen(reader, request.form.get("name", []))
    if action not in {"pause", "resume"} or not names:
        return problem(400, "tick the schedules first, then pause or resume them")

    def each() -> None:
        for name, queue in names.items():
            _do(reader, name, action, queue, request)

    said = f"{len(names)} schedules were {DONE[action]}."
    return carry_out(request, reader, each, back=link(request.base, "schedules"), said=said)


def _seen(reader: Reader, names: list[str]) -> dict[str, str | None]:
    """Those of these schedules that the viewer may see, with their queues."""
    found = ((name, document_of(reader.app, name, reader.sight)) for name in names[:MOST])
    return {name: document["queue"] for name, document in found if document is not None}


def _do(reader: Reader, name: str, action: str, queue: str | None, request: Request) -> None:
    by = actor(request, "page", request.posted("reason"))
    act_on_schedule(reader, action, name, by=by, queue=queue)


def _edit(app: LiteQ, name: str, request: Request) -> None:
    """Put the entry anew with what the form says. Raises ValueError for what makes no schedule or no JSON."""
    record = app.storage.schedules.find(name)
    if record is None:
        raise KeyError(f"there is no schedule {name!r}")
    sent = decode(record.signature)
    if sent.get("subtask_type"):
        raise ValueError(f"{name} sends a canvas: change it where it was added")
    args, kwargs = _edited(app, request, sent, "args"), _edited(app, request, sent, "kwargs")
    times = schedule_from(request.posted("times"), orjson.loads(record.schedule))
    try:
        app.schedules.add(
            name, times, sent["task"], args, kwargs,
            overlap=sent.get("overlap", "allow"), catch_up=sent.get("catch_up"), **(sent.get("options") or {}),
        )  # fmt: skip
    except LiteqError as exc:
        raise ValueError(str(exc)) from exc


def _edited(app: LiteQ, request: Request, sent: dict[str, Any], key: str) -> Any:
    """The arguments of the form; those of before where the form shows them hidden, or does not have them at all."""
    shown = dict(
        zip(("args", "kwargs"), redacted(app, sent["task"], sent["args"] or (), sent["kwargs"] or {}), strict=True)
    )
    text = request.posted(key)
    if key not in request.form or text == to_json(shown[key]).decode():
        return sent[key]
    if f'"{REDACTED}"' in text:
        raise ValueError(
            f"a hidden value would be lost: write out what stands as {REDACTED}, or leave {key} as they were"
        )
    return restored(shown[key], _json(text, type(shown[key])), sent[key])


def _json(text: str, kind: type) -> Any:
    try:
        found = from_json((text or ("[]" if kind is list else "{}")).encode("utf-8", "replace"))
    except ValueError as exc:
        raise ValueError(f"no JSON: {exc}") from None
    if not isinstance(found, kind):
        raise ValueError(f"write a JSON {'list' if kind is list else 'object'}, not {text!r:.60}")
    return found


def _fields(app: LiteQ, name: str, found: dict[str, Any]) -> tuple[Field, ...]:
    times = _text(app, name) or ""
    values = (
        ()
        if "args" not in found
        else (
            Field("args", str(TEXTS["arguments"]), to_json(found.get("args") or []).decode(), "json"),
            Field("kwargs", str(TEXTS["named_arguments"]), to_json(found.get("kwargs") or {}).decode(), "json"),
        )
    )
    return (Field("times", str(TEXTS["times"]), times), *values)


def _text(app: LiteQ, name: str) -> str | None:
    """The times of a schedule as its form has them; None for one that no form can change."""
    record = app.storage.schedules.find(name)
    return None if record is None else text_of(orjson.loads(record.schedule))


def _none(name: str) -> Response:
    return problem(404, f"there is no schedule {name!r:.100}")


ROUTES = (
    Route("GET", "schedules", "view", schedules),
    Route("GET", "schedules/~choice", "schedules", ask_all),
    Route("POST", "schedules/~choice", "schedules", do_all),
    Route("GET", "schedules/{name}", "view", schedule),
    Route("GET", "schedules/{name}/{action}", "schedules", ask),
    Route("POST", "schedules/{name}/{action}", "schedules", do),
)
