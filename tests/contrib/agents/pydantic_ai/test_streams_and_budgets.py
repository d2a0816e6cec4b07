"""An agent is heard while it speaks, and spends no more than it may."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterable
from decimal import Decimal
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.capabilities import ProcessHistory
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import AgentStreamEvent, ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import AgentInfo
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage

from liteq import LiteQ
from liteq.exceptions import BudgetExceeded
from liteq.testing import WorkflowTest
from liteq.workflow import Budget, StepOptions, actx
from liteq_pydantic_ai import LiteQDurability, spending

from .scripted import Script, call


def talking(app: LiteQ, durability: LiteQDurability[None], script: Script) -> Any:
    agent = Agent(script.model, name="talks", capabilities=[durability])

    @agent.tool_plain
    def look(x: int) -> int:
        return x

    @agent.tool_plain(metadata={"liteq": False})
    async def slow() -> str:
        await actx.sleep("1h")
        return "slept"

    @app.workflow(name="talks")
    async def talks() -> str:
        output = (await agent.run("?")).output
        await actx.sleep("1h")
        return output

    return talks


def lines() -> Script:
    return Script([call("look", x=1), call("slow")], "one two three")


def test_tokens_are_in_the_runs_stream_once(app: LiteQ, bench: WorkflowTest) -> None:
    run = bench.start(talking(app, LiteQDurability(emit="tokens"), lines()))
    bench.advance("2h")
    assert run.result(0) == "one two three"
    assert [(chunk.data, chunk.attempt) for chunk in run.stream("tokens")] == [
        ("one", 1), (" two", 1), (" three", 1),
    ]  # fmt: skip


def test_events_of_tools_are_in_the_stream_and_no_steps(app: LiteQ, bench: WorkflowTest) -> None:
    run = bench.start(talking(app, LiteQDurability(emit="events"), lines()))
    bench.advance("2h")
    kinds = [chunk.data["event_kind"] for chunk in run.stream("events")]
    assert kinds.count("function_tool_call") == 2
    assert kinds.count("function_tool_result") == 2
    assert kinds.count("part_delta") == 2
    assert kinds.index("function_tool_call") < kinds.index("function_tool_result") < kinds.index("part_delta")
    assert len([step for step in run.steps() if step.kind == "step"]) == 3


def test_a_handler_has_each_event_in_a_step(app: LiteQ, bench: WorkflowTest) -> None:
    seen: list[str] = []

    async def handler(_: RunContext[None], events: AsyncIterable[AgentStreamEvent]) -> None:
        seen.extend([event.event_kind async for event in events])

    run = bench.start(talking(app, LiteQDurability(emit="tokens", event_stream_handler=handler), lines()))
    bench.advance("2h")
    assert run.result(0) == "one two three"
    assert seen.count("function_tool_call") == seen.count("function_tool_result") == 2
    names = [step.name for step in run.steps()]
    assert names.count("talks__event_stream_handler") == 4
    assert names.count("talks__model.request_stream") == 2
    assert "".join(chunk.data for chunk in run.stream("tokens")) == "one two three"


@pytest.mark.parametrize("emit", ["token", "all", True])
def test_what_is_not_emitted_is_told(emit: Any) -> None:
    with pytest.raises(ValueError, match="emit is 'tokens', 'events' or None"):
        LiteQDurability(emit=emit)


# -- budgets of one agent ----------------------------------------------------------------------------------------------


def budgeted(app: LiteQ, budget: Budget, script: Script) -> Any:
    agent = Agent(script.model, name="spends", capabilities=[LiteQDurability(budget=budget)])

    @agent.tool_plain
    def look(x: int) -> int:
        return x

    @app.workflow(name="spends")
    async def spends() -> str:
        return (await agent.run("?")).output

    return spends


def rounds(n: int) -> Script:
    return Script(*([call("look", id_=f"c{i}", x=i)] for i in range(n)), "done")


@pytest.mark.parametrize("budget", [Budget(requests=3), Budget(tokens=240)])
def test_a_budget_ends_the_agent_before_the_request_that_would_break_it(
    app: LiteQ, bench: WorkflowTest, budget: Budget
) -> None:
    script = rounds(9)
    with pytest.raises(BudgetExceeded, match="'spends' has spent"):
        bench.run(budgeted(app, budget, script))
    assert script.asked == [0, 1, 2]


def test_a_person_may_add_to_it(app: LiteQ, bench: WorkflowTest) -> None:
    script = rounds(4)
    run = bench.start(budgeted(app, Budget(requests=2, on_exceed="ask"), script))
    for n in (1, 2):
        (asked,) = run.approvals()
        assert asked.title == "add how much? requests of spends"
        run.approve(asked.title, True, data={"add": n})
        bench.advance(0)
    assert run.result(0) == "done"
    assert script.asked == [0, 1, 2, 3, 4]
    run = bench.start(budgeted(app, Budget(requests=2, on_exceed="ask"), script))
    for none in (None, {}, {"add": "-5"}, {"add": "0"}, {"add": "many"}, {"add": True}):
        with pytest.raises(ValueError, match="nothing was decided"):
            run.approve(run.approvals()[0].title, True, data=none)
    run.approve(run.approvals()[0].title, False, by="ann", comment="no more")
    bench.advance(0)
    with pytest.raises(BudgetExceeded, match="ann adds nothing: no more"):
        run.result(0)


class Priced(Script):
    """A script whose answers cost 0.10 each."""

    def _whole(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        response = super()._whole(messages, info)
        response.usage = RequestUsage(input_tokens=10, output_tokens=1, cost=Decimal("0.10"))
        return response


def test_a_history_that_is_cut_hides_nothing_from_a_budget_of_money(app: LiteQ, bench: WorkflowTest) -> None:
    """Only the answers that were in the history were counted."""
    script = Priced([call("look", x=1)])
    durability = LiteQDurability[None](budget=Budget(cost="0.25"), stall=None)
    cut = ProcessHistory[None](lambda messages: messages[-1:])
    agent = Agent(script.model, name="spends", capabilities=[cut, durability])
    agent.tool_plain(lambda x: x, name="look")

    @app.workflow(name="spends")
    async def spends() -> str:
        return (await agent.run("?")).output

    with pytest.raises(BudgetExceeded, match=r"has spent 0\.30 of 0\.25 cost"):
        bench.run(spends)
    assert len(script.asked) == 3


@pytest.mark.parametrize("place", ["a step", "the body"])
def test_a_budget_of_money_counts_agents_inside_tools(app: LiteQ, bench: WorkflowTest, place: str) -> None:
    """In a step, the price as text could not be added; in the body it was not counted."""
    inner = Agent(Priced("found").model, name="inner", capabilities=[LiteQDurability()])
    script = Priced([call("ask", x=1)], "done")
    outer = Agent(script.model, name="outer", capabilities=[LiteQDurability(budget=Budget(cost="0.25"))])

    @outer.tool(metadata={"liteq": {} if place == "a step" else False})
    async def ask(run: RunContext[None], x: int) -> str:
        return (await inner.run(str(x), usage=run.usage)).output

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await outer.run("?")).output

    with pytest.raises(BudgetExceeded, match=r"'outer' has spent 0\.20 of 0\.25 cost"):
        bench.run(asks)
    assert script.asked == [0]


def test_a_request_that_is_paid_is_not_refused_by_a_replay(app: LiteQ, bench: WorkflowTest) -> None:
    """Which may count more than the liteq that has let it pass."""
    script = rounds(3)

    @app.workflow(name="spends")
    async def spends() -> str:
        agent = Agent(script.model, name="spends", capabilities=[LiteQDurability(budget=budgets[0])])
        agent.tool_plain(lambda x: x, name="look")
        output = (await agent.run("?")).output
        await actx.sleep("1h")
        return output

    budgets = [Budget(requests=9)]
    run = bench.start(spends)
    budgets[0] = Budget(requests=2)
    bench.advance("1h")
    assert run.result(0) == "done"
    assert script.asked == [0, 1, 2, 3]


# -- usage, limits, outages --------------------------------------------------------------------------------------------


def test_the_usage_of_a_run_is_its_recorded_answers(app: LiteQ, bench: WorkflowTest) -> None:
    """Over retries, the memo, agents inside tools, and replays; the framework's own count is the same in each."""
    inner = Agent(Script([call("fetch")], "found", name="inner").model, name="inner", capabilities=[LiteQDurability()])
    silent = Agent(Script([call("fetch")], "found", name="silent").model, name="silent")
    for agent in (inner, silent):
        agent.tool_plain(lambda: 1, name="fetch")
    outer = Agent(
        Script([call("ask", x=1), call("ask", x=2)], "done", name="outer").model, name="outer",
        capabilities=[LiteQDurability(memo="1d")],
    )  # fmt: skip
    tries: list[int] = []

    @outer.tool(metadata={"liteq": {"retries": 1, "backoff": 0}})
    async def ask(run: RunContext[None], x: int) -> str:
        tries.append(x)
        if tries.count(2) == 1:
            raise OSError("not yet")
        return f"{(await (inner if x == 1 else silent).run(str(x), usage=run.usage)).output}"

    usages = []

    @app.workflow(name="asks")
    async def asks() -> str:
        result = await outer.run("?")
        usages.append(result.usage)
        await actx.sleep("1h")
        return result.output

    first = bench.start(asks)
    bench.advance("1h")
    found = first.usage()
    assert first.result(0) == "done"
    assert found.requests == 6
    assert {name: one.requests for name, one in found.models.items()} == {"inner": 2, "outer": 2}
    assert usages[0] == usages[1]
    assert (usages[0].requests, usages[0].input_tokens) == (6, found.input_tokens)
    again = bench.start(asks)
    bench.advance("1h")
    assert (again.usage().requests, again.usage().memo_hits) == (4, 2), "inside the tools it was asked for again"


def test_a_budget_of_the_workflow_holds_for_its_agents(app: LiteQ, bench: WorkflowTest) -> None:
    script = rounds(9)
    agent = Agent(script.model, name="spends", capabilities=[LiteQDurability()])
    agent.tool_plain(lambda x: x, name="look")

    @app.workflow(name="spends", budget=Budget(requests=3))
    async def spends() -> str:
        return (await agent.run("?")).output

    run = bench.start(spends)
    with pytest.raises(BudgetExceeded):
        run.result(0)
    assert script.asked == [0, 1, 2]
    assert run.usage().requests == 3


def test_a_refusal_pauses_the_model_and_counts_no_attempt(app: LiteQ, bench: WorkflowTest) -> None:
    refusals = [ModelHTTPError(429, "m", headers={"Retry-After": "60"})]
    script = Script(lambda _: refusals.pop() if refusals else "done", name="m")
    agent = Agent(script.model, name="asks", capabilities=[LiteQDurability(limits=["model:{model}"])])

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("?")).output

    first = bench.start(asks)
    second = bench.start(asks)
    assert (first.status, second.status) == ("waiting", "waiting")
    assert script.asked == [0], "nobody asks before its time"
    bench.advance("2m")
    assert (first.result(0), second.result(0)) == ("done", "done")
    assert [step.attempts for step in (*first.steps(), *second.steps())] == [1, 1]


def test_another_model_takes_over(app: LiteQ, bench: WorkflowTest) -> None:
    first = Script(ModelHTTPError(429, "m1", headers={"Retry-After": "600"}), name="m1")
    other = Script("from the other", name="m2")
    durability = LiteQDurability[None](
        limits=["model:{model}"], model=StepOptions(fallback={"model": ["m2"]}), models={"m2": other.model}
    )
    agent = Agent(first.model, name="asks", capabilities=[durability])

    @app.workflow(name="asks")
    async def asks() -> str:
        output = (await agent.run("?")).output
        await actx.sleep("1s")
        return output

    runs = [bench.start(asks) for _ in range(3)]
    bench.advance("1s")
    assert [run.result(0) for run in runs] == ["from the other"] * 3
    assert (first.asked, other.asked) == ([0], [0, 0, 0])


def test_one_request_goes_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of a provider would repeat it by itself, and a limit would count what nobody sees."""
    seen: list[int] = []

    class Client:
        max_retries = 2

    class Talking(TestModel):
        client = Client()

        async def request(self, *args: Any, **kwargs: Any) -> ModelResponse:
            seen.append(self.client.max_retries)
            return await super().request(*args, **kwargs)

    model = Talking()
    monkeypatch.setattr(spending, "spend", lambda *_: None)
    asyncio.run(spending.Counted(model).request([], None, ModelRequestParameters()))
    assert (seen, model.client.max_retries) == ([0], 2)


def test_a_client_that_several_threads_share_sends_a_request_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second thread asked before the first one had told the client."""
    seen: list[int] = []

    class Client:
        _told = 2

        @property
        def max_retries(self) -> int:
            time.sleep(0.1)
            return self._told

        @max_retries.setter
        def max_retries(self, told: int) -> None:
            self._told = told

    class Talking(TestModel):
        client = Client()

        async def request(self, *args: Any, **kwargs: Any) -> ModelResponse:
            seen.append(self.client._told)
            return await super().request(*args, **kwargs)

    model = Talking()
    monkeypatch.setattr(spending, "spend", lambda *_: None)

    def ask() -> None:
        asyncio.run(spending.Counted(model).request([], None, ModelRequestParameters()))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (seen, model.client._told) == ([0, 0, 0], 2)
