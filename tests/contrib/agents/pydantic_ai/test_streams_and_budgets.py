"""An agent is heard while it speaks, and spends no more than it may."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import AgentStreamEvent
from pydantic_ai.tools import RunContext

from liteq import LiteQ
from liteq.exceptions import BudgetExceeded
from liteq.testing import WorkflowTest
from liteq.workflow import Budget, actx
from liteq_pydantic_ai import LiteQDurability

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


def spending(app: LiteQ, budget: Budget, script: Script) -> Any:
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
        bench.run(spending(app, budget, script))
    assert script.asked == [0, 1, 2]


def test_a_person_may_add_to_it(app: LiteQ, bench: WorkflowTest) -> None:
    script = rounds(4)
    run = bench.start(spending(app, Budget(requests=2, on_exceed="ask"), script))
    for n in (1, 2):
        (asked,) = run.approvals()
        assert asked.title == "add how much? requests of spends"
        run.approve(asked.title, True, data={"add": n})
        bench.advance(0)
    assert run.result(0) == "done"
    assert script.asked == [0, 1, 2, 3, 4]
    run = bench.start(spending(app, Budget(requests=2, on_exceed="ask"), script))
    run.approve(run.approvals()[0].title, False, by="ann", comment="no more")
    bench.advance(0)
    with pytest.raises(BudgetExceeded, match="ann adds nothing: no more"):
        run.result(0)
