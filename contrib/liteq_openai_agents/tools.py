"""The call of a function tool inside its step: its result as plain data, and the requests of agents inside it."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    RunConfig,
    RunContextWrapper,
    ToolOutputFileContent,
    ToolOutputImage,
    ToolOutputText,
    ToolTimeoutError,
)
from agents.agent_tool_state import get_agent_tool_state_scope, peek_agent_tool_run_result
from agents.tool import default_tool_timeout_error_message
from agents.tool_context import ToolContext
from agents.usage import deserialize_usage, serialize_usage
from pydantic import BaseModel

from liteq.exceptions import WorkflowError
from liteq_openai_agents.model import spend

__all__ = ["answer_of", "apart", "called", "invoked", "kinds_of", "standing_in"]

INSIDE = "liteq_agents_inside"  # the key of a record that holds more than the tool's result
COUNTS = ("requests", "input_tokens", "output_tokens", "total_tokens")
DETAILS = ("input_tokens_details", "output_tokens_details")
ENTRIES = "request_usage_entries"
Kinds = tuple[type[BaseModel], ...]
OUTPUTS: Kinds = (ToolOutputText, ToolOutputImage, ToolOutputFileContent)


async def called(
    tool: FunctionTool, context: ToolContext[Any], arguments: str, config: RunConfig, model: str | None,
    kinds: Kinds = OUTPUTS,
) -> Any:  # fmt: skip
    """The record of a call: the result, and what agents inside the tool have used, which is spent here.

    config: of the run, which agents inside take over; model: the name of the one that they ask; None where it is
    not known, or there are several; kinds: as of `kinds_of`.
    """
    context.run_config = config
    with apart(context, model) as used:
        result = plain(await invoked(tool, context, arguments), kinds)
    asks = _questions(context)
    return {INSIDE: {"usage": used, "asks": asks}, "result": result} if used["requests"] > 0 or asks else result


@contextmanager
def apart(context: RunContextWrapper[Any], model: str | None) -> Iterator[dict[str, Any]]:
    """A block of a step whose usage is counted apart: others of the run go on beside it.

    Behind the block it is spent, as that of `model`, and stands in what this yields.
    """
    used: dict[str, Any] = {}
    shared, before = context.usage, serialize_usage(context.usage)
    context.usage = deserialize_usage(before)
    try:
        yield used
    finally:
        used |= _since(before, serialize_usage(context.usage))
        context.usage = shared
        if used["requests"] > 0:
            spend(model, deserialize_usage(used))


def standing_in(mock: Callable[..., Any], kinds: Kinds = OUTPUTS) -> Callable[..., Awaitable[Any]]:
    """A test's mock in the place of a call: it is called with the tool's arguments, by name."""

    async def call(_name: str, arguments: str) -> Any:
        found = mock(**json.loads(arguments or "{}"))
        return plain(await found if inspect.isawaitable(found) else found, kinds)

    return call


def answer_of(record: Any, tool: FunctionTool, context: ToolContext[Any]) -> Any:
    """The tool's result out of its record; what agents inside it have used is added to the run's.

    Raises WorkflowError where a tool of theirs asks for a person.
    """
    if not isinstance(record, dict) or INSIDE not in record:
        return record
    inside = record[INSIDE]
    context.usage.add(deserialize_usage(inside["usage"]))
    if inside["asks"]:
        raise WorkflowError(
            f"{', '.join(inside['asks'])} of the agent in the tool {tool.name!r} needs an approval, and a tool is one "
            "step, in which nobody can be asked: hand off to that agent, or let the tool itself need the approval"
        )
    return record["result"]


def _since(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The usage `now` without that of `then`, both as the SDK writes them."""
    found = {name: now[name] - then[name] for name in COUNTS}
    for name in DETAILS:
        (before,), (after,) = then[name], now[name]
        found[name] = [{part: (count or 0) - (before.get(part) or 0) for part, count in after.items()}]
    return {**found, ENTRIES: now[ENTRIES][len(then[ENTRIES]) :]}


def _questions(context: ToolContext[Any]) -> list[str]:
    """The names of the tools for which a person would have to be asked in the agent inside."""
    if context.tool_call is None:
        return []
    inner = peek_agent_tool_run_result(context.tool_call, scope_id=get_agent_tool_state_scope(context))
    return [str(one.name) for one in getattr(inner, "interruptions", None) or ()]


async def invoked(tool: FunctionTool, context: ToolContext[Any], arguments: str) -> Any:
    """The result of a tool, or what the SDK makes of its timeout. Raises ToolTimeoutError where the tool says so."""
    timeout_s = tool.timeout_seconds
    patience = asyncio.timeout(timeout_s)
    try:
        async with patience:
            return await tool.on_invoke_tool(context, arguments)
    except TimeoutError as exc:
        if timeout_s is None or not patience.expired():
            raise
        error = ToolTimeoutError(tool.name, timeout_s)
        if tool.timeout_behavior == "raise_exception":
            raise error from exc
        if tool.timeout_error_function is None:
            return default_tool_timeout_error_message(tool_name=tool.name, timeout_seconds=timeout_s)
        told = tool.timeout_error_function(context, error)
        return await told if inspect.isawaitable(told) else told


def kinds_of(agent: Agent[Any]) -> Kinds:
    """The classes of results that are kept as dicts: the SDK's own outputs, for the model.

    Where a tool's result may be the final output, and that is no text, those of all models.
    """
    is_final = agent.tool_use_behavior != "run_llm_again" and agent.output_type not in (None, str)
    return (BaseModel,) if is_final else OUTPUTS


def plain(value: Any, kinds: Kinds = OUTPUTS) -> Any:
    """A tool's result as the SDK takes it and history can hold it: objects of `kinds` as dicts, others as text."""
    if isinstance(value, kinds):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, (list, tuple)):
        return [plain(one, kinds) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one, kinds) for key, one in value.items()}
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
