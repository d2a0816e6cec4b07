"""Agents of the OpenAI Agents SDK in a body: paid once, killed anywhere, asked for by approvals that hold nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from agents import (
    Agent,
    ComputerTool,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    ModelSettings,
    RunConfig,
    Runner,
    ToolGuardrailFunctionOutput,
    ToolOutputImage,
    ToolOutputText,
    Usage,
    function_tool,
    handoff,
    input_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from agents.models.interface import ModelProvider
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from pydantic import BaseModel

from liteq.exceptions import WorkflowError
from liteq.testing import NotRecorded, WorkflowTest
from liteq.workflow import StepOptions, actx, ctx
from liteq_openai_agents import run
from tests.integration.runs import Killed

PRICED = Usage(requests=1, input_tokens=100, output_tokens=10, total_tokens=110)


def says(text: str) -> ModelStep:
    return ModelStep(output=[assistant_message(text)], usage=PRICED)


def calls(*asked: tuple[str, dict], first: int = 1) -> ModelStep:
    """An answer that calls tools; the ids of the calls are c1, c2, ..."""
    output = [function_call(name, args, call_id=f"c{n}") for n, (name, args) in enumerate(asked, first)]
    return ModelStep(output=output, usage=PRICED)


class Ledger:
    """The deeds of tools, and those at which their process is killed, once each."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.kills: set[str] = set()

    def note(self, what: str) -> None:
        self.done.append(what)
        if what in self.kills:
            self.kills.discard(what)
            raise Killed(what)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def look(ledger):
    @function_tool
    async def look(place: str) -> str:
        ledger.note(f"look {place}")
        return f"{place}: sunny"

    return look


@pytest.fixture
def pay(ledger):
    @function_tool(needs_approval=True)
    async def pay(amount: int) -> str:
        ledger.note(f"pay {amount}")
        return f"paid {amount}"

    return pay


def flow_of(app, agent, **options):
    @app.workflow(name="flow")
    async def flow(question: str) -> str:
        result = await run(agent, question, **options)
        assert result.context_wrapper.usage.requests == len(result.raw_responses)
        return f"{result.final_output} ({result.context_wrapper.usage.total_tokens})"

    return flow


def test_a_run_is_the_sdks_and_its_calls_are_steps(app, worker, look, ledger):
    model = ScriptedModel([calls(("look", {"place": "Rome"}), ("look", {"place": "Oslo"})), says("It is fine.")])
    flow = flow_of(app, Agent(name="Weather man", model=model, tools=[look]))
    run_ = flow.start("How is it?")
    worker.run()
    assert run_.result(0) == "It is fine. (220)"
    assert sorted(ledger.done) == ["look Oslo", "look Rome"]
    steps = {(step.name, step.key) for step in run_.steps()}
    assert steps == {
        ("Weather_man__model.request", "openai.1.model.1"),
        ("Weather_man__model.request", "openai.1.model.2"),
        ("Weather_man__tool.look", "openai.1.tool.c1"),
        ("Weather_man__tool.look", "openai.1.tool.c2"),
    }
    outputs = [item["output"] for item in model.last_call.input if item.get("type") == "function_call_output"]
    assert outputs == ["Rome: sunny", "Oslo: sunny"]


def test_killed_inside_each_tool_no_request_is_paid_twice(app, worker, look, ledger):
    script = [calls(("look", {"place": str(n)}), first=n) for n in range(3)]
    model = ScriptedModel([*script, says("done")])
    ledger.kills = {"look 0", "look 1", "look 2"}
    flow = flow_of(app, Agent(name="a", model=model, tools=[look]))
    run_ = flow.start("go")
    for _ in range(4):
        worker.run()
        app.clock.advance(120)
    assert run_.result(0) == "done (440)"
    assert len(model.calls) == 4
    assert ledger.done == ["look 0", "look 0", "look 1", "look 1", "look 2", "look 2"]


def test_approvals_are_opened_together_and_hold_nothing(app, worker, pay, ledger):
    model = ScriptedModel([calls(("pay", {"amount": 5}), ("pay", {"amount": 7})), says("done")])
    flow = flow_of(app, Agent(name="a", model=model, tools=[pay]))
    run_ = flow.start("pay")
    worker.run()
    assert run_.status == "waiting"
    asked = run_.approvals()
    assert sorted(one.title for one in asked) == ['pay: {"amount":5} (c1)', 'pay: {"amount":7} (c2)']
    assert asked[0].details == {"tool": "pay", "args": {"amount": 5}, "tool_call_id": "c1"}
    assert ledger.done == []
    run_.approve('pay: {"amount":7} (c2)', ok=False, comment="too much")
    worker.run()
    run_.approve('pay: {"amount":5} (c1)', by="ann")
    worker.run()
    assert run_.result(0) == "done (220)"
    assert ledger.done == ["pay 5"]
    assert len(model.calls) == 2, "the model was asked twice, over three activations"
    outputs = [item["output"] for item in model.last_call.input if item.get("type") == "function_call_output"]
    assert outputs == ["paid 5", "too much"]


def test_the_title_of_a_call_with_long_arguments_is_cut(app, worker, ledger):
    @function_tool(needs_approval=True)
    async def send(text: str) -> str:
        ledger.note(f"sent {len(text)}")
        return "sent"

    model = ScriptedModel([calls(("send", {"text": "x" * 5_000})), says("done")])
    run_ = flow_of(app, Agent(name="a", model=model, tools=[send])).start("send")
    worker.run()
    (asked,) = run_.approvals()
    assert len(asked.title) <= 200
    assert (asked.title[:10], asked.title[-6:]) == ('send: {"te', "… (c1)")
    assert asked.details["args"] == {"text": "x" * 5_000}
    run_.approve(asked.title)
    worker.run()
    assert run_.result(0) == "done (220)"
    assert ledger.done == ["sent 5000"]


def test_nobody_decides_in_time_and_the_call_is_denied(app, worker, pay, ledger):
    model = ScriptedModel([calls(("pay", {"amount": 5})), says("then not")])
    flow = flow_of(app, Agent(name="a", model=model, tools=[pay]), approval_timeout="2d")
    run_ = flow.start("pay")
    worker.run()
    app.clock.advance(2 * 86_400)
    worker.run()
    assert run_.result(0) == "then not (220)"
    assert ledger.done == []


@pytest.mark.parametrize("declared", ["agent", "handoff"])
def test_a_handoff_goes_to_an_agent_whose_calls_are_steps_too(app, worker, look, declared):
    handed = []
    expert_model = ScriptedModel([calls(("look", {"place": "Rome"}), first=2), says("sunny")])
    expert = Agent(name="expert", model=expert_model, tools=[look])
    given = expert if declared == "agent" else handoff(expert, on_handoff=lambda _: handed.append(ctx.place))
    front_model = ScriptedModel([calls(("transfer_to_expert", {}))])
    front = Agent(name="front", model=front_model, handoffs=[given])
    expert.handoffs = [front]  # in a circle
    run_ = flow_of(app, front).start("How is it?")
    worker.run()
    assert run_.result(0) == "sunny (330)"
    assert sorted(step.name for step in run_.steps()) == [
        "expert__model.request", "expert__model.request", "expert__tool.look", "front__model.request",
    ]  # fmt: skip
    assert handed == ([] if declared == "agent" else ["body"])
    assert expert.model is expert_model, "the agent itself is as it was"


def test_tokens_are_emitted_by_the_step_and_not_by_a_replay(app, worker, pay):
    model = ScriptedModel([calls(("pay", {"amount": 5})), says("It is paid.")])
    flow = flow_of(app, Agent(name="a", model=model, tools=[pay]), emit="tokens")
    run_ = flow.start("pay")
    worker.run()
    run_.approve('pay: {"amount":5} (c1)')
    worker.run()
    assert run_.result(0) == "It is paid. (220)"
    assert "".join(chunk.data for chunk in run_.stream("tokens")) == "It is paid."
    assert len(model.calls) == 2


def test_a_request_is_tried_again_as_its_options_say(app, worker):
    model = ScriptedModel([ModelStep(error=ConnectionError("down")), says("up")])
    flow = flow_of(app, Agent(name="a", model=model), model=StepOptions(retries=1, backoff=0))
    run_ = flow.start("go")
    worker.run()
    assert run_.result(0) == "up (110)"
    assert run_.steps()[0].attempts == 2


def test_a_guardrail_is_checked_once(app, worker, pay):
    checked = []

    @input_guardrail(name="polite")
    async def polite(context, agent, value):
        checked.append(ctx.place)
        return GuardrailFunctionOutput(output_info={"words": len(str(value).split())}, tripwire_triggered="!" in value)

    model = ScriptedModel([calls(("pay", {"amount": 5})), says("done")])
    agent = Agent(name="a", model=model, tools=[pay], input_guardrails=[polite])
    flow = flow_of(app, agent)
    run_ = flow.start("please pay")
    worker.run()
    run_.approve('pay: {"amount":5} (c1)')
    worker.run()
    assert run_.result(0) == "done (220)"
    assert checked == ["step"]
    rude = flow.start("pay!")
    worker.run()
    with pytest.raises(InputGuardrailTripwireTriggered):
        rude.result(0)


def test_a_check_that_an_older_liteq_has_recorded_is_read(app, worker):
    @input_guardrail(name="polite")
    def polite(context, agent, value):
        return GuardrailFunctionOutput(output_info={"words": 1}, tripwire_triggered=False)

    agent = Agent(name="a", input_guardrails=[polite], model=ScriptedModel([says("done")]))

    @app.workflow(name="flow")
    async def flow() -> object:
        result = await run(agent, "go")
        await actx.sleep("1h")
        return result.input_guardrail_results[0].output.output_info

    run_ = flow.start()
    worker.run()
    with app.storage.driver.write() as tx:
        old = b'{"info":{"words":1},"tripped":false}'
        assert tx.executemany("UPDATE liteq_steps SET output = ? WHERE name = ?", [(old, "a__guardrail.polite.check")])
    app.clock.advance(3600)
    worker.run()
    assert run_.result(0) == {"words": 1}


def test_guardrails_of_tools_and_of_the_configuration_are_checked_once(app, worker):
    checked = []

    @input_guardrail
    async def polite(context, agent, value):
        checked.append(f"{value} in a {ctx.place}")
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)

    @tool_input_guardrail
    def small(data):
        checked.append(f"{data.context.tool_arguments} in a {ctx.place}")
        return ToolGuardrailFunctionOutput.allow()

    @tool_output_guardrail
    def shy(data):
        checked.append(f"{data.output} in a {ctx.place}")
        return ToolGuardrailFunctionOutput.reject_content("no", output_info=data.output)

    @function_tool(tool_input_guardrails=[small], tool_output_guardrails=[shy])
    async def count(to: int) -> int:
        await asyncio.sleep(0.05 / to)  # the second one ends first
        return to

    agent = Agent(name="a", tools=[count])
    agent.model = ScriptedModel([calls(("count", {"to": 1}), ("count", {"to": 5})), says("done")])

    @app.workflow(name="flow")
    async def flow() -> list[str]:
        config = RunConfig(tracing_disabled=True, input_guardrails=[polite])
        result = await run(agent, "go", run_config=config)
        await actx.sleep("1h")
        assert [one.output.output_info for one in result.tool_output_guardrail_results] in ([1, 5], [5, 1])
        return [str(item.output) for item in result.new_items if item.type == "tool_call_output_item"]

    run_ = flow.start()
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run_.result(0) == ["no", "no"]
    assert sorted(checked) == sorted(f"{what} in a step" for what in ("go", '{"to":1}', '{"to":5}', "1", "5"))


def test_what_a_tool_returns_is_kept_as_the_model_is_told_it(app, worker):
    @function_tool
    async def look() -> dict:
        return {"when": datetime(2026, 1, 1, tzinfo=UTC), "price": Decimal("1.50"), 7: [Usage(requests=1), {"x": (1,)}]}

    agent = Agent(name="a", tools=[look], tool_use_behavior="stop_on_first_tool")
    agent.model = ScriptedModel([calls(("look", {}))])
    run_ = flow_of(app, agent).start("go")
    worker.run()
    assert "'price': '1.50'" in run_.result(0)
    assert "'when': '2026-01-01 00:00:00+00:00'" in run_.result(0)


def test_the_model_is_told_a_tools_result_as_the_sdk_alone_tells_it(app, worker):
    """A pydantic model was told as a dict, without the fields that are None."""

    class Order(BaseModel):
        number: int
        paid: str | None = None

    @function_tool
    async def order() -> object:
        return Order(number=7)

    @function_tool
    async def picture() -> list[object]:
        return [ToolOutputText(text="here"), ToolOutputImage(image_url="https://x.org/1.png")]

    def told(model):
        return [one["output"] for one in model.last_call.input if one.get("type") == "function_call_output"]

    here, alone = (ScriptedModel([calls(("order", {}), ("picture", {})), says("done")]) for _ in range(2))
    flow_of(app, Agent(name="a", model=here, tools=[order, picture])).start("go")
    worker.run()
    agent = Agent(name="a", model=alone, tools=[order, picture])
    asyncio.run(Runner.run(agent, "go", run_config=RunConfig(tracing_disabled=True)))
    assert told(here) == told(alone)
    assert told(here)[0] == "number=7 paid=None"


@pytest.mark.parametrize("typed", [True, False])
def test_a_tools_result_that_is_the_final_output_keeps_its_fields(app, worker, typed):
    class Order(BaseModel):
        number: int

    @function_tool
    async def order() -> object:
        return Order(number=7)

    model = ScriptedModel([calls(("order", {}))])
    options = {"tool_use_behavior": "stop_on_first_tool", "output_type": Order if typed else None}
    agent, found = Agent(name="a", model=model, tools=[order], **options), []

    @app.workflow(name="orders")
    async def orders() -> None:
        found.append((await run(agent, "go")).final_output)

    orders.start()
    worker.run()
    assert found == [{"number": 7} if typed else "number=7"]


def test_models_by_name_come_from_the_provider(app, worker):
    model = ScriptedModel([says("by name")])

    class Provider(ModelProvider):
        def get_model(self, model_name):
            assert model_name == "gpt-x"
            return model

    agent = Agent(name="a", model="gpt-x", model_settings=ModelSettings(temperature=0))
    run_ = flow_of(app, agent, run_config=RunConfig(model_provider=Provider(), tracing_disabled=True)).start("go")
    worker.run()
    assert run_.result(0) == "by name (110)"


def test_several_runs_of_one_body_side_by_side(app, worker, look):
    agents = [Agent(name=f"a{n}", model=ScriptedModel([says(f"one of {n}"), says(f"two of {n}")])) for n in range(3)]

    @app.workflow(name="several")
    async def several() -> list[str]:
        first = await asyncio.gather(*(run(agent, "one") for agent in agents))
        await actx.sleep("1h")
        second = await asyncio.gather(*(run(agent, "two") for agent in agents))
        return [str(result.final_output) for result in (*first, *second)]

    run_ = several.start()
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run_.result(0) == [f"{n} of {i}" for n in ("one", "two") for i in range(3)]
    assert [len(agent.model.calls) for agent in agents] == [2, 2, 2]


def test_what_would_run_in_the_body_is_refused(app, worker):
    class Screen:
        """A computer that nobody may touch."""

    agent = Agent(name="a", model=ScriptedModel([says("x")]))
    agent.tools = [ComputerTool(computer=lambda **_: Screen())]
    run_ = flow_of(app, agent).start("go")
    worker.run()
    with pytest.raises(WorkflowError, match="ComputerTool, which would be executed in the workflow's body"):
        run_.result(0)


def test_outside_of_a_run_it_is_the_sdks_own(look):
    model = ScriptedModel([calls(("look", {"place": "Rome"})), says("sunny")])
    agent = Agent(name="a", model=model, tools=[look])
    result = asyncio.run(run(agent, "How is it?", run_config=RunConfig(tracing_disabled=True)))
    assert result.final_output == "sunny"


def test_a_recorded_agent_is_a_test_without_a_model(app, worker, look, tmp_path):
    from liteq.monitor.runs.run_export import exported, line_of

    model = ScriptedModel([calls(("look", {"place": "Rome"})), says("It is fine.")])
    agent = Agent(name="a", model=model, tools=[look])
    flow = flow_of(app, agent)
    run_ = flow.start("How is it?")
    worker.run()
    result = run_.result(0)
    tape = tmp_path / "tape.jsonl"
    tape.write_text(line_of(exported(app, run_.id)))
    with WorkflowTest(app, recording=tape) as t:
        assert t.run(flow, "How is it?") == result
        with pytest.raises(NotRecorded, match="other arguments"):
            t.run(flow, "How was it?")
    model.extend([calls(("look", {"place": "Rome"})), says("It is fine.")])
    with WorkflowTest(app, recording=tape, live=["model"]) as t:
        assert t.run(flow, "How is it?") == result
    assert len(model.calls) == 4


def test_a_mock_in_the_place_of_a_tool_is_called_with_its_arguments(app, look):
    agent = Agent(name="a", tools=[look])
    agent.model = ScriptedModel([calls(("look", {"place": "Rome"})), says("done")])
    flow = flow_of(app, agent)
    with WorkflowTest(app) as bench:
        mock = bench.mock("look", side_effect=lambda place: f"{place}: rain")
        assert bench.run(flow, "How is it?") == "done (220)"
    mock.assert_called_once_with(place="Rome")


def test_the_sdks_result_is_the_same_in_first_run_and_replay(app, worker, look):
    seen = []
    model = ScriptedModel([calls(("look", {"place": "Rome"})), says("It is fine.")])
    agent = Agent(name="a", model=model, tools=[look])

    @app.workflow(name="seen")
    async def flow() -> None:
        result = await run(agent, "How is it?")
        seen.append(json.dumps([result.to_input_list(), result.context_wrapper.usage.total_tokens], default=str))
        await actx.sleep("1h")

    flow.start()
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_runner_is_not_changed():
    assert Runner.run.__module__ == "agents.run"


def test_usage_is_the_number_of_recorded_answers(app, worker, pay, ledger):
    """Over a kill inside a tool, an attempt of a request that failed, and three activations."""
    script = [ModelStep(error=ConnectionError("down")), calls(("pay", {"amount": 5})), says("done")]
    model = ScriptedModel(script)
    ledger.kills = {"pay 5"}
    flow = flow_of(app, Agent(name="a", model=model, tools=[pay]), model=StepOptions(retries=1, backoff=0))
    run_ = flow.start("pay")
    worker.run()
    run_.approve('pay: {"amount":5} (c1)')
    for _ in range(2):
        worker.run()
        app.clock.advance(120)
    assert run_.result(0) == "done (220)"
    usage = run_.usage()
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (2, 200, 20)
    assert list(usage.models) == ["ScriptedModel"]
