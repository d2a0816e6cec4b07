"""Resources: the documents of the tools under addresses, pages of the documentation, and the wait for changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from mcp.types import (
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from liteq.monitor.overview import overview
from liteq.monitor.tasks.tasks import task
from liteq.monitor.tasks.telling import stream
from liteq.monitor.tasks.types import task_type
from liteq.utils.json_text import to_json
from liteq_mcp.bounds import bounded
from liteq_mcp.looking import one_task
from liteq_mcp.pages import page, pages
from liteq_mcp.tools import Call, Refused
from liteq_mcp.workflows import workflow

__all__ = ["TEMPLATES", "digest", "listed", "read_resource", "templates"]

JSON: Final = "application/json"
TEMPLATES: Final[Mapping[str, tuple[str, str]]] = {
    "liteq://tasks/{id}": ("task", "One task, as the tool `task` tells of it."),
    "liteq://tasks/{id}/traceback": ("traceback", "The traceback of a task that failed, as text."),
    "liteq://runs/{id}": ("run", "One run or canvas, as the tool `workflow` tells of it."),
    "liteq://runs/{id}/stream/{name}": ("stream", "The last chunks of a stream of a run or a task."),
    "liteq://types/{name}": ("type", "A task by its name: its runs, times, failures, signature."),
    "liteq://docs/{page}": ("docs", "A page of liteq's documentation."),
}
LAST: Final = 100  # chunks of a stream
CHANGING: Final = ("now",)  # fields that are another each time


def listed() -> list[Resource]:
    """The resources that stand at one address: the overview, and the documentation."""
    found = [
        Resource(uri="liteq://overview", name="overview", description="How the queue does.", mime_type=JSON),
    ]
    return found + [
        Resource(uri=f"liteq://docs/{name}", name=f"docs/{name}", title=title, mime_type="text/markdown")
        for name, (_, title) in pages().items()
    ]


def templates() -> list[ResourceTemplate]:
    """The addresses with a name in them."""
    kinds = {"traceback": "text/plain", "docs": "text/markdown"}
    return [
        ResourceTemplate(uri_template=uri, name=name, description=about, mime_type=kinds.get(name, JSON))
        for uri, (name, about) in TEMPLATES.items()
    ]


def read_resource(call: Call, uri: str) -> ReadResourceResult | None:
    """The contents of a resource; None where there is none, or not for this viewer."""
    found = _found(call, uri)
    if found is None:
        return None
    kind, body = found
    text = body if isinstance(body, str) else to_json(body).decode()
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=kind, text=text)])


def digest(call: Call, uri: str) -> str:
    """A word that is another one when the resource has changed."""
    found = _found(call, uri)
    body = None if found is None else found[1]
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in CHANGING}
    return hashlib.blake2b(to_json(body), digest_size=12).hexdigest()


def _found(call: Call, uri: str) -> tuple[str, Any] | None:
    if uri == "liteq://overview":
        return JSON, bounded(overview(call.app, call.viewer.sight))
    for template, (name, _) in TEMPLATES.items():
        match = _PATTERNS[template].fullmatch(uri)
        if match is not None:
            return _READ[name](call, {key: unquote(value) for key, value in match.groupdict().items()})
    return None


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?P<{name}>[^/]+)" for name in parts[1::2]]
    return re.compile("".join(parts))


_PATTERNS: Final = {template: _pattern(template) for template in TEMPLATES}

Read = Callable[[Call, dict[str, str]], "tuple[str, Any] | None"]


def _by_tool(tool: Callable[[Call], dict[str, Any]]) -> Read:
    """The document of a tool for the id of an address."""

    def read(call: Call, given: dict[str, str]) -> tuple[str, Any] | None:
        asked = Call(call.app, call.viewer, call.options, given, call.context, call.params)
        try:
            return JSON, bounded(tool(asked))
        except Refused:
            return None

    return read


def _traceback(call: Call, given: dict[str, str]) -> tuple[str, Any] | None:
    found = task(call.app, given["id"], call.viewer.sight)
    return None if found is None else ("text/plain", bounded({"text": found["traceback"]})["text"])


def _stream(call: Call, given: dict[str, str]) -> tuple[str, Any] | None:
    app, id_, name = call.app, given["id"], given["name"]
    last = dict(app.storage.streams.names(id_)).get(name, 0)
    found = stream(app, id_, name, after=max(0, last - LAST), limit=LAST, see=call.viewer.sight)
    return None if found is None else (JSON, bounded(found))


def _type(call: Call, given: dict[str, str]) -> tuple[str, Any] | None:
    found = task_type(call.app, given["name"], call.viewer.sight)
    return None if found is None else (JSON, bounded(found))


def _docs(_call: Call, given: dict[str, str]) -> tuple[str, Any] | None:
    text = page(given["page"])
    return None if text is None else ("text/markdown", text)


_READ: Final[Mapping[str, Read]] = {
    "task": _by_tool(one_task), "traceback": _traceback, "run": _by_tool(workflow), "stream": _stream, "type": _type,
    "docs": _docs,
}  # fmt: skip
