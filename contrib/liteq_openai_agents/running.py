"""`run`: an agent of the SDK as a part of a workflow's body."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from agents import (
    Agent,
    CodeInterpreterTool,
    FileSearchTool,
    FunctionTool,
    Handoff,
    HostedMCPTool,
    ImageGenerationTool,
    Model,
    RunConfig,
    Runner,
    RunResult,
    Tool,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrailData,
    WebSearchTool,
)
from agents.guardrail import GuardrailFunctionOutput
from agents.items import ToolApprovalItem, TResponseInputItem
from agents.memory import Session
from agents.models import get_default_model
from pydantic_core import to_jsonable_python

from liteq.exceptions import WorkflowError
from liteq.utils.durations import Duration
from liteq.workflow import Approval, StepOptions, actx
from liteq_openai_agents.model import Emit, ModelInRun
from liteq_openai_agents.session import in_run
from liteq_openai_agents.steps import Steps
from liteq_openai_agents.tools import answer_of, called, invoked, kinds_of, standing_in

__all__ = ["run"]

LONGEST = 200  # characters of an approval's title: it is how a person finds and decides it
INSIDE = "__liteq_inside__"
HOSTED = (CodeInterpreterTool, FileSearchTool, HostedMCPTool, ImageGenerationTool, WebSearchTool)  # at the provider's


async def run(
    agent: Agent[Any],
    input: str | list[TResponseInputItem],
    *,
    session: Session | None = None,
    context: Any = None,
    emit: Emit = None,
    model: StepOptions | None = None,
    tool: StepOptions | None = None,
    approval_timeout: Duration | None = None,
    run_config: RunConfig | None = None,
    **options: Any,
) -> RunResult:
    """Run `agent` as `Runner.run` does; in the body of a workflow its requests, tools and session calls are steps.

    A request to a model and a call of a function tool are executed once, whatever is killed, and repeated only where
    they were not recorded. A tool that `needs_approval` is asked for by `actx.approval`, titled "tool: arguments (call
    id)", all of a turn at once; `approval_timeout` denies. emit: "tokens" or "events" go to the run's stream of that
    name while a model answers. model, tool: the options of these steps. The other options are those of `Runner.run`.
    Tracing is off where no run_config is given, as each replay would be traced. Outside of a body it is `Runner.run`.

    Raises WorkflowError for tools that would be executed in the body, and as `Runner.run` does.
    """
    if actx.place != "body":
        return await Runner.run(agent, input, session=session, context=context, run_config=run_config, **options)
    steps = Steps(agent.name, {"model": model, "tool": tool})
    config = run_config or RunConfig(tracing_disabled=True)
    inside = _Inside(steps, config, emit)
    plain = replace(
        config, model=None, model_settings=_untimed(config.model_settings),
        input_guardrails=inside.guardrails(config.input_guardrails),
        output_guardrails=inside.guardrails(config.output_guardrails),
    )  # fmt: skip
    given = {"session": in_run(session, steps), "run_config": plain, **options}
    own = inside.agent(agent)
    result = await Runner.run(own, input, context=context, **given)
    while result.interruptions:
        asked = result.interruptions
        decisions = await asyncio.gather(*(_ask(steps, one, approval_timeout) for one in asked))
        state = result.to_state()
        for item, decision in zip(asked, decisions, strict=True):
            if decision.ok:
                state.approve(item)
            else:
                state.reject(item, rejection_message=decision.comment or None)
        result = await Runner.run(own, state, **given)
    return result


async def _ask(steps: Steps, item: ToolApprovalItem, patience: Duration | None) -> Approval:
    """The decision of a person on one call."""
    arguments = item.arguments or "{}"
    try:
        details: Any = json.loads(arguments)
    except ValueError:
        details = arguments
    key = f"approval.{item.call_id}"
    return await actx.approval(
        steps.asked(key) or _title_of(str(item.tool_name), arguments, str(item.call_id)),
        details={"tool": item.tool_name, "args": details, "tool_call_id": item.call_id},
        timeout=patience,
        default=False,
        key=f"{steps.id}.{key}",
    )


def _title_of(tool: str, arguments: str, id_: str) -> str:
    """`tool: arguments (id)`, with the arguments cut where that is long."""
    room = max(0, LONGEST - len(tool) - len(id_) - 5)
    said = arguments if len(arguments) <= room else f"{arguments[: max(0, room - 1)]}…"
    return f"{tool}: {said} ({id_})"


class _Inside:
    """Agents and what belongs to them, as they are in a run: copies, one of each.

    An agent that an earlier run has handed out, as its `last_agent`, is such a copy: what that run has put around its
    parts (INSIDE) is left off. In a step, as the agent inside a tool, it is as its author has made it.
    """

    def __init__(self, steps: Steps, config: RunConfig, emit: Emit) -> None:
        self.steps = steps
        self.config = config
        self.emit = emit
        self.agents: dict[int, Agent[Any]] = {}

    def agent(self, agent: Agent[Any]) -> Agent[Any]:
        """The copy of an agent; agents may hand off to each other in a circle."""
        found = self.agents.get(id(agent))
        if found is not None:
            return found
        if agent.mcp_servers:
            raise WorkflowError(
                f"the agent {agent.name!r} has mcp_servers, whose tools would be looked up in the workflow's body: "
                "make them function tools, or HostedMCPTool"
            )
        own = self.agents[id(agent)] = copy.copy(agent)
        self.agents[id(own)] = own
        own.model, own.model_settings = self.model(agent), _untimed(agent.model_settings)
        own.tools = [self.tool(agent, one) for one in agent.tools]
        own.handoffs = [self.handoff(one) for one in agent.handoffs]
        own.input_guardrails = self.guardrails(agent.input_guardrails, agent.name)
        own.output_guardrails = self.guardrails(agent.output_guardrails, agent.name)
        return own

    def name_of(self, agent: Agent[Any]) -> str:
        """The name of the model that an agent asks."""
        asked = self.config.model or agent.model
        if isinstance(asked, ModelInRun):
            return asked.name
        if isinstance(asked, Model):
            return str(getattr(asked, "model", None) or type(asked).__name__)
        return asked or get_default_model()

    def inner(self, tool: FunctionTool) -> str | None:
        """The name of the model that the agent inside a tool asks; None for no such tool, or several agents in it."""
        agent = getattr(tool, "_agent_instance", None)
        if agent is None or agent.handoffs or any(getattr(one, "_agent_instance", None) for one in agent.tools):
            return None
        return self.name_of(agent)

    def model(self, agent: Agent[Any]) -> Model:
        """The model of an agent, whose requests are steps."""
        asked, name = self.config.model or agent.model, self.name_of(agent)
        timeout_s = agent.model_settings.resolve(self.config.model_settings).timeout
        again = isinstance(asked, ModelInRun)
        if isinstance(asked, ModelInRun):
            timeout_s = asked.timeout_s if timeout_s is None else timeout_s
            asked = asked.inner
        if not isinstance(asked, Model):
            asked = self.config.model_provider.get_model(asked)
        named = self.config.model_provider.get_model
        return ModelInRun(asked, name, agent.name, self.steps, self.emit, named, timeout_s, again=again)

    def tool(self, agent: Agent[Any], tool: Tool) -> Tool:
        """A tool, a call of which is a step by the id that the model gave it."""
        if isinstance(tool, HOSTED):
            return tool
        if not isinstance(tool, FunctionTool):
            raise WorkflowError(
                f"the agent {agent.name!r} has a {type(tool).__name__}, which would be executed in the workflow's "
                "body: make it a function tool"
            )
        own, inner, kinds = copy.copy(tool), _inside(tool.on_invoke_tool) or tool, kinds_of(agent)
        own.tool_input_guardrails = self.of_tool(tool.tool_input_guardrails, agent.name)
        own.tool_output_guardrails = self.of_tool(tool.tool_output_guardrails, agent.name)
        own.timeout_seconds = None  # the step has it: in the body the call would go on, and a replay would wait for it

        async def invoke(context: Any, arguments: str) -> Any:
            if actx.place != "body":  # of an agent that an earlier run has handed out
                return await invoked(inner, context, arguments)

            async def call(name: str, arguments: str) -> Any:  # noqa: ARG001 - limits are named by it
                return await called(inner, context, arguments, self.config, self.inner(inner), kinds)

            call.__mocked__ = partial(standing_in, kinds=kinds)  # type: ignore[attr-defined]
            key = f"tool.{context.tool_call_id}"
            found = await self.steps.keyed("tool", tool.name, key, call, (tool.name, arguments), agent.name)
            return answer_of(found, tool, context)

        own.on_invoke_tool = _around(inner, invoke)
        return own

    def handoff(self, handoff: Agent[Any] | Handoff[Any, Any]) -> Agent[Any] | Handoff[Any, Any]:
        """A handoff to the copy of its agent. Its `on_handoff` is a part of the body."""
        if isinstance(handoff, Agent):
            return self.agent(handoff)
        own = copy.copy(handoff)
        inner = _inside(handoff.on_invoke_handoff) or handoff.on_invoke_handoff

        async def invoke(context: Any, arguments: str) -> Agent[Any]:
            return self.agent(await inner(context, arguments))

        own.on_invoke_handoff = _around(inner, invoke)
        return own

    def guardrails(self, found: list[Any] | None, agent: str = "") -> Any:
        """Guardrails of an agent, or of the run's configuration, each check of which is a step."""
        return found and [self._guardrail(one, GuardrailFunctionOutput, agent, _of_agent) for one in found]

    def of_tool(self, found: list[Any] | None, agent: str) -> Any:
        """Guardrails of a tool, each check of which is a step of that call."""
        return found and [self._guardrail(one, ToolGuardrailFunctionOutput, agent, _of_call) for one in found]

    def _guardrail(self, guardrail: Any, made: Any, agent: str, about: Callable[..., tuple[Any, str]]) -> Any:
        """A guardrail that checks in a step. about: what it checks, and the call that this belongs to."""
        own = copy.copy(guardrail)
        inner = _inside(guardrail.guardrail_function) or guardrail.guardrail_function
        name = own.name = guardrail.get_name()

        async def checked(*given: Any) -> Any:
            found = inner(*given)
            return await found if inspect.isawaitable(found) else found

        async def check(*given: Any) -> Any:
            if actx.place != "body":
                return await checked(*given)

            async def call(_: Any) -> Any:
                return to_jsonable_python(vars(await checked(*given)), fallback=str)

            value, of = about(*given)
            hashed = (to_jsonable_python(value, fallback=str),)
            found = await self.steps.numbered(f"guardrail.{name}", "check", call, hashed, agent, of)
            if "tripped" in found:  # as an older liteq has recorded it
                found = {"output_info": found["info"], "tripwire_triggered": found["tripped"]}
            return made(**found)

        own.guardrail_function = _around(inner, check)
        return own


def _around(inner: Any, function: Any) -> Any:
    """`function`, which tells what it was put around."""
    setattr(function, INSIDE, inner)
    return function


def _inside(function: Any) -> Any:
    """The thing that a run before this one has put `function` around; None where it is the author's own."""
    return getattr(function, INSIDE, None)


def _of_agent(_context: Any, _agent: Any, value: Any) -> tuple[Any, str]:
    return value, ""


def _of_call(data: ToolInputGuardrailData) -> tuple[Any, str]:
    return [data.context.tool_arguments, getattr(data, "output", None)], data.context.tool_call_id


def _untimed(settings: Any) -> Any:
    """Settings without the timeout, which is the step's: what went on behind one in the body would be recorded."""
    return settings if settings is None or settings.timeout is None else replace(settings, timeout=None)
