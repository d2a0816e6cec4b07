"""`Backend`: each operation of an agent as a step of the run, with a key of its own."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from inspect import Parameter, Signature
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter
from pydantic_ai.durable_exec import (
    BoundDurableOperation,
    DurableOperation,
    DurableOperationBackend,
    DurableOperationId,
    DynamicToolsetCallToolParams,
    EventStreamHandlerParams,
    JournalOperationNamer,
    ModelRequestId,
    ModelRequestParams,
    RoleBasedOperationConfig,
    ToolsetCallToolId,
    ToolsetCallToolParams,
    durable_unit_scope,
    record_durable_unit,
)
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RunUsage
from pydantic_core import PydanticSerializationError

from liteq.exceptions import NotSerializable
from liteq.workflow import Done, StepOptions, actx
from liteq_pydantic_ai import spending
from liteq_pydantic_ai.hashing import digest_of, parameters_of, plain
from liteq_pydantic_ai.options import of_metadata
from liteq_pydantic_ai.places import activation, history_holds, key

if TYPE_CHECKING:
    from liteq_pydantic_ai.durability import LiteQDurability

__all__ = ["Backend"]

P = TypeVar("P")
W = TypeVar("W")
R = TypeVar("R")
Function = Callable[..., Awaitable[Any]]
ToolParams = (ToolsetCallToolParams, DynamicToolsetCallToolParams)
END = "liteq_end"  # of a call of a function tool that a run was given: how it ended
USAGE = "usage"  # beside the recorded result of a tool: what an agent inside it has used
_usage = TypeAdapter(RunUsage)


@dataclass
class Unit:
    """One call of an operation: the step that it is."""

    name: str
    key: str
    run: Function
    args: tuple[Any, ...] = ()
    options: StepOptions = field(default_factory=StepOptions)
    executed: bool = False


class Bound(BoundDurableOperation[P, W, R], Generic[P, W, R]):
    """An operation that is a step where it is called."""

    def __init__(self, backend: Backend, operation: DurableOperation[P, W, R]) -> None:
        self._backend = backend
        self._operation = operation

    @property
    def operation(self) -> DurableOperation[P, W, R]:
        """The operation, as the framework declares it."""
        return self._operation

    async def __call__(self, params: P, *, config: object | None = None) -> R:
        """Its result: from history, else of running it now."""
        return await self._backend.call(self._operation, params, config)  # type: ignore[no-any-return]


class Backend(DurableOperationBackend[StepOptions]):
    """Runs operations of one agent as steps. Everything here is for the body of a workflow."""

    def __init__(self, durability: LiteQDurability[Any]) -> None:
        self.durability = durability
        self.namer = JournalOperationNamer(durability.name, default_model_id=durability.default_model_id or "default")
        self.config: RoleBasedOperationConfig[StepOptions] = RoleBasedOperationConfig(
            model=durability.model_options, event=StepOptions(), capability=StepOptions(),
            tool=durability.tool_options, resolve_tool=self._of_tool,
        )  # fmt: skip

    def _of_tool(
        self, operation_id: DurableOperationId, tool: object | None, name: str
    ) -> StepOptions | Literal[False]:
        kind = getattr(operation_id, "toolset_kind", "mcp")  # instructions are of MCP servers alone
        base = self.durability.mcp_options if kind == "mcp" else self.durability.tool_options
        if not isinstance(operation_id, ToolsetCallToolId):
            base = StepOptions(**{name: value for name, value in base.given.items() if name in OF_DISCOVERY})
        found = of_metadata(tool, name, base)
        if isinstance(found, bool):
            return False
        return found if isinstance(operation_id, ToolsetCallToolId) else base

    def bind(self, operation: DurableOperation[P, W, R]) -> BoundDurableOperation[P, W, R]:
        """`operation`, to be called."""
        return Bound(self, operation)

    def config_for_tool(
        self, operation: DurableOperation[P, W, R], *, tool: object | None, tool_name: str
    ) -> StepOptions | Literal[False]:
        """The options of a tool's step; False where it runs in the body."""
        return self.config.for_tool(
            operation.config_role, operation_id=operation.operation_id, tool=tool, tool_name=tool_name
        )

    def registrations(self) -> Sequence[Callable[..., object]]:
        """None: a step is made when it is called."""
        return ()

    # -- a call ------------------------------------------------------------------------------------------------------

    async def call(self, operation: DurableOperation[Any, Any, Any], params: Any, config: object | None) -> Any:
        """Run `operation` as a step, or answer it from history."""
        durability = self.durability
        if isinstance(params, EventStreamHandlerParams) and not durability.handles_events:
            return await durability.emitted(params)
        given = config if isinstance(config, StepOptions) else None
        options = given or self.config.base(operation.config_role, operation_id=operation.operation_id)
        unit = self._unit(operation, params, options)
        if isinstance(params, ModelRequestParams):
            await durability.before_request(params, is_made=history_holds(unit.key))
        try:
            payload = await actx.step(unit.name, unit.run, key=unit.key, args=unit.args, options=unit.options)
        finally:
            record_durable_unit(executed=unit.executed)
        if isinstance(payload, dict) and USAGE in payload and isinstance(params, ToolParams):
            params.ctx.usage.incr(_usage.validate_python(payload.pop(USAGE)))
        return operation.result_codec.load(stood_in(params, payload))

    def _unit(self, operation: DurableOperation[Any, Any, Any], params: Any, options: StepOptions) -> Unit:
        name = self.namer.operation_name(operation.operation_id)
        if operation.invocation_label is not None:
            name = f"{name}.{operation.invocation_label(params)}"
        if isinstance(params, ModelRequestParams):
            return self._request(operation, params, options, name)
        if isinstance(params, ToolParams):
            return self._tool(operation, params, options, name)
        ctx: RunContext[Any] | None = getattr(params, "run_context", None) or getattr(params, "ctx", None)
        where: tuple[object, ...] = ("", "") if ctx is None else (ctx.run_id, ctx.run_step)
        if isinstance(params, EventStreamHandlerParams):
            where = (where[0], *durability_event(params))
        unit = Unit(name, key(where[0], self._short(name), *where[1:]), _nothing, options=options)

        async def run(*_: Any) -> Any:
            unit.executed = True
            with durable_unit_scope():
                return operation.result_codec.dump(await operation.handler(params))

        unit.run = run
        return unit

    def _short(self, name: str) -> str:
        """An operation's name without the agent's, for a key."""
        return name.removeprefix(f"{self.durability.name}__")

    def _request(
        self, operation: DurableOperation[Any, Any, Any], params: ModelRequestParams, options: StepOptions, name: str
    ) -> Unit:
        """A request of a model: one step, with its retries, known by what it asks."""
        id_ = operation.operation_id
        assert isinstance(id_, ModelRequestId)
        ctx = params.run_context
        digest = activation().messages.digest(params.messages, params.model_settings)
        if "memo" in options.given and "memo_key" not in options.given:
            whole = digest_of(digest, parameters_of(params.model_request_parameters))
            options |= StepOptions(memo_key=lambda model, *_: [model, whole])
        place = key(ctx.run_id, self._short(name), ctx.run_step)
        unit = Unit(name, place, _nothing, (id_.model_name, digest), options)
        if not history_holds(unit.key):  # of a deploy that has begun, or ceased, to stream: what was paid stays paid
            other = self.namer.operation_name(replace(id_, streaming=not id_.streaming))
            there = unit.key.replace(self._short(name), self._short(other))
            if history_holds(there):
                unit.name, unit.key = other, there

        async def run(model: str, _: str) -> Any:
            unit.executed = True
            used = params if model == id_.model_name else replace(params, model_id=model)
            with durable_unit_scope():
                return operation.result_codec.dump(await operation.handler(used))

        def said(value: Any) -> Any:
            answer = value if isinstance(value, ModelResponse) else ModelResponse(parts=[TextPart(str(value))])
            return operation.result_codec.dump(answer)

        unit.run = mockable(signed(run, REQUEST), lambda mock, *args: mock(*args), said)
        return unit

    def _tool(self, operation: DurableOperation[Any, Any, Any], params: Any, options: StepOptions, name: str) -> Unit:
        """A call of a tool, known by its name and its arguments."""
        ctx = params.ctx
        names = tuple(params.tool_args)
        args = (*(plain(value) for value in params.tool_args.values()), list(names))  # their names are hashed, too
        if callable(doubt := options.given.get("doubt")):
            options |= StepOptions(doubt=_looking(doubt, params.tool_args))
        unit = Unit(name, key(ctx.run_id, self._short(name), ctx.tool_call_id), _nothing, args, options)

        async def run(*_: Any) -> Any:
            unit.executed = True
            before, usage = counted(ctx.usage), counted(ctx.usage)  # other tools may count into the run's own meanwhile
            with durable_unit_scope(), spending.inside() as told:
                result = await operation.handler(replace(params, ctx=replace(ctx, usage=usage)))
            payload = carried(operation, result, params.name)
            used = usage - before
            if isinstance(payload, dict) and (used.has_values() or used.requests):
                told.rest(used)
                payload = {**payload, USAGE: plain(used)}
            return payload

        unit.run = mockable(signed(run, (*names, "__names")), lambda mock, *_: mock(**params.tool_args), returned)
        return unit


REQUEST = ("model", "request")
OF_DISCOVERY = ("retries", "backoff", "retry_on", "give_up_on", "timeout", "limits")


async def _nothing(*_: Any) -> Any:
    """Stand in until the function of a unit is there."""


def durability_event(params: EventStreamHandlerParams) -> tuple[object, ...]:
    """The parts of a key that tell an event from others of its run."""
    part = getattr(params.event, "part", None)
    return (params.event.event_kind, getattr(part, "tool_call_id", None) or params.run_context.run_step)


def counted(usage: RunUsage) -> RunUsage:
    """A copy of `usage` that shares nothing with it."""
    copied = RunUsage()
    copied.incr(usage)
    return copied


def signed(run: Function, names: Sequence[str]) -> Function:
    """`run`, with parameters of these names: templates of limits are filled from them."""
    if all(name.isidentifier() and not iskeyword(name) for name in names):
        parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return run


def mockable(run: Function, called: Callable[..., Any], carried: Callable[[Any], Any]) -> Function:
    """`run`. A test's mock in its place is called by `called`, as its user knows it; `carried` makes its result fit."""

    def mocked(mock: Callable[..., Any]) -> Function:
        async def call(*args: Any) -> Any:
            value = called(mock, *args)
            return carried(await value if inspect.isawaitable(value) else value)

        return call

    run.__mocked__ = mocked  # type: ignore[attr-defined]
    return run


def _looking(doubt: Callable[..., Any], tool_args: dict[str, Any]) -> Callable[..., Any]:
    """A function that looks whether a tool was done, called as the tool is: with arguments by name."""

    async def look(step_key: str, *_: Any) -> Any:
        found = doubt(step_key, **tool_args)
        found = await found if inspect.isawaitable(found) else found
        return Done(returned(found.result)) if isinstance(found, Done) else found

    return look


def carried(operation: DurableOperation[Any, Any, Any], result: Any, tool: str) -> Any:
    """The result of a tool as JSON. Raises NotSerializable, which no attempt mends."""
    try:
        return operation.result_codec.dump(result)
    except (PydanticSerializationError, TypeError, ValueError) as exc:
        value = getattr(result, "result", result)
        value = getattr(value, "return_value", value)
        kind = type(value)
        raise NotSerializable(
            f"the result of the tool {tool!r} is a {kind.__module__}.{kind.__qualname__}, or holds something, that "
            f"cannot be carried over into the run's history ({exc}): return plain data, a dataclass or a model"
        ) from exc


def returned(value: Any) -> Any:
    """A plain value in the place of a tool's result, as the framework writes one."""
    return {"kind": "tool_return", "result": plain(value)}


def stood_in(params: Any, payload: Any) -> Any:
    """`payload`; a plain value, which a person has given for a tool in doubt, is made the tool's result."""
    if isinstance(params, ToolParams) and not (isinstance(payload, dict) and payload.keys() & {"kind", END}):
        return returned(payload)
    return payload
