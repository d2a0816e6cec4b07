"""`Tasks(app)`: liteq's tasks as tools of anybody's MCPServer, with handles that outlive it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding, ToolBinding
from mcp.types import CallToolRequestParams

from liteq.monitor.access.sight import ALL, Sight
from liteq.utils.async_threads import writing
from liteq_mcp.handles import EXTENSION, Handles, accepts_handles
from liteq_mcp.signatures import by_place, doc_of

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["Tasks"]

_sent: ContextVar[list[str] | None] = ContextVar("liteq_mcp_sent", default=None)
ANSWER: Final = "its id is the handle under which its result is found"


class Tasks(Extension):
    """An extension for the MCP SDK's server, by which tools send tasks of `app` and answer at once.

        tasks = Tasks(app)

        @tasks.tool(render)
        def render_report(month: int): ...

        server = MCPServer("reports", extensions=[tasks])

    To a client of the Tasks extension a tool answers with a handle, which is the task's id; to others with
    `{"id": ..., "state": "PENDING"}`. Only messages of these tasks can be asked for. `see`: what of them may be seen.
    """

    identifier = EXTENSION

    def __init__(self, app: LiteQ, *, see: Sight = ALL) -> None:
        self._app = app
        self._tools: dict[str, ToolBinding] = {}
        self._names: set[str] = set()
        self._handles = Handles(
            app, lambda _: see, lambda _: "mcp", lambda _: True, lambda name: name in self._names
        )  # fmt: skip

    def tool(
        self, task: Any, *, name: str | None = None, description: str | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Make a tool of `task`, a task or a workflow: called as it is, or as a decorator of a function.

        The tool has the task's name, signature and docstring; as a decorator, those of the function. What the function
        returns is what is sent: a dict of named arguments, a tuple of positional ones, None for those it was called
        with. Servers that are made afterwards have the tool; of one that is there already, `@server.tool()` above it.
        """
        self._names.add(task.name)
        own = name or task.name.rpartition(".")[2]
        self._add(own, self._sender(task, task.run, None), description or doc_of(task.run))

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            self._tools.pop(own, None)
            send = self._sender(task, function, function)
            self._add(name or function.__name__, send, description or doc_of(function) or doc_of(task.run))
            return send

        return decorate

    def _add(self, name: str, send: Callable[..., Any], description: str) -> None:
        about = f"{description or f'Run the task {name}.'}\n\nAnswers at once: {ANSWER}."
        self._tools[name] = ToolBinding(send, kwargs={"name": name, "description": about})

    def _sender(
        self, task: Any, like: Callable[..., Any], make: Callable[..., Any] | None
    ) -> Callable[..., Any]:  # fmt: skip
        """An async function with the signature of `like` that sends the task."""

        async def send(**given: Any) -> dict[str, Any]:
            made = None if make is None else make(**given)
            if inspect.isawaitable(made):
                made = await made
            args, kwargs = (made, {}) if isinstance(made, tuple) else by_place(task, given if made is None else made)
            sent = await writing(self._app, lambda: task.apply_async(args, kwargs))
            noted = _sent.get()
            if noted is not None:
                noted.append(sent.id)
            return {"id": sent.id, "state": "PENDING"}

        functools.update_wrapper(send, like, assigned=("__name__", "__doc__", "__module__"), updated=())
        del send.__wrapped__  # type: ignore[attr-defined]  # it is not called by its own annotations
        hints = {key: value for key, value in inspect.get_annotations(like, eval_str=True).items() if key != "return"}
        send.__annotations__ = {**hints, "return": dict[str, Any]}
        parameters = [
            one.replace(annotation=hints.get(one.name, one.annotation), kind=one.KEYWORD_ONLY)
            for one in inspect.signature(like).parameters.values()
            if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        ]
        send.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            parameters, return_annotation=dict[str, Any]
        )
        return send

    # -- what the server asks it for -----------------------------------------------------------------------------------

    def tools(self) -> Sequence[ToolBinding]:
        """The tools of the tasks."""
        return list(self._tools.values())

    def methods(self) -> Sequence[MethodBinding]:
        """tasks/get, tasks/update, tasks/cancel."""
        return self._handles.methods()

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Answer with the handle of what a tool has sent, where the client takes one."""
        del params
        if not accepts_handles(ctx):
            return await call_next(ctx)
        noted: list[str] = []
        token = _sent.set(noted)
        try:
            result = await call_next(ctx)
        finally:
            _sent.reset(token)
        if len(noted) != 1 or getattr(result, "is_error", False):
            return result
        return await self._handles.created(ctx, noted[0])
