"""Agents inside tools: what they take is spent and counted, what they would ask is told."""

from __future__ import annotations

import asyncio

import pytest
from agents import Agent, RunConfig, Usage, function_tool
from agents.models.interface import ModelProvider
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agents.tool_context import ToolContext

from liteq.workflow import actx
from liteq_openai_agents import run, running

PRICED = Usage(requests=1, input_tokens=100, output_tokens=10, total_tokens=110)


def says(text: str) -> ModelStep:
    return ModelStep(output=[assistant_message(text)], usage=PRICED)


def asks(*tools: str) -> ModelStep:
    """An answer that calls agents, all at once."""
    calls = [function_call(tool, {"input": "?"}, call_id=f"c-{tool}") for tool in tools]
    return ModelStep(output=calls, usage=PRICED)


def expert(name: str, *script: ModelStep, **options) -> Agent:
    return Agent(name=name, model=ScriptedModel(list(script)), **options)


def flow_of(app, agent, told, **options):
    """A flow whose agent is replayed once: the SDK's usage, each time, is added to `told`."""

    @app.workflow(name="flow")
    async def flow() -> str:
        result = await run(agent, "go", **options)
        usage = result.context_wrapper.usage
        told.append((usage.requests, usage.input_tokens, len(usage.request_usage_entries)))
        await actx.sleep("1h")
        return str(result.final_output)

    return flow


def finished(app, worker, flow):
    run_ = flow.start()
    worker.run()
    app.clock.advance(3600)
    worker.run()
    return run_


def test_requests_of_agents_inside_tools_are_spent_and_counted_in_each_replay(app, worker):
    """Two at once, each of which counts for itself."""
    inner = [expert("north", says("cold")), expert("south", asks("deep"), says("hot"))]
    inner[1].tools = [expert("deep", says("molten")).as_tool("deep", "")]
    agent = expert("a", asks("north", "south"), says("done"))
    agent.tools = [one.as_tool(one.name, "") for one in inner]
    told: list[tuple[int, int, int]] = []
    run_ = finished(app, worker, flow_of(app, agent, told))
    assert run_.result(0) == "done"
    assert told == [(6, 600, 6), (6, 600, 6)]
    usage = run_.usage()
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (6, 600, 60)


def test_the_usage_of_a_tool_that_fails_is_spent(app, worker):
    tool = expert("deep", asks("deep"), asks("deep")).as_tool("deep", "", max_turns=1, failure_error_function=None)
    run_ = finished(app, worker, flow_of(app, expert("a", asks("deep"), tools=[tool]), []))
    assert run_.status == "failed"
    assert run_.usage().requests == 2


def test_the_model_of_a_run_is_that_of_agents_inside_too(app, worker):
    """As in the SDK, where the model of the run's config is the one of every agent."""
    model = ScriptedModel([asks("deep"), says("deep down"), says("done")])

    class Provider(ModelProvider):
        def get_model(self, model_name):
            assert model_name == "gpt-x"
            return model

    config = RunConfig(model="gpt-x", model_provider=Provider(), tracing_disabled=True)
    agent = Agent(name="a", model="other", tools=[Agent(name="deep", model="another").as_tool("deep", "")])
    run_ = finished(app, worker, flow_of(app, agent, [], run_config=config))
    assert run_.result(0) == "done"
    assert {name: one.requests for name, one in run_.usage().models.items()} == {"gpt-x": 3}


def test_an_agent_inside_a_tool_that_would_ask_a_person_fails_the_run(app, worker):
    """An approval of it would do nothing: the call's answer was recorded before."""

    @function_tool(needs_approval=True)
    async def pay() -> str:
        raise AssertionError("nobody has agreed")

    inner = expert("cashier", asks("pay"), tools=[pay])
    agent = expert("a", asks("cashier"), says("done"), tools=[inner.as_tool("cashier", "")])
    run_ = finished(app, worker, flow_of(app, agent, []))
    assert run_.approvals() == []
    with pytest.raises(Exception, match="pay of the agent in the tool 'cashier' needs an approval"):
        run_.result(0)


def test_an_approval_keeps_the_title_under_which_it_is_asked(app, worker, monkeypatch):
    """Of a run that waits while a deploy changes how titles are made."""

    @function_tool(needs_approval=True)
    async def pay() -> str:
        return "paid"

    agent = expert("a", asks("pay"), says("done"), tools=[pay])
    monkeypatch.setattr(running, "_title_of", lambda *_: "Pay?")
    run_ = flow_of(app, agent, []).start()
    worker.run()
    monkeypatch.undo()
    assert [one.title for one in run_.approvals()] == ["Pay?"]
    run_.approve("Pay?")
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run_.result(0) == "done"


def test_a_tool_sees_what_the_run_has_used_so_far(app, worker):
    seen = []

    @function_tool
    async def look(context: ToolContext) -> str:
        await asyncio.sleep(0)
        seen.append(context.usage.requests)
        return "seen"

    run_ = finished(app, worker, flow_of(app, expert("a", asks("look"), says("done"), tools=[look]), []))
    assert run_.result(0) == "done"
    assert seen == [1]
