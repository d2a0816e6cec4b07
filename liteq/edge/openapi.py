"""The OpenAPI document of the gateway's own API, made of its table of calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from liteq._version import __version__
from liteq.context import App
from liteq.edge.routes import Route

__all__ = ["document", "query_of"]

TEXT: Final = {"type": "string"}
ANY: Final[dict[str, Any]] = {}
ARGS: Final = {"type": "array", "items": ANY}
KWARGS: Final = {"type": "object", "additionalProperties": True}
SECONDS: Final = {"type": "number", "minimum": 0}
MOMENT: Final = {"type": "integer", "description": "milliseconds since the epoch"}


def _object(required: Iterable[str] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": sorted(required), "additionalProperties": False,
    }  # fmt: skip


CALL: Final = _object(
    ["task"],
    id=TEXT, task=TEXT, args=ARGS, kwargs=KWARGS, queue=TEXT, priority={"type": "integer"},
    eta={"description": "seconds from now, or a time in ISO 8601", "oneOf": [SECONDS, TEXT]}, countdown=SECONDS,
    expires={"description": "as eta", "oneOf": [SECONDS, TEXT]}, headers=KWARGS, time_limit=SECONDS,
    soft_time_limit=SECONDS, ignore_result={"type": "boolean"}, unique_key=TEXT, tags={"type": "array", "items": TEXT},
    max_concurrency={"type": "integer"}, concurrency_key=TEXT, global_rate_limit=TEXT, rate_key=TEXT,
    limits={"type": "array", "items": TEXT}, fair_key=TEXT, log_keep=SECONDS,
    encoded={"type": "boolean", "description": "args and kwargs are in liteq's own JSON"},
)  # fmt: skip
LEASE: Final = _object(
    ["lease", "id", "task", "args", "kwargs", "queue", "retries", "deadline"],
    lease=TEXT, id=TEXT, task=TEXT, args=ARGS, kwargs=KWARGS, queue=TEXT, retries={"type": "integer"}, deadline=MOMENT,
)  # fmt: skip
BODIES: Final[dict[str, dict[str, Any]]] = {
    "/v1/tasks": {"type": "array", "items": CALL},
    "/v1/leases": _object(
        ["queues"],
        queues={"type": "array", "items": TEXT, "minItems": 1}, max={"type": "integer", "minimum": 1},
        visibility=SECONDS, wait=SECONDS,
    ),
    "/v1/leases/{lease}/ack": _object(result=ANY),
    "/v1/leases/{lease}/fail": _object(type=TEXT, message=TEXT),
    "/v1/leases/{lease}/retry": _object(delay=SECONDS, message=TEXT),
    "/v1/leases/{lease}/extend": _object(visibility=SECONDS),
    "/v1/leases/{lease}/release": _object(),
}  # fmt: skip
SENT: Final = _object(["id", "new", "position"], id=TEXT, new={"type": "boolean"}, position=TEXT)
ERROR: Final = {"oneOf": [{"type": "null"}, _object(["type", "message"], type=TEXT, message=TEXT)]}
ANSWERS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("POST", "/v1/tasks"): _object(["tasks"], tasks={"type": "array", "items": SENT}),
    ("GET", "/v1/tasks/{id}"): _object(
        ["id", "task", "queue", "state", "result", "error"],
        id=TEXT, task=TEXT, queue=TEXT, state=TEXT, result=ANY, error=ERROR,
    ),
    ("DELETE", "/v1/tasks/{id}"): _object(["id", "state"], id=TEXT, state=TEXT),
    ("POST", "/v1/leases"): _object(["leases"], leases={"type": "array", "items": LEASE}),
    ("POST", "/v1/leases/{lease}/extend"): _object(["deadline"], deadline=MOMENT),
    ("GET", "/health"): _object(["status"], status=TEXT),
    ("GET", "/v1/openapi.json"): KWARGS,
}  # fmt: skip
PARAMETERS: Final[dict[tuple[str, str], list[dict[str, Any]]]] = {
    ("GET", "/v1/tasks/{id}"): [
        {"name": "wait", "in": "query", "schema": SECONDS, "description": "seconds, 20 at most, until it has ended"}
    ],
    ("POST", "/v1/tasks"): [
        {"name": "Idempotency-Key", "in": "header", "schema": TEXT, "description": "makes the ids that are missing"}
    ],
}
REFUSED: Final = {
    400: "what is asked is not as this document has it", 401: "no key, or one that is not known",
    403: "a key without the right, or not for this queue or task", 404: "not there",
    408: "the request did not come in time", 409: "the lease is over", 411: "no Content-Length",
    413: "too large, or too many", 503: "the queue cannot be used at the moment: try again",
}  # fmt: skip


def query_of(route: Route) -> tuple[str, ...]:
    """The parameters that a call takes in its query."""
    return tuple(one["name"] for one in PARAMETERS.get((route.method, route.path), ()) if one["in"] == "query")


def document(routes: Iterable[Route], _app: App) -> dict[str, Any]:
    """The document (OpenAPI 3.1) of `routes`."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "liteq gateway", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _problem()},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    parts = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    named = [{"name": part, "in": "path", "required": True, "schema": TEXT} for part in parts]
    kind = "text/plain" if route.path == "/metrics" else "application/json"
    answer = ANSWERS.get((route.method, route.path), TEXT if kind == "text/plain" else _object())
    refused = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    found: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{route.path.replace('{', '').replace('}', '').replace('/', '_')}",
        "summary": route.summary,
        "parameters": [*named, *PARAMETERS.get((route.method, route.path), [])],
        "responses": {
            "200": {"description": "done", "content": {kind: {"schema": answer}}},
            **{str(status): {"description": text, **refused} for status, text in REFUSED.items()},
        },
    }
    if route.right:
        found["security"] = [{"key": []}]
        found["description"] = f"Takes the right `{route.right}`."
    if route.method == "POST" and (body := BODIES.get(route.path)) is not None:
        needed = body["type"] == "array" or bool(body["required"])
        found["requestBody"] = {"required": needed, "content": {"application/json": {"schema": body}}}
    return found


def _problem() -> dict[str, Any]:
    return _object(
        ["type", "title", "status", "detail"], type=TEXT, title=TEXT, status={"type": "integer"}, detail=TEXT
    )
