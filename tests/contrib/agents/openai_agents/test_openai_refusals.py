"""Models and tools that do not answer: another model is asked, a failure is no answer, a timeout is the step's."""

from __future__ import annotations

import asyncio

import pytest
from agents import Agent, ModelSettings, RunConfig, Usage, function_tool
from agents.exceptions import ModelBehaviorError
from agents.models.interface import Model, ModelProvider
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from openai.types.responses import Response, ResponseError, ResponseFailedEvent

from liteq.exceptions import RateLimited
from liteq.workflow import StepOptions, actx
from liteq_openai_agents import run

PRICED = Usage(requests=1, input_tokens=100, output_tokens=10, total_tokens=110)


def says(text: str) -> ModelStep:
    return ModelStep(output=[assistant_message(text)], usage=PRICED)


class Models(ModelProvider):
    """Models by their names."""

    def __init__(self, **models: Model) -> None:
        self.models = models

    def get_model(self, model_name: str | None) -> Model:
        return self.models[str(model_name)]


@pytest.mark.parametrize("emit", [None, "tokens"])
def test_the_second_model_answers_while_the_first_is_paused(app, worker, emit):
    """The model that is asked is the one that the limits chose, and that is told as spent."""
    first, second = ScriptedModel([ModelStep(error=RateLimited(60))]), ScriptedModel([says("from the second")])
    config = RunConfig(model_provider=Models(large=first, small=second), tracing_disabled=True)

    @app.workflow(name="flow")
    async def flow() -> str:
        options = StepOptions(limits=["model:{model}"], fallback={"model": ["small"]})
        result = await run(Agent(name="a", model="large"), "go", run_config=config, model=options, emit=emit)
        return str(result.final_output)

    run_ = flow.start()
    worker.run()
    assert run_.result(0) == "from the second"
    assert (len(first.calls), len(second.calls)) == (1, 1)
    assert list(run_.usage().models) == ["small"]


class Failing(ScriptedModel):
    """A model whose first stream ends with a failure."""

    failed = False

    async def stream_response(self, *args, **kwargs):
        if not self.failed:
            self.failed = True
            error = ResponseError(code="server_error", message="overloaded")
            response = Response(
                id="r1", created_at=0, model="m", object="response", output=[], parallel_tool_calls=False, tools=[],
                tool_choice="auto", error=error, status="failed",
            )  # fmt: skip
            yield ResponseFailedEvent(response=response, sequence_number=0, type="response.failed")
            return
        async for event in super().stream_response(*args, **kwargs):
            yield event


@pytest.mark.parametrize("retries", [0, 1])
def test_a_stream_that_fails_is_no_answer(app, worker, retries):
    """It is tried again as the options say; it was recorded as an answer without a word."""

    @app.workflow(name="flow")
    async def flow() -> str:
        agent = Agent(name="a", model=Failing([says("up again")]))
        options = StepOptions(retries=retries, backoff=0)
        return str((await run(agent, "go", emit="tokens", model=options)).final_output)

    run_ = flow.start()
    worker.run()
    if retries:
        assert run_.result(0) == "up again"
    else:
        with pytest.raises(ModelBehaviorError, match="server_error: overloaded"):
            run_.result(0)


class Slow(ScriptedModel):
    """A model that does not answer the first request."""

    asked = 0

    async def get_response(self, *args, **kwargs):
        self.asked += 1
        if self.asked == 1:
            await asyncio.Event().wait()
        return await super().get_response(*args, **kwargs)


def test_the_timeout_of_a_request_is_an_attempt_of_its_step(app, worker):
    """A request that went on behind its timeout was recorded as an answer that the loop had not had."""
    model = Slow([says("at last")])

    @app.workflow(name="flow")
    async def flow() -> str:
        agent = Agent(name="a", model=model, model_settings=ModelSettings(timeout=0.05))
        return str((await run(agent, "go", model=StepOptions(retries=1, backoff=0))).final_output)

    run_ = flow.start()
    worker.run()
    assert run_.result(0) == "at last"
    assert [step.attempts for step in run_.steps()] == [2]


def test_the_timeout_of_a_tool_is_a_part_of_its_step(app, worker):
    """The model is told of a timeout, in a replay too: the tool is not waited for behind it."""
    begun = []

    @function_tool(timeout=0.05)
    async def slow() -> str:
        begun.append(1)
        await asyncio.sleep(0.5)
        return "too late"

    asks = ModelStep(output=[function_call("slow", {}, call_id="c1")], usage=PRICED)
    model = ScriptedModel([asks, says("I gave up")])

    @app.workflow(name="flow")
    async def flow() -> str:
        result = await run(Agent(name="a", model=model, tools=[slow]), "go")
        await actx.wait_event("go")
        return str(result.final_output)

    run_ = flow.start()
    worker.run()
    run_.send("go")
    worker.run()
    assert run_.result(0) == "I gave up"
    assert begun == [1]
    (told,) = [step.output for step in run_.steps() if step.name == "a__tool.slow"]
    assert told == "Tool 'slow' timed out after 0.05 seconds."
