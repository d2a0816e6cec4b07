"""Function tools that a run is given at its call: the framework makes no steps of them, so they are made here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_ai.durable_exec import (
    JSON_CODEC,
    CacheIdentity,
    DurableOperation,
    ParameterTransports,
    ResultCodec,
    ToolsetCallToolId,
    ToolsetCallToolParams,
)
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, ModelRetry, ToolFailed
from pydantic_ai.messages import ToolReturn
from pydantic_ai.tools import AgentDepsT, RunContext
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, ToolsetTool, WrapperToolset

from liteq_pydantic_ai.backend import END

if TYPE_CHECKING:
    from liteq_pydantic_ai.durability import LiteQDurability

__all__ = ["functions_of", "with_steps"]

# Ends of a tool that are no result: by name, how it is written, and how it is raised again.
ENDS: dict[str, tuple[type[Exception], Callable[[Any], Any], Callable[[Any], Exception]]] = {
    "approval": (ApprovalRequired, lambda exc: exc.metadata, lambda said: ApprovalRequired(metadata=said)),
    "deferred": (
        CallDeferred, lambda exc: [exc.metadata, exc.kind], lambda said: CallDeferred(metadata=said[0], kind=said[1]),
    ),
    "retry": (ModelRetry, lambda exc: exc.message, ModelRetry),
    "failed": (ToolFailed, lambda exc: exc.message, ToolFailed),
}  # fmt: skip
KNOWN = frozenset({"value", "return", *ENDS})


def with_steps(
    durability: LiteQDurability[AgentDepsT], toolset: AbstractToolset[AgentDepsT]
) -> AbstractToolset[AgentDepsT]:
    """`toolset`, with each function toolset in it that is none of the agent's own as steps."""

    def swap(leaf: AbstractToolset[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        if not isinstance(leaf, FunctionToolset) or any(leaf is one for one in durability.own):
            return leaf
        return Stepped(leaf, durability)

    return toolset.visit_and_replace(swap)


def functions_of(toolsets: Sequence[AbstractToolset[Any]]) -> list[AbstractToolset[Any]]:
    """The function toolsets in `toolsets`."""
    leaves: list[AbstractToolset[Any]] = []
    for toolset in toolsets:
        toolset.apply(leaves.append)
    return [leaf for leaf in leaves if isinstance(leaf, FunctionToolset)]


@dataclass
class Result:
    """The end of a call, and its result."""

    end: str
    result: Any


class Codec(ResultCodec[Result]):
    """Writes what came of a call as JSON."""

    def dump(self, value: Result) -> object:
        """As JSON. Raises what pydantic raises for a value that has none."""
        kind: Any = ToolReturn if value.end == "return" else Any
        return {END: value.end, "result": JSON_CODEC.dump(kind, value.result)}

    def load(self, payload: Any) -> Result:
        """The end that was written."""
        if END not in payload:
            found = payload["result"]
            if not (isinstance(found, dict) and found.keys() == {"end", "result"} and found["end"] in KNOWN):
                return Result("value", found)  # of a person, or of a test's mock
            payload = {END: found["end"], "result": found["result"]}  # as an older liteq has recorded it
        if payload[END] == "return":
            return Result("return", JSON_CODEC.load(ToolReturn, payload["result"]))
        return Result(payload[END], payload["result"])


class Identity(CacheIdentity[Any]):
    """Nothing is known by a hash of the framework's."""

    def project(self, params: Any) -> tuple[object, ...]:  # noqa: ARG002 - the framework's signature
        """No parts."""
        return ()


class Stepped(WrapperToolset[AgentDepsT]):
    """A function toolset whose calls are steps."""

    def __init__(self, wrapped: AbstractToolset[AgentDepsT], durability: LiteQDurability[AgentDepsT]) -> None:
        super().__init__(wrapped)
        self._durability = durability

    def visit_and_replace(
        self,
        visitor: Callable[[AbstractToolset[AgentDepsT]], AbstractToolset[AgentDepsT]],  # noqa: ARG002 - its signature
    ) -> AbstractToolset[AgentDepsT]:
        """Itself: its tools are steps already, whatever the id of the toolset."""
        return self

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> Any:
        """Call the tool in a step."""
        backend = self._durability.get_durable_operation_backend()
        operation: DurableOperation[Any, Any, Result] = DurableOperation(
            operation_id=ToolsetCallToolId("function", toolset_id=self.wrapped.id or "<run>"),
            handler=self._called,
            parameter_transport=ParameterTransports().function_call(self.wrapped),  # type: ignore[arg-type]
            cache_identity=Identity(),
            result_codec=Codec(),
            config_role="tool",
            invocation_label=lambda params: str(params.name),
        )
        config = backend.config_for_tool(operation, tool=tool, tool_name=name)
        if config is False:
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)
        params = ToolsetCallToolParams(name, tool_args=tool_args, ctx=ctx, tool=tool)
        found: Result = await backend.call(operation, params, config)
        if found.end in ENDS:
            raise ENDS[found.end][2](found.result)
        return found.result

    async def _called(self, params: ToolsetCallToolParams) -> Result:
        assert params.tool is not None
        try:
            value = await self.wrapped.call_tool(params.name, params.tool_args, params.ctx, params.tool)
        except tuple(kind for kind, _, _ in ENDS.values()) as exc:
            end, (_, written, _) = next((end, how) for end, how in ENDS.items() if isinstance(exc, how[0]))
            return Result(end, written(exc))
        return Result("return" if isinstance(value, ToolReturn) else "value", value)
