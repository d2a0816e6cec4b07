"""A run comes to rest whatever its steps have left open; sessions that are held over it are closed then."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import Any

import pytest

from liteq.workflow import actx
from liteq.workflow.activating.held import drop, held
from tests.integration.runs import killed_at


class Tools:
    """A server of tools as an agent's framework holds it: a task that pings, another that waits for its socket."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.tasks: list[asyncio.Task[Any]] = []

    @asynccontextmanager
    async def session(self):
        self.log.append("open")
        pings = asyncio.create_task(self.ping())
        self.tasks.append(pings)
        try:
            yield self
        finally:
            pings.cancel()
            self.log.append("close")

    async def ping(self) -> None:
        for n in range(1000):
            await asyncio.sleep(3600 + n)

    async def call(self, name: str) -> str:
        await asyncio.sleep(0)
        self.log.append(name)
        return name


@pytest.fixture
def tools():
    return Tools()


async def tool(tools: Tools, name: str) -> str:
    session = await held("tools", tools.session)
    return await session.call(name)


def test_a_session_is_one_for_all_steps_and_closed_while_the_run_waits(app, worker, tools):
    @app.workflow(name="agent")
    async def agent() -> list[str]:
        found = [await actx.step("tool", lambda: tool(tools, name), key=name) for name in ("a", "b")]
        await actx.wait_event("go")
        found.append(await actx.step("tool", lambda: tool(tools, "c"), key="c"))
        await actx.wait_event("go")
        return found

    run = agent.start()
    worker.run()
    assert tools.log == ["open", "a", "b", "close"]
    assert run.info().waiting_for == ["event go"]
    run.send("go")
    worker.run()
    assert tools.log[4:] == ["open", "c", "close"]
    run.send("go")
    worker.run()
    assert run.result(0) == ["a", "b", "c"]
    assert tools.log[7:] == [], "no later step needs it"
    assert all(task.done() for task in tools.tasks)


def test_a_session_takes_no_place_of_the_body(app, worker, tools):
    """The first run opens one and the replay does not: both number their branches alike."""

    @app.workflow(name="branches")
    async def branches() -> list[str]:
        await actx.step("tool", lambda: tool(tools, "a"))

        async def branch(n: int) -> str:
            return await actx.step("work", lambda: f"w{n}", args=(n,))

        first = await asyncio.gather(branch(1), branch(2))
        await actx.sleep("1h")
        return [*first, *(await asyncio.gather(branch(3), branch(4)))]

    run = branches.start()
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run.result(0) == ["w1", "w2", "w3", "w4"]


def test_steps_side_by_side_share_a_session_and_a_broken_one_is_dropped(app, worker, tools):
    async def fragile(name: str) -> str:
        session = await held("tools", tools.session)
        if tools.log.count("open") == 1:
            await drop("tools")
            raise ConnectionError("gone")
        return await session.call(name)

    @app.workflow(name="side")
    async def side() -> list[str]:
        async with asyncio.TaskGroup() as group:
            made = [group.create_task(one(name)) for name in ("a", "b", "c")]
        found = [task.result() for task in made]
        found.append(await actx.step("again", again, args=("d",)))
        return found

    async def one(name: str) -> str:
        return await actx.step("tool", lambda: tool(tools, name), key=name)

    @app.step(name="again", retries=1, backoff=0)
    async def again(name: str) -> str:
        return await fragile(name)

    run = side.start()
    worker.run()
    assert run.result(0) == ["a", "b", "c", "d"]
    assert [one for one in tools.log if one in ("open", "close")] == ["open", "close", "open", "close"]


def test_a_session_that_cannot_be_opened_fails_its_step(app, worker):
    @asynccontextmanager
    async def broken():
        raise ConnectionError("no server")
        yield

    @app.workflow(name="fails")
    async def fails() -> None:
        await actx.step("tool", lambda: held("tools", broken))

    run = fails.start()
    worker.run()
    with pytest.raises(ConnectionError, match="no server"):
        run.result(0)


def test_a_timer_that_a_step_has_left_does_not_keep_the_run(app, worker):
    """As the clients of providers do: a connection is kept for a while after the answer."""
    left: list[Any] = []

    async def request() -> str:
        left.append(asyncio.get_running_loop().call_later(3600, lambda: None))
        left.append(asyncio.create_task(asyncio.sleep(3600)))
        return "answer"

    @app.workflow(name="leaves")
    async def leaves() -> str:
        answer = await actx.step("request", request)
        await actx.wait_event("go")
        return answer

    run = leaves.start()
    worker.turn()
    assert run.info().waiting_for == ["event go"]
    run.send("go")
    worker.run()
    assert run.result(0) == "answer"
    left[0].cancel()


def test_a_timer_of_the_body_keeps_the_run_until_it_is_over(app, worker):
    async def rest() -> str:
        await asyncio.sleep(0.05)
        return "rested"

    @app.workflow(name="rests")
    async def rests() -> list[Any]:
        return await asyncio.gather(rest(), actx.step("work", rest), actx.wait_event("go", timeout=1, default="no"))

    run = rests.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert run.result(0) == ["rested", "rested", "no"]


def test_two_approvals_hold_nothing(app, worker):
    """One is given other arguments, one is denied, over restarts; the model is asked twice a run."""
    asked: list[str] = []

    async def model(turn: int) -> str:
        asked.append(f"model {turn}")
        return f"turn {turn}"

    async def called(name: str) -> str:
        decision = await actx.approval(f"tool {name}", key=f"approval {name}")
        if not decision.ok:
            return f"{name} was denied"
        return await actx.step("tool", lambda: f"{name} {decision.data}", key=f"tool {name}")

    @app.workflow(name="agent")
    async def agent() -> list[str]:
        await actx.step("model", model, key="m1", args=(1,))
        found = list(await asyncio.gather(called("a"), called("b")))
        return [*found, await actx.step("model", model, key="m2", args=(2,))]

    runs = [agent.start() for _ in range(5)]
    worker.run()
    assert [sorted(one.title for one in run.approvals()) for run in runs] == [["tool a", "tool b"]] * 5
    assert worker.claim() is None
    for run in runs:
        run.approve("tool a", data={"args": 7})
        run.approve("tool b", ok=False)
    worker.run()
    assert [run.result(0) for run in runs] == [["a {'args': 7}", "b was denied", "turn 2"]] * 5
    assert len(asked) == 10


@pytest.mark.parametrize("n", range(1, 10))
@pytest.mark.parametrize("before", [True, False])
def test_agents_inside_tools_are_recorded_step_by_step(app, worker, n, before):
    """Three at once, killed at each write; the keys are of the calls, whatever the order in which they come."""
    ran: list[str] = []

    async def work(name: str) -> str:
        await asyncio.sleep(random.random() / 500)
        ran.append(name)
        return name

    async def inner(name: str) -> list[str]:
        first = await actx.step("model", work, key=f"{name}.1", args=(f"{name}.1",))
        return [first, await actx.step("tool", work, key=f"{name}.2", args=(f"{name}.2",))]

    async def outer() -> list[list[str]]:
        return await asyncio.gather(*(inner(name) for name in "abc"))

    @app.workflow(name="nested")
    async def nested() -> list[Any]:
        question = await actx.step("model", work, key="0", args=("0",))
        return [question, *(await outer()), await actx.step("model", work, key="9", args=("9",))]

    run = nested.start()
    with killed_at(app, n, before=before):
        worker.turn()
    worker.run()
    assert run.result(0) == ["0", *([f"{name}.1", f"{name}.2"] for name in "abc"), "9"]
    once = {name for name in ran if ran.count(name) == 1}
    assert len(set(ran)) == 8
    assert len(set(ran) - once) <= 3


def test_a_tool_that_waits_does_not_cut_off_its_neighbours(app, worker):
    ran: list[str] = []

    async def slow() -> str:
        await asyncio.sleep(0.05)
        ran.append("slow")
        return "slow"

    async def patient() -> str:
        return f"approved {(await actx.approval('go on?')).ok}"

    @app.workflow(name="tools")
    async def tools_() -> list[str]:
        return await asyncio.gather(patient(), actx.step("slow", slow, key="s"), patient_twice())

    async def patient_twice() -> str:
        await actx.sleep(1)
        return await actx.step("slow", slow, key="t")

    run = tools_.start()
    worker.run()
    assert ran == ["slow"]
    app.clock.advance(1)
    worker.run()
    assert ran == ["slow", "slow"]
    assert run.info().waiting_for == ["approval go on?"]
    run.approve("go on?")
    worker.run()
    assert run.result(0) == ["approved True", "slow", "slow"]
    assert ran == ["slow", "slow"]
