"""`LiteQDurability`: the capability by which an agent in the body of a workflow becomes steps of the run."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from pydantic_ai.agent import AbstractAgent, EventStreamHandler
from pydantic_ai.capabilities import AbstractCapability, WrapRunHandler
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    EventStreamHandlerParams,
    ModelRequestParams,
    conversation_id_from_run_id,
    external_event_scope,
    replay_scope,
)
from pydantic_ai.messages import AgentStreamEvent
from pydantic_ai.models import Model
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tool_manager import ParallelExecutionMode
from pydantic_ai.tools import AgentDepsT, RunContext, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset

from liteq.exceptions import WorkflowCancelled
from liteq.policy.keyed import Spec
from liteq.utils.durations import Duration
from liteq.utils.misspelt import suggesting
from liteq.workflow import Budget, StepOptions
from liteq.workflow.history.frames import Leave
from liteq_pydantic_ai import guards, places, streams
from liteq_pydantic_ai.backend import Backend, counted
from liteq_pydantic_ai.events import Waiter
from liteq_pydantic_ai.options import METADATA, merged
from liteq_pydantic_ai.runtime import functions_of, with_steps
from liteq_pydantic_ai.spending import Counted

__all__ = ["LiteQDurability"]

Emit = Literal["tokens", "events"] | None


class LiteQDurability(BaseDurabilityCapability[AgentDepsT]):
    """Makes each model request and each tool call of an agent a step of the run in whose body it runs.

    Outside the body of a workflow, and in a step, the agent is as it would be without.
    """

    engine_spec: ClassVar[DurabilityEngineSpec] = DurabilityEngineSpec(
        engine_name="liteq",
        durable_unit_noun="step",
        durable_container_noun="workflow",
        codec=JSON_CODEC,
        toolset_lifecycles={"function": "enter-always", "mcp": "enter-in-durable-unit", "dynamic": "enter-never"},
        unsupported_runtime_toolset_kinds=frozenset({"mcp", "dynamic"}),
        tool_config_key=METADATA,
        cancellation_error_types=(Leave, WorkflowCancelled),
    )

    @suggesting
    def __init__(
        self,
        *,
        model: StepOptions | None = None,
        tool: StepOptions | None = None,
        mcp: StepOptions | None = None,
        retries: int | None = None,
        memo: Duration | bool | None = None,
        limits: Spec | tuple[Spec, ...] | list[Spec] | None = None,
        budget: Budget | None = None,
        emit: Emit = None,
        stall: int | Literal["ask"] | tuple[int, Literal["ask"]] | None = 3,
        parallel: ParallelExecutionMode = "parallel_ordered_events",
        models: Mapping[str, Model] | None = None,
        event_stream_handler: EventStreamHandler[AgentDepsT] | None = None,
        name: str | None = None,
    ) -> None:
        """Set it up; it is given to one agent or to several, as `Agent(capabilities=[LiteQDurability(...)])`.

        model, tool, mcp: options of the steps of model requests, of tools, of MCP servers; a tool has more of its own
        in `metadata={"liteq": {...}}`, and False there runs it in the body. retries: further attempts of each of them.
        memo: how long an answer of the model answers the same request of any run, True for ever. limits: keys of
        `app.limits`, as "model:{model}". budget: what one run of the agent may spend. emit: "tokens": the text as it
        comes, in the run's stream of that name; "events": each event, as JSON. stall: after how many calls of the same
        tool with the same arguments and result the run ends with AgentStalled; "ask" or (n, "ask"): a person is asked;
        None: never. parallel: how tools of one answer run. models: those that a run may choose by name, beside the
        agent's own. event_stream_handler: called with each event in a step of its own. name: of the steps, in place of
        the agent's.
        """
        self.model_options = merged(retries, model, "model=", memo=memo, limits=limits, spends=True)
        self.tool_options = merged(retries, tool, "tool=")
        self.mcp_options = merged(retries, mcp, "mcp=")
        self.budget = guards.checked_budget(budget)
        self.stall = guards.checked_stall(stall)
        self.emit = streams.checked_emit(emit)
        if parallel not in get_args(ParallelExecutionMode):
            raise ValueError(f"parallel is one of {', '.join(get_args(ParallelExecutionMode))}, not {parallel!r}")
        self.parallel: ParallelExecutionMode = parallel
        self.handles_events = event_stream_handler is not None
        handler = event_stream_handler if emit is None else streams.emitting(emit, event_stream_handler)
        self.own: list[AbstractToolset[Any]] = []
        super().__init__(models=models, event_stream_handler=handler, name=name)

    # -- what the framework asks -------------------------------------------------------------------------------------

    def for_agent(self, agent: AbstractAgent[AgentDepsT, Any]) -> AbstractCapability[AgentDepsT]:
        """The capability of that agent: a copy, which knows the tools that the agent was made with."""
        self.own = functions_of(agent.toolsets)
        return super().for_agent(agent)

    @property
    def in_durable_context(self) -> bool:
        """Whether this is the body of a workflow, and no step of it."""
        return places.in_body()

    def get_durable_operation_backend(self) -> Backend:
        """The backend that runs the agent's operations."""
        return Backend(self)

    def get_default_run_id(self) -> str | None:
        """The id of a run that begins here: the same in each replay."""
        return places.run_id() if places.in_body() else None

    def get_default_conversation_id(self, run_id: str) -> str | None:
        """That of a conversation which begins with the run."""
        return conversation_id_from_run_id(run_id) if places.in_body() else None

    async def get_run_start_time(self, run_id: str) -> datetime | None:  # noqa: ARG002 - the framework's signature
        """When the run began, for its `timeout=`: the same in each replay."""
        return places.body().now() if places.in_body() else None

    def get_wrapper_model(self, model: Model) -> Model | None:
        """In a step: a model that tells the run what its answers took."""
        return Counted(model) if places.in_step() else None

    def get_wrapper_toolset(self, toolset: AbstractToolset[AgentDepsT]) -> AbstractToolset[AgentDepsT] | None:
        """The agent's tools as steps, those too that a run was given at its call, or in the place of the agent's."""
        if not places.in_body():
            return super().get_wrapper_toolset(toolset)
        stepped = with_steps(self, toolset)
        return super().get_wrapper_toolset(stepped) or stepped

    @property
    def has_wrap_run_event_stream(self) -> bool:
        """Whether requests stream: a handler asks for it anywhere, `emit` in a body."""
        return self.handles_events or (self.emit is not None and places.in_body())

    async def wrap_run(self, ctx: RunContext[AgentDepsT], *, handler: WrapRunHandler) -> AgentRunResult[Any]:
        """Run the agent in a place of its own: whatever tasks the framework makes, its calls are found again."""
        if not places.in_body():
            return await handler()
        agent = self.agent
        assert agent is not None
        places.activation().usages[str(ctx.run_id)] = counted(ctx.usage)
        waiter = Waiter(self.name, str(ctx.run_id), StepOptions(retries=self.tool_options.given.get("retries", 0)))
        with (
            places.scoped(ctx.run_id),
            replay_scope(),
            external_event_scope(waiter),
            agent.parallel_tool_call_execution_mode(self.parallel),
        ):
            return await super().wrap_run(ctx, handler=handler)

    async def wrap_tool_execute(
        self, ctx: RunContext[AgentDepsT], *, call: Any, tool_def: ToolDefinition, args: Any, handler: Any
    ) -> Any:
        """Run a tool in a place of its own: one that runs in the body may call steps, tasks and other agents there."""
        if not places.in_body():
            return await super().wrap_tool_execute(ctx, call=call, tool_def=tool_def, args=args, handler=handler)
        with places.scoped(ctx.run_id, call.tool_call_id):
            return await handler(args)

    def wrap_run_event_stream(
        self, ctx: RunContext[AgentDepsT], *, stream: AsyncIterable[AgentStreamEvent]
    ) -> AsyncIterable[AgentStreamEvent]:
        """Hand events to the handler, and to the run's stream."""
        if not places.in_body() and not self.handles_events:
            return stream
        return super().wrap_run_event_stream(ctx, stream=stream)

    # -- what the backend asks ---------------------------------------------------------------------------------------

    async def before_request(self, params: ModelRequestParams, *, is_made: bool) -> None:
        """Look before a model is asked: raises AgentStalled, BudgetExceeded, or asks a person.

        is_made: history holds the request.
        """
        if self.stall is not None:
            await guards.look_for_stall(self.name, self.stall, params)
        if self.budget is not None:
            await guards.look_at_budget(self.name, self.budget, params, is_made=is_made)

    async def emitted(self, params: EventStreamHandlerParams) -> None:
        """Put an event of a tool into the run's stream: once, and no step."""
        if self.emit == "events":
            await streams.emit_in_body(params)
