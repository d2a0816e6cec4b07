"""The acts of programs: the POST half of `api/v1/`. Bodies and answers are JSON, each with a `reason`."""

from __future__ import annotations

from typing import Any

from liteq.clock import checked_ms
from liteq.monitor import operations as monitor
from liteq.monitor.schedules import schedule as schedule_document
from liteq.operating import act, preview, resume_operation, start, stop
from liteq_dashboard.acts.acting import (
    RIGHTS,
    act_on_schedule,
    actor,
    body_of,
    operation_of,
    pause,
    purge,
    refused,
    resume,
    sees,
    tried,
)
from liteq_dashboard.http import Page, Reader, Request, Response, Route
from liteq_dashboard.openapi import BODY
from liteq_dashboard.render import json_answer, problem

__all__ = ["ROUTES"]


def _task(action: str) -> Page:
    takes = BODY.get(f"tasks/{{id}}/{action}", {})

    def page(request: Request, reader: Reader) -> Response:
        def do() -> Response:
            body = body_of(request)
            given: dict[str, Any] = {name: body[name] for name in takes if name in body}
            done = act(
                reader.app, action, request.path_args["id"], by=actor(request, "api", body.get("reason")),
                see=reader.sight, version=body.get("version"), **given,
            )  # fmt: skip
            return json_answer(done._asdict())

        return tried(do)

    page.__doc__ = f"Have a task {action}."
    return page


def _asked(request: Request, reader: Reader) -> tuple[str, str, dict[str, Any]] | Response:
    """The action, its search, and the other arguments of a body about many; or the refusal. Raises ValueError."""
    if (no := refused(request.viewer, str(body_of(request).get("action", "")))) is not None:
        return no
    body = body_of(request)
    ids = body.get("ids", [])
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise ValueError("ids is an array of texts")
    action = body["action"]
    given: dict[str, Any] = {name: body[name] for name in ("queue", "priority", "at", "step") if name in body}
    rest: dict[str, Any] = {"see": reader.sight, "ids": ids, "rate": str(body.get("rate", "")), **given}
    return action, str(body.get("q", "")), rest


def look(request: Request, reader: Reader) -> Response:
    """Tell what an action on many would find; it changes nothing."""

    def do() -> Response:
        asked = _asked(request, reader)
        if isinstance(asked, Response):
            return asked
        action, q, rest = asked
        return json_answer(preview(reader.app, action, q, **rest).document)

    return tried(do)


def begin(request: Request, reader: Reader) -> Response:
    """Start an action on many: 202 and its id, under which its progress is read."""

    def do() -> Response:
        asked = _asked(request, reader)
        if isinstance(asked, Response):
            return asked
        action, q, rest = asked
        body = body_of(request)
        by = actor(request, "api", body.get("reason"))
        id_ = start(reader.app, action, q, by=by, id=str(body["id"]) if body.get("id") else None, **rest)
        return json_answer({"id": id_}, 202)

    return tried(do)


def _operation(name: str) -> Page:
    act_on = {"stop": stop, "continue": resume_operation}[name]

    def page(request: Request, reader: Reader) -> Response:
        found = operation_of(request, reader)
        if isinstance(found, Response):
            return found

        def do() -> Response:
            body = body_of(request)
            act_on(reader.app, found["id"], by=actor(request, "api", body.get("reason")), see=reader.sight)
            return json_answer(monitor.operation(reader.app, found["id"], reader.sight), 202)

        return tried(do)

    page.__doc__ = f"Have an operation {name}."
    return page


# -- queues and schedules ----------------------------------------------------------------------------------------------


def _queue(action: str) -> Page:
    def page(request: Request, reader: Reader) -> Response:
        name = request.path_args["name"]
        if (unseen := sees(reader, name)) is not None:
            return unseen

        def do() -> Response:
            body = body_of(request)
            by = actor(request, "api", body.get("reason"))
            if action == "purge":
                return json_answer({"queue": name, "purged": purge(reader, name, by)})
            if action == "resume":
                return json_answer({"queue": name, "message": resume(reader, name, by)})
            until = body.get("until")
            said = pause(reader, name, by, None if until is None else checked_ms(until, "until") / 1000)
            return json_answer({"queue": name, "message": said})

        return tried(do)

    page.__doc__ = f"Have a queue {action}."
    return page


def _schedule(action: str) -> Page:
    def page(request: Request, reader: Reader) -> Response:
        name = request.path_args["name"]
        found = schedule_document(reader.app, name, reader.sight)
        if found is None:
            return problem(404, f"there is no schedule {name!r:.100}")

        def do() -> Response:
            body = body_of(request)
            by = actor(request, "api", body.get("reason"))
            result = act_on_schedule(reader, action, name, by=by, queue=found["queue"])
            return json_answer({"name": name, "id": getattr(result, "id", None)})

        return tried(do)

    page.__doc__ = f"Have a schedule {action}."
    return page


ROUTES = (
    *(Route("POST", f"api/v1/tasks/{{id}}/{action}", right, _task(action)) for action, right in RIGHTS.items()),
    Route("POST", "api/v1/operations/preview", "view", look),
    Route("POST", "api/v1/operations/start", "view", begin),
    Route("POST", "api/v1/operations/{id}/stop", "view", _operation("stop")),
    Route("POST", "api/v1/operations/{id}/continue", "view", _operation("continue")),
    Route("POST", "api/v1/queues/{name}/pause", "pause", _queue("pause")),
    Route("POST", "api/v1/queues/{name}/resume", "pause", _queue("resume")),
    Route("POST", "api/v1/queues/{name}/purge", "delete", _queue("purge")),
    *(
        Route("POST", f"api/v1/schedules/{{name}}/{one}", "schedules", _schedule(one))
        for one in ("run", "pause", "resume")
    ),
)
