"""Acts on one task and on one queue: the page that asks, and the act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from liteq.clock import from_ms
from liteq.operating import act, preview
from liteq.operating.commands import command_words
from liteq.operating.resend import editable
from liteq.storage.operating.acting import version
from liteq.storage.reading.inspect import Record
from liteq.utils.json_text import from_json, to_json
from liteq_dashboard.acts.acting import RIGHTS, actor, is_meant, pause, purge, resume, sees, tried
from liteq_dashboard.acts.asking import Asked, Field, confirm
from liteq_dashboard.http import Page, Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.render import problem, redirect
from liteq_dashboard.texts import label

__all__ = ["ROUTES"]

GRAVE = frozenset({"revoke", "terminate", "delete", "purge", "cancel"})
TEXT: Mapping[str, str] = {
    "retry": "It is due now, and runs as soon as a worker is free.",
    "revoke": "It does not run. What waits for it ends as upstream failed. One that runs now is not retried.",
    "terminate": "The process that runs it is told to end; it ends as revoked.",
    "requeue": "It runs once more, with fresh counters; what waited for it waits again.",
    "delete": "Its arguments, its result and its error are gone for good.",
    "resend": "A new task is sent with these arguments; this one stays as it is.",
    "move": "It waits in another queue, or with another priority.",
    "run-at": "It waits until then; a time that is over means now.",
    "cancel": "The run is asked to end: its sagas and shields run.",
    "pause": "The run stops after its step in progress.",
    "resume": "The run goes on; a stuck one is tried once more.",
    "rewind": "The steps from this one on are forgotten, and run again.",
}
OF_QUEUES: Mapping[str, str] = {"pause": "pause", "resume": "pause", "purge": "delete"}
TEXT_OF_QUEUES: Mapping[str, str] = {
    "pause": "Workers begin nothing more of it, also across restarts, until it is resumed. What runs goes on.",
    "resume": "Workers take from it again.",
    "purge": "All that waits in it is deleted for good; what runs and what has ended stays.",
}


# -- tasks -------------------------------------------------------------------------------------------------------------


def _asks(action: str) -> Page:
    def page(request: Request, reader: Reader) -> Response:
        id_ = request.path_args["id"]
        record = _record(reader, id_)
        if record is None:
            return problem(404, f"there is no task {id_!r:.100}: it was never sent, or was deleted since")
        try:
            fields = _fields(action, record, reader)
        except ValueError as error:
            return problem(409, str(error))
        words = command_words(action, id_, {})
        button = label(action)
        asked = Asked(f"{button}: {record.task} {id_}", TEXT[action], button, words, fields, action in GRAVE)
        return confirm(request, asked, link(request.base, "tasks", id_), [("version", version(record))])

    page.__doc__ = f"Ask before a task is to {action}."
    return page


def _record(reader: Reader, id_: str) -> Record | None:
    record: Record | None = reader.app.storage.reader.find(id_)
    return record if record is not None and reader.sight.sees(record.queue) else None


def _fields(action: str, record: Record, reader: Reader) -> Sequence[Field]:
    match action:
        case "move":
            return (
                Field("queue", "Queue", record.queue),
                Field("priority", "Priority, 0 to 255: the higher first", str(record.priority)),
            )
        case "run-at":
            at = from_ms(record.due_ms).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
            return (Field("at", "Time", at),)
        case "rewind":
            return (Field("step", "Step: its name or number"),)
        case "resend" if reader.sight.payloads:
            args, kwargs = editable(reader.app, record)
            return (
                Field("args", "Positional arguments (JSON)", to_json(args, indent=True).decode(), "json"),
                Field("kwargs", "Named arguments (JSON)", to_json(kwargs, indent=True).decode(), "json"),
            )
    return ()


def _does(action: str) -> Page:
    def page(request: Request, reader: Reader) -> Response:
        id_ = request.path_args["id"]

        def do() -> Response:
            by = actor(request, "page", request.posted("reason"))
            done = act(
                reader.app, action, id_, by=by, see=reader.sight, version=request.posted("version") or None,
                **_given(action, request),
            )  # fmt: skip
            gone = action == "delete"
            where = link(request.base, "tasks", *([] if gone else [done.id]))
            return redirect(request, where, f"{done.message} As a command: {done.command}")

        return tried(do)

    page.__doc__ = f"Have a task {action}."
    return page


def _given(action: str, request: Request) -> dict[str, Any]:
    """The arguments of the form. Raises ValueError."""
    if action == "resend":
        found: dict[str, Any] = {"new_id": request.posted("nonce") or None}
        for name in ("args", "kwargs"):
            if text := request.posted(name).strip():
                try:
                    found[name] = from_json(text.encode("utf-8", "replace"))
                except ValueError as error:
                    raise ValueError(f'{name} is to be JSON ({error}); write a text as "text"') from None
        return found
    names = {"move": ("queue", "priority"), "run-at": ("at",), "rewind": ("step",)}.get(action, ())
    return {name: request.posted(name).strip() for name in names}


# -- queues ------------------------------------------------------------------------------------------------------------


def _asks_queue(action: str) -> Page:
    def page(request: Request, reader: Reader) -> Response:
        name = request.path_args["name"]
        if (unseen := sees(reader, name)) is not None:
            return unseen
        fields, kept = list[Field](), list[tuple[str, str]]()
        text = TEXT_OF_QUEUES[action]
        if action == "purge":
            n = _waiting(reader, name)
            fields, kept = [Field("number", f"Type {n} to delete {n} messages")], [("told", n)]
        words = ["purge", "-Q", name] if action == "purge" else ["queue", action, name]
        button = label(action)
        asked = Asked(f"{button}: {name}", text, button, words, fields, action in GRAVE)
        return confirm(request, asked, link(request.base, "queues", name), kept)

    page.__doc__ = f"Ask before a queue is to {action}."
    return page


def _waiting(reader: Reader, name: str) -> str:
    """How many messages wait in a queue, as a person is to type it."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    seen = preview(reader.app, "revoke", f'queue:"{quoted}" state:pending,held,scheduled', see=reader.sight)
    return f"{seen.found}" + ("" if seen.exact else "+")


def _does_queue(action: str) -> Page:
    def page(request: Request, reader: Reader) -> Response:
        name = request.path_args["name"]
        if (unseen := sees(reader, name)) is not None:
            return unseen

        def do() -> Response:
            by = actor(request, "page", request.posted("reason"))
            match action:
                case "pause":
                    said = pause(reader, name, by)
                case "resume":
                    said = resume(reader, name, by)
                case _:
                    expected = _waiting(reader, name)
                    if not is_meant(request, expected):
                        return problem(409, f"{expected} messages wait in {name} now: look again, and type that number")
                    said = f"{purge(reader, name, by):,} messages of {name} were deleted."
            return redirect(request, link(request.base, "queues", name), said)

        return tried(do)

    page.__doc__ = f"Have a queue {action}."
    return page


ROUTES = (
    *(Route("GET", f"tasks/{{id}}/{action}", right, _asks(action)) for action, right in RIGHTS.items()),
    *(Route("POST", f"tasks/{{id}}/{action}", right, _does(action)) for action, right in RIGHTS.items()),
    *(Route("GET", f"queues/{{name}}/{action}", right, _asks_queue(action)) for action, right in OF_QUEUES.items()),
    *(Route("POST", f"queues/{{name}}/{action}", right, _does_queue(action)) for action, right in OF_QUEUES.items()),
)
