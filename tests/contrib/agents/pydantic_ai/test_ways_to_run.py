"""The framework's other ways to run an agent, in a body: node by node, as a stream, watched by traces, cancelled."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ExternalToolset, ModelRetry
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.tools import ToolDefinition

from liteq import LiteQ
from liteq.exceptions import RunCancelled
from liteq.testing import WorkflowTest
from liteq.workflow import actx
from liteq_pydantic_ai import Approvals, LiteQDurability

from .scripted import Script, call, results


def agent_of(script: Script, *capabilities: Any) -> Agent[None, str]:
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability(), *capabilities])

    @agent.tool_plain
    def look(x: int) -> int:
        return x

    return agent


def test_node_by_node(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("look", x=1)], "done")
    agent = agent_of(script)

    @app.workflow(name="asks")
    async def asks() -> list[str]:
        nodes = []
        async with agent.iter("?") as run:
            async for node in run:
                nodes.append(type(node).__name__)
                await actx.sleep("1h")
        return nodes

    each = ["ModelRequestNode", "CallToolsNode"]
    assert bench.run(asks) == ["UserPromptNode", *each, *each, "End"]
    assert script.asked == [0, 1]


def test_as_a_stream(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("look", x=1)], "one two three")
    agent = agent_of(script)

    @app.workflow(name="asks")
    async def asks() -> str:
        async with agent.run_stream("?") as stream:
            text = str(await stream.get_output())
        await actx.sleep("1h")
        async with agent.run_stream_events("again?") as events:
            *_, last = [event async for event in events]
        await actx.sleep("1h")
        return f"{text}, {last.result.output}"  # type: ignore[union-attr]

    assert bench.run(asks) == "one two three, one two three"
    assert script.asked == [0, 1, 0, 1]


def test_it_goes_on_with_results_that_were_deferred(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("ask", id_="asked", text="?"), call("pay", id_="paid", cents=5)], lambda m: str(results(m)))
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    elsewhere = ExternalToolset([ToolDefinition(name="ask", parameters_json_schema=schema)])
    agent = Agent(
        script.model, name="defers", output_type=[str, DeferredToolRequests], capabilities=[LiteQDurability()]
    )

    @agent.tool_plain(requires_approval=True)
    def pay(cents: int) -> int:
        return cents

    @app.workflow(name="defers")
    async def defers() -> str:
        first = await agent.run("?", toolsets=[elsewhere])
        await actx.sleep("1h")
        found = DeferredToolResults(calls={"asked": "yes"}, approvals={"paid": True})
        second = await agent.run(
            message_history=first.all_messages(), toolsets=[elsewhere], deferred_tool_results=found
        )
        return str(second.output)

    assert bench.run(defers) == "{'asked': 'yes', 'paid': 5}"
    assert script.asked == [0, 1]


def test_an_output_of_a_type_is_checked_again_in_a_replay(app: LiteQ, bench: WorkflowTest) -> None:
    class Answer(BaseModel):
        number: int

    lines = [call("final_result", id_="a", number=1)], [call("final_result", id_="b", number=2)]
    script = Script(*lines)
    agent = Agent(script.model, name="support", output_type=Answer, capabilities=[LiteQDurability()], retries=2)

    @agent.output_validator
    def even(output: Answer) -> Answer:
        if output.number % 2:
            raise ModelRetry("an even one")
        return output

    @app.workflow(name="asks")
    async def asks() -> Answer:
        output = (await agent.run("?")).output
        await actx.sleep("1h")
        return output

    assert bench.run(asks) == Answer(number=2)
    assert script.asked == [0, 1]


def test_a_run_that_is_cancelled_leaves_the_agent(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("refund", order=7), call("look", x=1)], "done")
    agent = agent_of(script, Approvals())
    agent.tool_plain(lambda order: f"{order}", name="refund", requires_approval=True)
    closed = []

    @app.workflow(name="asks")
    async def asks() -> str:
        try:
            return (await agent.run("?")).output
        finally:
            closed.append(True)

    run = bench.start(asks)
    assert run.approvals()
    run.cancel(reason="no more")
    bench.advance(0)
    with pytest.raises(RunCancelled, match="no more"):
        run.result(0)
    assert closed[-1]
    assert script.asked == [0]


def test_a_replay_leaves_no_traces(app: LiteQ, bench: WorkflowTest) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    script = Script([call("look", x=1), call("slow")], "done")
    agent = agent_of(script, Instrumentation(settings=InstrumentationSettings(tracer_provider=provider)))

    @agent.tool_plain(metadata={"liteq": False})
    async def slow() -> str:
        await actx.sleep("1h")
        return "slept"

    @app.workflow(name="asks")
    async def asks() -> int:
        messages = (await agent.run("?")).all_messages()
        await actx.sleep("1h")
        return sum(isinstance(message, ModelResponse) for message in messages)

    assert bench.run(asks) == 2
    names = [span.name for span in spans.get_finished_spans()]
    assert sum(name.startswith("chat ") for name in names) == 2
    assert sum("look" in name for name in names) == 1
