"""People decide inside an agent's own loop: approvals and events that hold nothing, asked for and answered once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.capabilities import RequestInput
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, UserError
from pydantic_ai.external_events import wait_for_external_event
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext

from liteq import LiteQ
from liteq.exceptions import AgentStalled, RunEnded
from liteq.testing import WorkflowTest
from liteq.workflow import Run, actx
from liteq_pydantic_ai import Approvals, LiteQDurability, fail, resolve

from .scripted import Script, call, results

REFUNDS = [call("refund", order=7), call("refund", order=8)]


class Shop:
    """An agent that refunds, and what it has paid."""

    def __init__(self, app: LiteQ, script: Script, **approvals: Any) -> None:
        self.paid: list[int] = []
        self.script = script
        self.agent = Agent(
            script.model, name="support", capabilities=[LiteQDurability(retries=1), Approvals(**approvals)]
        )

        @self.agent.tool_plain(requires_approval=True)
        def refund(order: int) -> str:
            self.paid.append(order)
            return f"refunded {order}"

        @app.workflow(name="support")
        async def support(question: str) -> str:
            return (await self.agent.run(question)).output

        self.flow = support


def test_approvals_are_opened_together_and_hold_nothing(app: LiteQ, bench: WorkflowTest) -> None:
    shop = Shop(app, Script(REFUNDS, lambda m: f"{results(m)}"))
    runs = [bench.start(shop.flow, "refund") for _ in range(5)]
    assert [run.status for run in runs] == ["waiting"] * 5, "one process has begun all of them"
    for run in runs:
        first, second = sorted(run.approvals(), key=lambda one: one.title)
        assert first.title == "refund: order=7 (refund-7)"
        assert second.details == {"tool": "refund", "args": {"order": 8}, "tool_call_id": "refund-8"}
        run.approve(first.title, True, by="ann", data={"args": {"order": 70}})
        assert run.status == "waiting"
        run.approve(second.title, False, by="bob", comment="not this one")
        bench.advance(0)
        assert run.result(0) == "{'refund-7': 'refunded 70', 'refund-8': 'not this one'}"
    assert shop.paid == [70] * 5
    assert shop.script.asked == [0] * 5 + [1] * 5, "the model is asked twice a run"


def test_nobody_decides_in_time(app: LiteQ, bench: WorkflowTest) -> None:
    shop = Shop(app, Script(REFUNDS[:1], lambda m: f"{results(m)}"), timeout="2d")
    run = bench.start(shop.flow, "refund")
    bench.advance("2d")
    assert "nobody decided on it in time" in run.result(0)
    assert shop.paid == []


def test_a_timeout_may_approve(app: LiteQ, bench: WorkflowTest) -> None:
    shop = Shop(app, Script(REFUNDS[:1], "done"), timeout="2d", default=True)
    assert bench.run(shop.flow, "refund") == "done"
    assert shop.paid == [7]


def test_arguments_that_do_not_fit_go_back_to_the_model(app: LiteQ, bench: WorkflowTest) -> None:
    shop = Shop(app, Script(REFUNDS[:1], lambda m: f"{results(m)}"))
    run = bench.start(shop.flow, "refund")
    run.approve(run.approvals()[0].title, True, data={"args": {"order": "all"}})
    bench.advance(0)
    assert shop.paid == []
    assert "int" in run.result(0)


def test_a_comment_on_an_approval_goes_to_the_model(app: LiteQ, bench: WorkflowTest) -> None:
    shop = Shop(app, Script(REFUNDS[:1], lambda m: f"{m}"))
    run = bench.start(shop.flow, "refund")
    run.approve(run.approvals()[0].title, True, comment="be kind about it")
    bench.advance(0)
    assert "be kind about it" in run.result(0)


def test_a_tool_may_ask_for_itself_while_it_runs(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("pay", amount=5), call("pay", amount=500)], lambda m: f"{results(m)}")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability(), Approvals()])
    paid = []

    @agent.tool
    def pay(run: RunContext[None], amount: int) -> str:
        if amount > 100 and not run.tool_call_approved:
            raise ApprovalRequired(metadata={"limit": 100})
        paid.append(amount)
        return f"paid {amount}"

    @app.workflow(name="pays")
    async def pays() -> str:
        return (await agent.run("pay")).output

    run = bench.start(pays)
    assert paid == [5]
    (asked,) = run.approvals()
    assert asked.details["metadata"] == {"limit": 100}
    run.approve(asked.title, True)
    bench.advance(0)
    assert run.result(0) == "{'pay-5': 'paid 5', 'pay-500': 'paid 500'}"
    assert paid == [5, 500]


def test_outside_a_body_the_framework_is_asked_as_ever(app: LiteQ) -> None:
    script = Script(REFUNDS[:1], "done")
    agent = Agent(script.model, output_type=[str, DeferredToolRequests], capabilities=[Approvals()])

    @agent.tool_plain(requires_approval=True)
    def refund(order: int) -> str:
        raise AssertionError(f"{order} is refunded without consent")

    output = agent.run_sync("refund").output
    assert isinstance(output, DeferredToolRequests)
    assert [one.tool_call_id for one in output.approvals] == ["refund-7"]


def test_approvals_alone_ask_nobody_in_a_body(app: LiteQ, bench: WorkflowTest) -> None:
    """Each replay would open another one, as nothing of the agent is recorded."""
    script = Script(REFUNDS[:1], "done")
    agent = Agent(script.model, capabilities=[Approvals()])

    @agent.tool_plain(requires_approval=True)
    def refund(order: int) -> str:
        raise AssertionError(f"{order} is refunded without consent")

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("refund")).output

    run: Run[str] = bench.start(asks)
    assert run.approvals() == []
    with pytest.raises(UserError, match="Approvals needs LiteQDurability"):
        run.result(0)
    assert script.asked == [0]


# -- events ------------------------------------------------------------------------------------------------------------


class Desk:
    """An agent whose questions are handed to somebody by their token."""

    def __init__(self, app: LiteQ, timeout: timedelta | None = None) -> None:
        self.tokens: list[str] = []
        self.script = Script([call("ask_ann", q="why")], lambda m: f"{results(m)}")
        ask = RequestInput(self.ask, timeout=timeout)
        self.agent = Agent(self.script.model, name="desk", capabilities=[LiteQDurability(retries=2), ask])

        @self.agent.tool_plain
        def ask_ann(q: str) -> str:
            raise CallDeferred(kind="question")

        @app.workflow(name="desk")
        async def desk() -> str:
            return (await self.agent.run("?")).output

        self.flow = desk

    def ask(self, _: RunContext[Any], requests: DeferredToolRequests, token: str) -> DeferredToolResults | None:
        self.tokens.append(token)
        return None


def test_a_token_is_resolved_from_anywhere_once(app: LiteQ, bench: WorkflowTest) -> None:
    desk = Desk(app)
    run = bench.start(desk.flow)
    assert run.status == "waiting"
    (token,) = desk.tokens
    answer = DeferredToolResults(calls={"ask_ann-why": "because"})
    assert resolve(app, token, answer) is True
    assert resolve(app, token, DeferredToolResults(calls={"ask_ann-why": "another answer"})) is False
    bench.advance(0)
    assert run.result(0) == "{'ask_ann-why': 'because'}"
    assert len(desk.tokens) == 1, "a replay hands out no second token"
    with pytest.raises(RunEnded):
        resolve(app, f"{run.id}!other", answer)


def test_a_wait_may_fail_and_take_too_long(app: LiteQ, bench: WorkflowTest) -> None:
    desk = Desk(app, timeout=timedelta(hours=1))
    first, second = bench.start(desk.flow), bench.start(desk.flow)
    assert fail(app, desk.tokens[0], "ann has left")
    bench.advance("1h")
    assert "ann has left" in first.result(0)
    assert "No resolution arrived within 1:00:00" in second.result(0)


def test_an_answer_at_once_needs_no_event(app: LiteQ, bench: WorkflowTest) -> None:
    desk = Desk(app)
    desk.ask = lambda *_: DeferredToolResults(calls={"ask_ann-why": "policy"})  # type: ignore[method-assign]
    script = desk.script
    agent = Agent(script.model, name="desk2", capabilities=[LiteQDurability(), RequestInput(desk.ask)])
    agent.tool_plain(name="ask_ann")(_deferred)

    @app.workflow(name="desk2")
    async def flow() -> str:
        return (await agent.run("?")).output

    assert bench.run(flow) == "{'ask_ann-why': 'policy'}"


def _deferred(q: str) -> str:
    raise CallDeferred(kind="question")


def test_tools_in_the_body_wait_side_by_side(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("ask", who="ann"), call("ask", who="bob"), call("slow")], lambda m: f"{results(m)}")
    agent = Agent(script.model, name="asks", capabilities=[LiteQDurability()])
    tokens: dict[str, str] = {}

    @agent.tool_plain(metadata={"liteq": False})
    async def ask(who: str) -> Any:
        await actx.sleep("2h" if who == "ann" else "1h")
        return await wait_for_external_event("answer", ask=lambda token: tokens.update({who: token}))

    @agent.tool_plain
    async def slow() -> str:
        return "done"

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("?")).output

    run = bench.start(asks)
    bench.advance("2h")
    assert list(tokens) == ["bob", "ann"], "in the order in which they came to it"
    assert resolve(app, tokens["ann"], {"of": "ann"})
    bench.advance(0)
    assert run.status == "waiting"
    assert resolve(app, tokens["bob"], {"of": "bob"})
    bench.advance(0)
    assert run.result(0) == "{'ask-ann': {'of': 'ann'}, 'ask-bob': {'of': 'bob'}, 'slow-': 'done'}"


def test_what_is_no_token_is_told(app: LiteQ) -> None:
    with pytest.raises(ValueError, match="no token of a wait"):
        resolve(app, "something", {})


# -- circles -----------------------------------------------------------------------------------------------------------


def circling(app: LiteQ, stall: Any, script: Script) -> Any:
    agent = Agent(script.model, name="circles", capabilities=[LiteQDurability(stall=stall)])

    @agent.tool_plain
    def look(x: int) -> str:
        return "nothing"

    @app.workflow(name=f"circles {stall}")
    async def flow() -> str:
        return (await agent.run("look")).output

    return flow


@pytest.mark.parametrize("stall", [3, 4])
def test_an_agent_in_a_circle_ends(app: LiteQ, bench: WorkflowTest, stall: int) -> None:
    script = Script(lambda m: [call("look", id_=f"c{len(m)}", x=1)])
    with pytest.raises(AgentStalled, match=f"'look' {stall} times"):
        bench.run(circling(app, stall, script))
    assert len(script.asked) == stall


def test_an_agent_that_looks_elsewhere_goes_on(app: LiteQ, bench: WorkflowTest) -> None:
    lines = [[call("look", id_=f"c{n}", x=n // 2)] for n in range(6)]
    script = Script(*lines, "done")
    assert bench.run(circling(app, 3, script)) == "done"


def test_a_person_may_be_asked_whether_it_goes_on(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script(lambda m: [call("look", id_=f"c{len(m)}", x=1)])
    run: Run[str] = bench.start(circling(app, (2, "ask"), script))
    for ok in (True, False):
        (asked,) = run.approvals()
        run.approve(asked.title, ok, by="ann", comment="enough" if not ok else "")
        bench.advance(0)
    with pytest.raises(AgentStalled, match="ann has ended it: enough"):
        run.result(0)
    assert len(script.asked) == 4


@pytest.mark.parametrize("stall", [1, 0, "sometimes", (3, "always"), True])
def test_a_stall_that_is_none_is_refused(stall: Any) -> None:
    with pytest.raises(ValueError, match="stall is"):
        LiteQDurability(stall=stall)
