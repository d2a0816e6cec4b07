"""The API in OpenAPI 3.1, made from the routes below `api/v1` and the tables here, which say what each takes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

from liteq._version import __version__
from liteq_dashboard.http import MOST_ITEMS, Route

__all__ = ["BODY", "MACHINES", "PREFIX", "QUERY", "body_of_path", "description", "wrong_type"]

NAMED = re.compile(r"\{(\w+)\}")
PREFIX = "api/v1/"
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
ANY_TEXT: Schema = {"type": ["string", "null"]}
TEXTS: Schema = {"type": "array", "items": TEXT}
AT: Schema = {"type": ["integer", "string"], "description": "ms since the epoch, or a time in ISO 8601"}
STEP: Schema = {"type": ["integer", "string"], "description": "its number, or its name"}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS}
PAGED: Mapping[str, Schema] = {"after": {**TEXT, "description": "`next` of the page before"}, "limit": LIMIT}

# The parameters of a query, by path; those of a path that is not here: none.
QUERY: Mapping[str, Mapping[str, Schema]] = {
    "tasks": {**PAGED, "q": TEXT, "format": {"enum": ["json", "ndjson", "csv"]}},
    "tasks/{id}/streams/{name}": {"after": NUMBER, "limit": LIMIT},
    "limits": PAGED,
    "operations": PAGED,
    "workflows": PAGED,
    "workflows/{id}": {
        "format": {"enum": ["json", "svg", "mermaid", "dot"]}, "after": NUMBER, "limit": LIMIT,
        "state": TEXT, "group": TEXT,
    },
    "activity": {**PAGED, "actor": TEXT, "action": TEXT, "target": TEXT},
    "series": {"metric": TEXT, "range": TEXT, "queue": TEXT, "task": TEXT},
}  # fmt: skip
# The parameters of what machines ask, outside the API.
MACHINES: Mapping[str, tuple[str, ...]] = {"health": ("workers", "strict"), "metrics": ("names",)}

REASON: Mapping[str, Schema] = {"reason": {"type": "string", "description": "noted in the audit"}}
VERSION: Mapping[str, Schema] = {"version": {**TEXT, "description": "`version` of the task when it was looked at"}}
MANY: Mapping[str, Schema] = {
    "action": TEXT, "q": TEXT, "ids": TEXTS, "rate": ANY_TEXT, "id": ANY_TEXT, "queue": TEXT, "priority": NUMBER,
    "at": AT, "step": STEP,
}  # fmt: skip
# The fields of a body, by path; beside them every call takes a reason, and one of a task its version.
BODY: Mapping[str, Mapping[str, Schema]] = {
    "tasks/{id}/resend": {"args": {"type": "array"}, "kwargs": {"type": "object"}, "new_id": TEXT},
    "tasks/{id}/move": {"queue": TEXT, "priority": NUMBER},
    "tasks/{id}/run-at": {"at": AT},
    "tasks/{id}/rewind": {"step": STEP},
    "queues/{name}/pause": {"until": {"type": ["number", "null"], "description": "ms since the epoch"}},
    "limits/{key}/set": {
        "rate": {"type": ["string", "number", "null"]}, "concurrent": {"type": ["integer", "null"], "minimum": 1},
        "tokens": ANY_TEXT,
    },
    "limits/{key}/pause": {"seconds": {"type": ["number", "string"]}},
    "operations/preview": MANY,
    "operations/start": MANY,
}  # fmt: skip


def body_of_path(path: str) -> Mapping[str, Schema]:
    """The fields that the body of a call may have; `path` is the one below `api/v1/`."""
    return {**BODY.get(path, {}), **(VERSION if path.startswith("tasks/") else {}), **REASON}


# JSON's name of a type, what Python makes of its values, and the type in words.
TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "a text"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "array": ((list,), "an array"),
    "object": ((dict,), "an object"),
}


def wrong_type(body: Mapping[str, Any], fields: Mapping[str, Schema]) -> str:
    """The error for the first field of `body` whose value its schema does not allow; "" for none. Null is absent."""
    for name, value in body.items():
        named = fields[name]["type"]
        types = [one for one in ([named] if isinstance(named, str) else named) if one in TYPES]
        if value is not None and not any(_is(value, one) for one in types):
            return f"the field {name!r} is {' or '.join(TYPES[one][1] for one in types)}, not {value!r:.80}"
    return ""


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, TYPES[name][0]) or (
        name == "integer" and isinstance(value, float) and value.is_integer()  # JSON knows one kind of number
    )


def _object(*required: str, **properties: Schema) -> Schema:
    fields: Schema = {name: {} for name in required}
    return {"type": "object", "properties": {**fields, **properties}, "required": list(required)}


def _list_of(name: str) -> Schema:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    return _object("items", "next", "note", items=items, next=ANY_TEXT, note=TEXT)


SCHEMAS: Mapping[str, Schema] = {
    "Count": _object("n", "exact", n=NUMBER, exact={"type": "boolean"}),
    "Problem": _object("title", "status", "detail", type=TEXT, title=TEXT, status=NUMBER, detail=TEXT),
    "Overview": _object("verdict", "states", "queues", "running", "causes", "warnings", "rates"),
    "Queue": _object(
        "name", "waiting", "running", "held", "head_wait_s", "in_s", "out_s", "slots", "workers", "paused", name=TEXT
    ),
    "Line": _object(
        "id", "task", "queue", "state", "priority", "created", "created_iso", "due", "started", "finished", "worker",
        "retries", "root_id", "parent_id", "error", "progress", "waits_for", id=TEXT, task=TEXT, queue=TEXT, state=TEXT,
    ),
    "Task": _object(
        "id", "task", "queue", "state", "args", "kwargs", "result", "traceback", "attempts", "why", "progress",
        "limits", "unique", "duplicate_of", "batch", "streams", "tags",
        progress={"anyOf": [{"$ref": "#/components/schemas/Progress"}, {"type": "null"}]},
        limits={"type": "array", "items": _object("key", "lacks", "since", "taken", "holders", lacks=ANY_TEXT)},
        duplicate_of=ANY_TEXT,
        tags={"type": "array", "items": TEXT},
    ),
    "Progress": _object("state", "meta", "current", "total", "note", "eta_s", "at"),
    "Limit": _object(
        "key", "rate", "concurrent", "tokens", "running", "held", "head_wait_s", "paused", "of", "declared",
    ),
    "Chunks": _object("items", "next", "ended", items={"type": "array", "items": _object("offset", "attempt", "data")}),
    "Why": _object("id", "state", "reason", "text", "details", id=TEXT, state=TEXT, reason=TEXT, text=TEXT),
    "Cause": _object("id", "task", "queue", "exception", "n", "first", "last"),
    "Operation": _object("id", "kind", "q", "actor", "reason", "state", "found", "done", "skipped"),
    "Act": _object("id", "at", "actor", "action", "target", "queue", "n", "reason", "source"),
    "Series": _object("metric", "points", "marks"),
    "Tasks": _list_of("Line"),
    "Failures": _list_of("Cause"),
    "Queues": _list_of("Queue"),
    "Limits": _list_of("Limit"),
    "Operations": _list_of("Operation"),
    "Activity": _list_of("Act"),
    "Items": _object("items"),
}  # fmt: skip
# The schema of an answer, by path; another is an object.
ANSWER = {
    "overview": "Overview", "tasks": "Tasks", "tasks/{id}": "Task", "tasks/{id}/why": "Why", "failures": "Failures",
    "queues": "Queues", "queues/{id}": "Queue", "limits": "Limits", "limits/{key}": "Limit",
    "tasks/{id}/streams/{name}": "Chunks", "operations": "Operations", "operations/{id}": "Operation",
    "activity": "Activity", "series": "Series", "approvals": "Items", "workers": "Items", "schedules": "Items",
}  # fmt: skip


def description(routes: Iterable[Route], base: str) -> Schema:
    """The document for those of `routes` that are below `api/v1/`; `base` is the dashboard's own path."""
    paths: dict[str, Schema] = {}
    for route in routes:
        if route.path.startswith(PREFIX):
            path = route.path.removeprefix(PREFIX)
            paths.setdefault(f"/{path}", {})[route.method.lower()] = _operation(route, path)
    return {
        "openapi": "3.1.0",
        "info": {"title": "liteq", "version": __version__, "description": "A queue's tasks: to see, and to act on."},
        "servers": [{"url": f"{base}/{PREFIX.rstrip('/')}"}],
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}, "schemas": dict(SCHEMAS)},
    }


def _operation(route: Route, path: str) -> Schema:
    words = inspect.cleandoc(route.page.__doc__ or "").partition("\n\n")
    found: Schema = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}_{path}").strip("_"),
        "summary": " ".join(words[0].split()),
        "x-right": route.right,
        "parameters": [*map(_in_path, NAMED.findall(path)), *_in_query(route, path)],
        "responses": _responses(route, path),
    }
    if route.method == "POST":
        body = {"type": "object", "properties": dict(body_of_path(path)), "additionalProperties": False}
        found["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return found


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": TEXT}


def _in_query(route: Route, path: str) -> Iterable[Schema]:
    if route.method == "GET":
        for name, schema in QUERY.get(path, {}).items():
            yield {"name": name, "in": "query", "schema": schema}


def _responses(route: Route, path: str) -> Schema:
    name = ANSWER.get(path) if route.method == "GET" else None
    schema: Schema = {"$ref": f"#/components/schemas/{name}"} if name else {"type": "object"}
    wrong = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    status = "202" if path == "operations/start" else "200"
    return {
        status: {"description": "done", "content": {"application/json": {"schema": schema}}},
        "4XX": {"description": "refused", "content": wrong},
        "503": {"description": "the file cannot be read now", "content": wrong},
    }
