"""Agents that a run has handed out, as its `last_agent`: the next run goes on with them."""

from __future__ import annotations

import asyncio

import pytest
from agents import Agent, GuardrailFunctionOutput, ModelSettings, Usage, function_tool, handoff, input_guardrail
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

from liteq.workflow import StepOptions, actx
from liteq_openai_agents import run
from liteq_openai_agents.model import OLD_NAME, ModelInRun

PRICED = Usage(requests=1, input_tokens=100, output_tokens=10, total_tokens=110)


def says(text: str) -> ModelStep:
    return ModelStep(output=[assistant_message(text)], usage=PRICED)


def calls(name: str, id_: str, **args: str) -> ModelStep:
    return ModelStep(output=[function_call(name, args, call_id=id_)], usage=PRICED)


class Named(ScriptedModel):
    model = "small"


@pytest.mark.parametrize("declared", ["agent", "handoff"])
def test_the_last_agent_of_a_run_goes_on_with_its_tools_and_guardrails(app, worker, declared):
    done = []

    @input_guardrail(name="polite")
    def polite(context, agent, value):
        done.append(f"check in a {actx.place}")
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)

    @function_tool
    async def look(place: str) -> str:
        done.append(f"look {place} in a {actx.place}")
        return "sunny"

    front = Agent(name="front", model=Named([calls("transfer_to_expert", "h1"), calls("transfer_to_expert", "h2")]))
    expert = Agent(name="expert", tools=[look], input_guardrails=[polite])
    given = expert if declared == "agent" else handoff(expert)
    front.handoffs, expert.handoffs = [given], [front]  # in a circle
    places = [calls("look", f"c{n}", place=str(n)) for n in range(3)]
    back = calls("transfer_to_front", "b2")
    expert.model = Named([places[0], says("0"), places[1], says("1"), back, places[2], says("2")])

    @app.workflow(name="flow")
    async def flow() -> list[str]:
        result = await run(front, "go")
        said = [str(result.final_output)]
        for question in ("well?", "and now?"):
            result = await run(result.last_agent, question)
            said.append(str(result.final_output))
        await actx.sleep("1h")
        return said

    run_ = flow.start()
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run_.result(0) == ["0", "1", "2"]
    looks = [f"look {n} in a step" for n in range(3)]
    assert sorted(done) == ["check in a step", "check in a step", *looks]
    assert list(run_.usage().models) == ["small"]


def test_the_last_agent_of_a_run_may_be_a_tool_of_another(app, worker):
    """Its tool asked for a step in the step, and the model was told of an error."""
    done = []

    @input_guardrail
    async def polite(context, agent, value):
        done.append("check")
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)

    @function_tool
    async def look(place: str) -> str:
        done.append(f"look {place}")
        return "sunny"

    expert = Agent(name="expert", tools=[look], input_guardrails=[polite])
    expert.model = Named([says("hello"), calls("look", "c1", place="here"), says("it is sunny")])
    front = Named([calls("ask", "d1", input="well?"), says("done")])

    @app.workflow(name="flow")
    async def flow() -> str:
        result = await run(expert, "hi")
        tool = result.last_agent.as_tool("ask", "asks")
        return str((await run(Agent(name="front", model=front, tools=[tool]), "go")).final_output)

    run_ = flow.start()
    worker.run()
    assert run_.result(0) == "done"
    assert done == ["check", "check", "look here"]
    assert front.last_call.input[-1]["output"] == "it is sunny"


def test_the_last_agent_of_a_run_keeps_the_timeouts_of_its_model_and_tools(app, worker):
    asked = []

    class Slow(ScriptedModel):
        async def get_response(self, *args, **kwargs):
            asked.append(1)
            if len(asked) == 2:
                await asyncio.sleep(1)
            return await super().get_response(*args, **kwargs)

    @function_tool(timeout=0.05)
    async def slow() -> str:
        await asyncio.sleep(1)
        return "too late"

    model = Slow([says("hello"), calls("slow", "c1"), says("I gave up")])
    agent = Agent(name="a", model=model, tools=[slow], model_settings=ModelSettings(timeout=0.05))

    @app.workflow(name="flow")
    async def flow() -> str:
        result = await run(agent, "hello")
        again = await run(result.last_agent, "go", model=StepOptions(retries=1, backoff=0))
        return str(again.final_output)

    run_ = flow.start()
    worker.run()
    assert run_.result(0) == "I gave up"
    attempts = {step.key: step.attempts for step in run_.steps()}
    assert attempts["openai.2.model.1"] == 2
    (told,) = [step.output for step in run_.steps() if step.name == "a__tool.slow"]
    assert told == "Tool 'slow' timed out after 0.05 seconds."


def test_a_request_of_such_an_agent_that_an_older_liteq_has_recorded_is_found(app, worker, monkeypatch):
    """It had named the model by the class that it had put around it."""
    agent = Agent(name="a", model=Named([says("hello"), says("fine"), says("bye")]))

    @app.workflow(name="flow")
    async def flow() -> list[str]:
        first = await run(agent, "hello")
        second = await run(first.last_agent, "how are you?")
        await actx.sleep("1h")
        third = await run(second.last_agent, "bye")
        return [str(one.final_output) for one in (first, second, third)]

    run_ = flow.start()
    with monkeypatch.context() as older:
        older.setattr(ModelInRun, "_called", lambda self, _: OLD_NAME if self._again else self.name)
        worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run_.result(0) == ["hello", "fine", "bye"]
    assert len(agent.model.calls) == 3
