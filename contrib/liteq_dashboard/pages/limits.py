"""The limits by key, one of them, and what can be done with it: set, pause, resume, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liteq.monitor.access.keys import is_plain
from liteq.monitor.tasks.limits import is_declared
from liteq.monitor.tasks.limits import limit as document_of
from liteq.monitor.tasks.limits import limits as documents_of
from liteq.operating.limits import act_on_limit, limit_words, may_change
from liteq_dashboard.acts.acting import actor, body_of, tried
from liteq_dashboard.acts.asking import Asked, Field, confirm
from liteq_dashboard.http import Page, Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.render import html, json_answer, problem, redirect
from liteq_dashboard.texts import label

__all__ = ["ROUTES"]

TEXT: Mapping[str, str] = {
    "set": "It holds at once, for all workers; what runs already counts. Nothing in a field is no such limit.",
    "pause": "Nothing of it starts for this time, in no worker; then it goes on slowly. What runs goes on.",
    "resume": "It goes on at once.",
    "delete": "What it held goes on. One that stands in the code comes back when a worker starts.",
}
FIELDS: Mapping[str, tuple[str, ...]] = {"set": ("rate", "concurrent", "tokens"), "pause": ("seconds",)}
LONGEST = 300  # characters of a key in an address


def limits(request: Request, reader: Reader) -> Response:
    """The limits, and the keys that hold something back; with `key` the page of that one."""
    if key := request.get("key").strip():
        return redirect(request, link(request.base, "limits", key[:LONGEST]))
    try:
        found = documents_of(reader.app, request.get("after") or None, reader.sight)
    except ValueError as exc:
        return problem(400, str(exc))
    part = request.get("part") or None
    return html(request, "limits.html", part=part, found=found, after=request.get("after"))


def limit(request: Request, reader: Reader) -> Response:
    """One key: what it allows, which tasks have its places, what waits for it."""
    key = request.path_args["key"]
    found = document_of(reader.app, key, reader.sight)
    if found is None:
        return _offer(request, reader, key)
    return html(
        request, "limit.html", part=request.get("part") or None, it=found, name=key, actions=_actions(request, found),
        command="liteq limits list",
    )  # fmt: skip


def _offer(request: Request, reader: Reader, key: str) -> Response:
    """A key without a limit: the page that sets one, for those who may."""
    if not request.viewer.can("limits") or _refused(reader, key) is not None:
        return problem(404, f"nothing is known of the key {key!r:.100}: it has no limit, and nothing waits for it")
    return _ask("set", request, key, None)


def _actions(request: Request, found: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The acts that the viewer may do: name, tone."""
    if not request.viewer.can("limits") or not may_change(request.path_args["key"], request.viewer.sight):
        return ()
    names = [("set", ""), ("resume", "main") if found["paused"] else ("pause", "")]
    return [*names, ("delete", "danger")] if found["of"] is None else names


def _refused(reader: Reader, key: str) -> Response | None:
    """404 for a key that the viewer is not to know, 403 for one whose limit reaches further than its queues."""
    if not reader.sight.payloads and not (is_plain(key) or is_declared(reader.app.storage.views.limits(), key)):
        return problem(404, f"nothing is known of the key {key!r:.100}")
    if not may_change(key, reader.sight):
        if document_of(reader.app, key, reader.sight) is None:
            return problem(404, f"nothing is known of the key {key!r:.100}")
        return problem(403, "a limit holds in every queue: only a viewer of all queues may change it")
    return None


# -- acts --------------------------------------------------------------------------------------------------------------


def _ask(action: str, request: Request, key: str, found: Mapping[str, Any] | None) -> Response:
    values = {
        "rate": (found or {}).get("rate") or "",
        "concurrent": (found or {}).get("concurrent") or "",
        "tokens": (found or {}).get("tokens") or "",
        "seconds": "10m",
    }
    fields = [
        Field(name, label(name, "limit_fields"), str(values[name]), "optional" if action == "set" else "text")
        for name in FIELDS.get(action, ())
    ]
    button = label(action, "limit_actions")
    asked = Asked(f"{button}: {key}", TEXT[action], button, limit_words(action, key, {}), fields, action == "delete")
    return confirm(request, asked, link(request.base, "limits"), to=link(request.base, "limits", key, action))


def _asks(action: str) -> Page:
    def page(request: Request, reader: Reader) -> Response:
        key = request.path_args["key"]
        no = _refused(reader, key)
        return no if no is not None else _ask(action, request, key, document_of(reader.app, key, reader.sight))

    page.__doc__ = f"Ask before a limit is to be changed: {action}."
    return page


def _does(action: str) -> Page:
    def page(request: Request, reader: Reader) -> Response:
        key = request.path_args["key"]
        if (no := _refused(reader, key)) is not None:
            return no

        def do() -> Response:
            given = {name: request.posted(name).strip() for name in FIELDS.get(action, ())}
            by = actor(request, "page", request.posted("reason"))
            done = act_on_limit(reader.app, action, key, by=by, see=reader.sight, **given)
            return redirect(request, link(request.base, "limits"), f"{done.message} As a command: {done.command}")

        return tried(do)

    page.__doc__ = f"Have the limit of a key changed: {action}."
    return page


def _by_api(action: str) -> Page:
    def page(request: Request, reader: Reader) -> Response:
        key = request.path_args["key"]
        if (no := _refused(reader, key)) is not None:
            return no

        def do() -> Response:
            body = body_of(request)
            given = {name: value for name, value in body.items() if name != "reason"}
            by = actor(request, "api", body.get("reason"))
            done = act_on_limit(reader.app, action, key, by=by, see=reader.sight, **given)
            return json_answer({"key": key, "message": done.message, "command": done.command})

        return tried(do)

    page.__doc__ = f"Have the limit of a key changed: {action}."
    return page


# -- documents ---------------------------------------------------------------------------------------------------------


def listed(request: Request, reader: Reader) -> Response:
    """The limits, and the keys that hold something back, by key."""
    after = request.get("after") or None
    return tried(lambda: json_answer(documents_of(reader.app, after, reader.sight, limit=request.limit(50))))


def told(request: Request, reader: Reader) -> Response:
    """One limit, with what waits for it by queue, and the messages that have its places."""
    found = document_of(reader.app, request.path_args["key"], reader.sight)
    return problem(404, "there is no such key") if found is None else json_answer(found)


ROUTES = (
    Route("GET", "limits", "view", limits),
    Route("GET", "limits/{key}", "view", limit),
    Route("GET", "api/v1/limits", "view", listed),
    Route("GET", "api/v1/limits/{key}", "view", told),
    *(Route("GET", f"limits/{{key}}/{one}", "limits", _asks(one)) for one in TEXT),
    *(Route("POST", f"limits/{{key}}/{one}", "limits", _does(one)) for one in TEXT),
    *(Route("POST", f"api/v1/limits/{{key}}/{one}", "limits", _by_api(one)) for one in TEXT),
)
