"""Names and ids, as somebody types them: for the addresses of resources and the arguments of prompts."""

from __future__ import annotations

from typing import Final

from mcp.types import CompleteRequestParams, Completion, ResourceTemplateReference

from liteq.monitor.tasks.queues import queues
from liteq.utils.names import is_built_in
from liteq_mcp.pages import pages
from liteq_mcp.tools import Call

__all__ = ["completed"]

MOST: Final = 100
LEAST: Final = 4  # characters of an id before those that begin so are looked up


def completed(call: Call, params: CompleteRequestParams) -> Completion:
    """The values that begin as the argument does: at most 100."""
    typed = params.argument.value
    of_resource = isinstance(params.ref, ResourceTemplateReference)
    match params.argument.name:
        case "page":
            found = [name for name in pages() if name.startswith(typed)]
        case "name" if of_resource and "/stream/" in getattr(params.ref, "uri", ""):
            found = _streams(call, params, typed)
        case "name":
            found = _types(call, typed)
        case "id":
            found = _ids(call, typed)
        case "of":
            found = [*_queues(call, typed), *_types(call, typed), *_ids(call, typed)]
        case _:
            found = []
    return Completion(values=found[:MOST], total=len(found), has_more=len(found) > MOST)


def _ids(call: Call, typed: str) -> list[str]:
    if len(typed) < LEAST:
        return []
    see = call.viewer.sight
    return [one.id for one in call.app.storage.views.begins_with(typed, limit=MOST) if see.sees(one.queue)]


def _types(call: Call, typed: str) -> list[str]:
    """The tasks of the code, for a viewer of all queues; and those that were counted in queues that are seen."""
    see = call.viewer.sight
    known = {row.task for row in call.app.storage.stats.totals() if see.sees(row.queue)}
    if see.queues is None:
        known |= {name for name in call.app.tasks if not is_built_in(name)}
    return sorted(name for name in known if name.startswith(typed))


def _queues(call: Call, typed: str) -> list[str]:
    found = queues(call.app, call.viewer.sight)["items"]
    return [str(one["name"]) for one in found if one["name"].startswith(typed)]


def _streams(call: Call, params: CompleteRequestParams, typed: str) -> list[str]:
    id_ = ((params.context.arguments if params.context else None) or {}).get("id", "")
    record = call.app.storage.reader.find(id_) if id_ else None
    if record is None or not call.viewer.sight.sees(record.queue):
        return []
    return sorted(name for name, _ in call.app.storage.streams.names(id_) if name.startswith(typed))
