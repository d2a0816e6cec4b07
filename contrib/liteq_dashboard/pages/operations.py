"""Acts on many: what would be found, the start, how far each has come, stop and continue."""

from __future__ import annotations

from typing import Any

from liteq.monitor import operations as monitor
from liteq.monitor.activity import of_target
from liteq.operating import preview, resume_operation, start, stop
from liteq_dashboard.acts.acting import actor, is_meant, operation_of, refused, tried
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.render import html, problem, redirect

__all__ = ["ROUTES"]

ASKS = {"move": ("queue", "priority"), "run-at": ("at",), "rewind": ("step",)}


def operations(request: Request, reader: Reader) -> Response:
    """The newest operations."""

    def show() -> Response:
        found = monitor.operations(reader.app, reader.sight, after=request.get("after") or None)
        return html(
            request, "operations.html", part=request.get("part") or None, found=found, after=request.get("after")
        )

    return tried(show)


def operation(request: Request, reader: Reader) -> Response:
    """One operation, with its progress."""
    id_ = request.path_args["id"]
    found = monitor.operation(reader.app, id_, reader.sight)
    if found is None:
        return problem(404, f"there is no operation {id_!r:.100}")
    may = refused(request.viewer, found["kind"]) is None
    return html(
        request, "operation.html", part=request.get("part") or None, it=found, may=may,
        acts=of_target(reader.app, id_, reader.sight),
    )  # fmt: skip


def look(request: Request, reader: Reader) -> Response:
    """The preview: what an action on many would find; it changes nothing."""
    action = request.get("action")
    if (no := refused(request.viewer, action)) is not None:
        return no
    chosen = request.query.get("id", []) if request.get("scope") != "all" else []
    if request.get("scope") == "ids" and not chosen:
        return problem(400, "tick the tasks first, or take all that is found")
    q = request.get("q")
    asks = ASKS.get(action, ())
    given: dict[str, Any] = {name: request.get(name) for name in asks if request.get(name)}

    def show() -> Response:
        seen = number = None
        if not asks or given:
            seen = preview(reader.app, action, q, see=reader.sight, ids=chosen, rate=request.get("rate"), **given)
            number = _number(seen.document)
        return html(
            request, "preview.html", action=action, q=q, ids=chosen, seen=seen, asks=asks, given=given,
            rate=request.get("rate"), number=number, deletes=action == "delete",
        )  # fmt: skip

    return tried(show)


def _number(document: dict[str, Any]) -> str:
    """The number that a person types where something is deleted."""
    count = document["eligible"]
    return f"{count['n']}" + ("" if count["exact"] else "+")


def begin(request: Request, reader: Reader) -> Response:
    """Start what the preview has shown."""
    action = request.posted("action")
    if (no := refused(request.viewer, action)) is not None:
        return no
    ids, q, rate = request.form.get("id", []), request.posted("q"), request.posted("rate").strip()
    given: dict[str, Any] = {name: request.posted(name) for name in ASKS.get(action, ()) if request.posted(name)}

    def do() -> Response:
        if action == "delete":
            seen = preview(reader.app, action, q, see=reader.sight, ids=ids, **given)
            expected = _number(seen.document)
            if not is_meant(request, expected):
                return problem(409, f"it would delete {expected} now: look again, and type that number")
        by = actor(request, "page", request.posted("reason"))
        id_ = start(
            reader.app, action, q, by=by, see=reader.sight, ids=ids, rate=rate, id=request.posted("nonce") or None,
            **given,
        )  # fmt: skip
        return redirect(request, link(request.base, "operations", id_))

    return tried(do)


def halt(request: Request, reader: Reader) -> Response:
    """Stop an operation after its chunk."""
    found = operation_of(request, reader)
    if isinstance(found, Response):
        return found

    def do() -> Response:
        stop(reader.app, found["id"], by=actor(request, "page", request.posted("reason")), see=reader.sight)
        return redirect(request, link(request.base, "operations", found["id"]), "It stops after this chunk.")

    return tried(do)


def go_on(request: Request, reader: Reader) -> Response:
    """Continue an operation at its cursor, in this process."""
    found = operation_of(request, reader)
    if isinstance(found, Response):
        return found

    def do() -> Response:
        by = actor(request, "page", request.posted("reason"))
        resume_operation(reader.app, found["id"], by=by, see=reader.sight)
        return redirect(request, link(request.base, "operations", found["id"]), "It goes on where it was.")

    return tried(do)


ROUTES = (
    Route("GET", "operations", "view", operations),
    Route("GET", "operations/preview", "view", look),
    Route("POST", "operations/start", "view", begin),
    Route("GET", "operations/{id}", "view", operation),
    Route("POST", "operations/{id}/stop", "view", halt),
    Route("POST", "operations/{id}/continue", "view", go_on),
)
