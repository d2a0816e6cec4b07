"""The Tasks extension (SEP-2663): the handle of what was sent is its liteq id, so it outlives client and server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.extension import MethodBinding
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value
from mcp.types import HEADER_MISMATCH, INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY, InputResponses, RequestParams
from pydantic import Field

from liteq.exceptions import LiteqError
from liteq.monitor.access.sight import Sight
from liteq.monitor.tasks.telling import progress_document
from liteq.operating import Actor, act
from liteq.states import FINISHED, State
from liteq.storage.reading.inspect import Record
from liteq.utils.async_threads import looking, writing
from liteq.utils.json_text import to_json
from liteq.utils.text import iso_time
from liteq_mcp.bounds import bounded
from liteq_mcp.outcomes import outcome, read

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["EXTENSION", "Handles", "accepts_handles", "result_of"]

EXTENSION: Final = "io.modelcontextprotocol/tasks"
VERSIONS: Final = frozenset({"2026-07-28"})
POLL_MS: Final = 1_000
Context = ServerRequestContext[Any, Any]


class OfTask(RequestParams):
    """The parameters of tasks/get and tasks/cancel."""

    task_id: str = Field(alias="taskId")


class Update(OfTask):
    """The parameters of tasks/update."""

    input_responses: InputResponses = Field(default_factory=dict, alias="inputResponses")


def accepts_handles(context: Context) -> bool:
    """Whether the client of this request takes a handle for an answer."""
    known = context.session.client_capabilities
    return known is not None and EXTENSION in (known.extensions or {}) and context.protocol_version in VERSIONS


def result_of(document: Mapping[str, Any], *, is_error: bool = False) -> dict[str, Any]:
    """A document as the result of a tool: structured, and the same as text."""
    text = to_json(document).decode()
    return {
        "content": [{"type": "text", "text": text}],
        "structuredContent": dict(document),
        "isError": is_error,
    }


class Handles:
    """The methods of the extension over one app.

    `sight_of`, `name_of`: the part of the file that the client of a request may see, and its name for the audit.
    `may_cancel`: whether it may cancel. `is_open`: whether a message of this task may be asked for at all.
    """

    def __init__(
        self,
        app: LiteQ,
        sight_of: Callable[[Context], Sight],
        name_of: Callable[[Context], str],
        may_cancel: Callable[[Context], bool],
        is_open: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._sight_of, self._name_of, self._may_cancel, self._is_open = sight_of, name_of, may_cancel, is_open

    def methods(self) -> list[MethodBinding]:
        """The extension's methods, for the protocol that has extensions."""
        return [
            MethodBinding("tasks/get", OfTask, self.get, VERSIONS),
            MethodBinding("tasks/update", Update, self.update, VERSIONS),
            MethodBinding("tasks/cancel", OfTask, self.cancel, VERSIONS),
        ]

    async def created(self, context: Context, id_: str) -> dict[str, Any]:
        """The answer to a call whose task goes on: the handle. Raises MCPError."""
        record = await self._record(context, id_)
        document = _document(self._app, record, self._sight_of(context))
        document.pop("result", None)
        return {**document, "resultType": "task"}

    async def get(self, context: Context, params: OfTask) -> dict[str, Any]:
        """How a task stands, with its result once it has ended. Raises MCPError for an id that is not there."""
        record = await self._record(context, params.task_id)
        return await looking(self._app, _document, self._app, record, self._sight_of(context))

    async def update(self, context: Context, params: Update) -> dict[str, Any]:
        """Take answers: no task here asks for any, and others are ignored, as the extension has it."""
        await self._record(context, params.task_id)
        return {}

    async def cancel(self, context: Context, params: OfTask) -> dict[str, Any]:
        """Revoke a task, or cancel a run; one that has ended stays as it is. Raises MCPError without the right."""
        record = await self._record(context, params.task_id)
        if not self._may_cancel(context):
            raise MCPError(INVALID_PARAMS, "it goes on: to cancel needs the right 'cancel'")
        by = Actor(self._name_of(context), "mcp", "tasks/cancel")
        action = "cancel" if self._app.storage.runs.find(record.id) is not None else "revoke"
        try:
            if record.state not in FINISHED:
                await writing(self._app, lambda: act(self._app, action, record.id, by=by))
        except LiteqError:  # it has ended meanwhile, which is no fault of the caller
            pass
        return {}

    async def _record(self, context: Context, id_: str) -> Record:
        if not accepts_handles(context):
            needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "Missing required client capability", needed)
        named = getattr(context.request, "headers", {}).get("mcp-name")  # a proxy may have routed by it
        if context.method.startswith("tasks/") and named is not None and decode_header_value(named) != id_:
            raise MCPError(HEADER_MISMATCH, "Mcp-Name is not the id of the task")
        record = await looking(self._app, read, self._app, id_, self._sight_of(context))
        if record is None or not self._is_open(record.task):
            raise MCPError(INVALID_PARAMS, "there is no task with this id")
        return record


def _document(app: LiteQ, record: Record, see: Sight) -> dict[str, Any]:
    """A task in the extension's words: it has failed as a call that answers with an error, which is completed too."""
    changed = record.finished_ms or record.started_ms or record.created_ms
    found: dict[str, Any] = {
        "taskId": record.id,
        "status": _status(record),
        "createdAt": iso_time(record.created_ms),
        "lastUpdatedAt": iso_time(max(changed, record.created_ms)),
        "ttlMs": None,
        "pollIntervalMs": POLL_MS,
    }
    if found["status"] == "completed":
        document = bounded(outcome(app, record, see))
        found["result"] = result_of(document, is_error=record.state is not State.SUCCEEDED)
    told = progress_document(record.progress, see)
    if found["status"] == "working" and told is not None and told["current"] is not None:
        of = f" of {told['total']}" if told["total"] else ""
        found["statusMessage"] = f"{told['current']}{of}{': ' + str(told['note'])[:500] if told['note'] else ''}"
    return found


def _status(record: Record) -> str:
    if record.state is State.CANCELLED:
        return "cancelled"
    return "completed" if record.state in FINISHED else "working"
