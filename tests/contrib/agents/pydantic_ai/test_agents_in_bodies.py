"""Agents in the body of a workflow: what they do are steps, asked for once, whatever happens around them."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.durable_exec import BaseDurabilityCapability
from pydantic_ai.exceptions import ModelHTTPError, ModelRetry, UserError
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import Tool
from pydantic_ai.toolsets import DynamicToolset, FunctionToolset
from pydantic_ai.usage import RunUsage

from liteq import LiteQ
from liteq.exceptions import NotSerializable, WorkflowError
from liteq.testing import WorkflowTest
from liteq.workflow import Done, StepOptions, actx, ctx
from liteq_pydantic_ai import LiteQDurability, pool_tool
from tests.integration.runs import Killed, Worker, new_app

from .scripted import Script, call, results


def steps_of(run: Any) -> list[str]:
    return sorted(step.name for step in run.steps() if step.kind == "step")


def test_a_whole_number_may_be_of_any_size(app: LiteQ, bench: WorkflowTest) -> None:
    """JSON has them, models say them, and tools return them: amounts of a chain, say."""
    script = Script([call("double", wei=10**20)], lambda messages: str(results(messages)))
    agent = Agent(script.model, name="bank", capabilities=[LiteQDurability()])

    @agent.tool_plain
    def double(wei: int) -> int:
        return 2 * wei

    @app.workflow(name="asks")
    async def asks() -> str:
        answer = (await agent.run("?")).output
        await actx.sleep("1h")
        return answer

    run = bench.start(asks)
    bench.advance("1h")
    assert str(2 * 10**20) in run.result(0)


def test_requests_and_tools_are_steps_with_the_frameworks_names(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("look", x=1), call("look", x=2)], "seen")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability()])
    looked = []

    @agent.tool_plain
    def look(x: int) -> str:
        looked.append(x)
        return f"{x}!"

    @app.workflow(name="asks")
    async def asks(question: str) -> str:
        answer = (await agent.run(question)).output
        await actx.sleep("1h")
        return answer

    run = bench.start(asks, "what?")
    bench.advance("1h")
    assert run.result(0) == "seen"
    assert steps_of(run) == [
        "support__function_toolset__<agent>.call_tool.look",
        "support__function_toolset__<agent>.call_tool.look",
        "support__model.request",
        "support__model.request",
    ]
    keys = [step.key for step in run.steps() if step.kind == "step"]
    assert len(set(keys)) == 4
    assert all(key.startswith(":1|") for key in keys)
    assert (script.asked, sorted(looked)) == ([0, 1], [1, 2]), "the replay has asked for nothing"


def test_elsewhere_the_agent_is_as_without(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("look", x=1)], "seen")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability(emit="tokens")])
    places = []

    @agent.tool_plain(metadata={"liteq": {"doubt": "ask"}})
    def look(x: int) -> str:
        places.append(ctx.place)
        return f"{x}!"

    assert agent.run_sync("what?").output == "seen"

    @app.step
    async def in_a_step(question: str) -> str:
        return (await agent.run(question)).output

    @app.workflow(name="asks in a step")
    async def asks(question: str) -> str:
        return await in_a_step(question)

    run = bench.start(asks, "what?")
    assert run.result(0) == "seen"
    assert len(run.steps()) == 1
    assert places == [None, "step"]


def test_it_is_an_engine_of_the_frameworks_own_kind() -> None:
    assert issubclass(LiteQDurability, BaseDurabilityCapability)
    agent = Agent(TestModel(), name="support", capabilities=[LiteQDurability(name="other")])
    found = LiteQDurability.from_agent(agent)
    assert found is not None
    assert (found.name, found.engine_name, found.in_durable_context) == ("other", "liteq", False)


def test_a_body_that_is_not_async_is_told_what_to_do(app: LiteQ, bench: WorkflowTest) -> None:
    agent = Agent(TestModel(), name="support", capabilities=[LiteQDurability()])

    @app.workflow(name="not async")
    def asks() -> str:
        return agent.run_sync("what?").output

    with pytest.raises(WorkflowError, match="make the workflow async"):
        bench.run(asks)


# -- options -----------------------------------------------------------------------------------------------------------


def test_a_request_is_one_step_with_its_retries(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script(ModelHTTPError(500, "m"), name="m")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability(model=StepOptions(retries=2, backoff=0))])

    @app.workflow(name="asks")
    async def asks() -> str:
        try:
            return (await agent.run("what?")).output
        except ModelHTTPError as exc:
            return f"failed with {exc.status_code}"

    run = bench.start(asks)
    assert run.result(0) == "failed with 500"
    assert [(step.attempts, step.status) for step in run.steps()] == [(3, "failed")]
    assert script.asked == [0, 0, 0]


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_what_was_refused_is_not_asked_for_again(app: LiteQ, bench: WorkflowTest, status: int) -> None:
    script = Script(ModelHTTPError(status, "m"))
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability(retries=5)])

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("what?")).output

    with pytest.raises(ModelHTTPError) as found:
        bench.run(asks)
    assert (found.value.status_code, script.asked) == (status, [0])


def test_a_tool_has_options_of_its_own(app: LiteQ, bench: WorkflowTest) -> None:
    agent = Agent(Script([call("fails")], "done").model, name="support", capabilities=[LiteQDurability()])
    tries = []

    @agent.tool_plain(metadata={"liteq": {"retries": 2, "backoff": 0}})
    def fails() -> str:
        tries.append(ctx.step_key)
        if len(tries) < 3:
            raise OSError("not yet")
        return "now"

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("what?")).output

    assert bench.run(asks) == "done"
    assert len(tries) == 3
    assert len(set(tries)) == 1, "one step_key over all attempts"


@pytest.mark.parametrize(
    ("said", "why"), [({"retrys": 3}, "did you mean 'retries'"), ("twice", "options of a step"), ({"tx": True}, "tx=")]
)
def test_options_that_are_none_are_refused(app: LiteQ, bench: WorkflowTest, said: Any, why: str) -> None:
    agent = Agent(Script([call("look")], "done").model, name="support", capabilities=[LiteQDurability()])

    @agent.tool_plain(metadata={"liteq": said})
    def look() -> str:
        return "here"

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("what?")).output

    with pytest.raises(UserError, match=why):
        bench.run(asks)


def test_an_answer_may_be_kept_for_the_same_question(app: LiteQ, bench: WorkflowTest) -> None:
    """Ids of calls, runs and times differ from run to run; the question is the same."""
    script = Script(lambda _: [call("look", id_=f"id-{len(script.asked)}", x=1)], lambda m: f"{results(m)}")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability(memo="1d")])

    @agent.tool_plain
    def look(x: int) -> str:
        return f"{x}!"

    @app.workflow(name="asks")
    async def asks(question: str) -> str:
        return (await agent.run(question)).output

    first = bench.run(asks, "what?")
    bench.advance("1h")
    assert bench.run(asks, "what?") == first
    assert script.asked == [0, 1]
    bench.run(asks, "and this?")
    assert script.asked == [0, 1, 0, 1]
    other = Agent(script.model, name="support", capabilities=[LiteQDurability(memo="1d")], tools=[len])

    @app.workflow(name="asks with another tool")
    async def asks_otherwise(question: str) -> str:
        return (await other.run(question)).output

    bench.run(asks_otherwise, "what?")
    assert script.asked == [0, 1, 0, 1, 0, 1], "with another tool it is another request"


# -- places ------------------------------------------------------------------------------------------------------------


def test_tasks_of_the_framework_take_no_place_of_the_body(app: LiteQ, bench: WorkflowTest) -> None:
    """How many tasks it makes depends on what is ready when; a replay has everything at once."""
    calls = [call("look", x=x) for x in range(6)]
    agent = Agent(Script(calls, "done").model, name="support", capabilities=[LiteQDurability()])

    @agent.tool_plain
    async def look(x: int) -> int:
        await asyncio.sleep(0.01 * (6 - x))
        return x

    @app.step
    async def add(x: int) -> int:
        return x + 1

    async def slowly(x: int) -> int:
        await actx.sleep("1h")
        return await add(x)

    @app.workflow(name="asks")
    async def asks() -> list[int]:
        await agent.run("what?")
        first = list(await asyncio.gather(slowly(1), slowly(2)))
        await agent.run("and?")
        return first + list(await asyncio.gather(slowly(3), slowly(4)))

    assert bench.run(asks) == [2, 3, 4, 5]


def test_a_tool_in_the_body_waits_and_its_neighbours_are_not_cut_off(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("slow"), call("look", x=1), call("look", x=2)], lambda m: f"{results(m)}")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability()])
    looked = []

    @agent.tool_plain(metadata={"liteq": False})
    async def slow() -> str:
        await actx.sleep("2h")
        return "slept"

    @agent.tool_plain
    async def look(x: int) -> int:
        await asyncio.sleep(0.05)
        looked.append(x)
        return x

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("what?")).output

    run = bench.start(asks)
    assert run.status == "waiting"
    assert sorted(looked) == [1, 2]
    bench.advance("2h")
    assert run.result(0) == "{'slow-': 'slept', 'look-1': 1, 'look-2': 2}"
    assert sorted(looked) == [1, 2]


def test_agents_inside_tools_are_recorded_step_by_step(app: LiteQ, bench: WorkflowTest) -> None:
    inner_script = Script([call("fetch", x=1)], "found", name="inner")
    inner = Agent(inner_script.model, name="inner", capabilities=[LiteQDurability()])
    outer_script = Script(
        [call("ask", x=x) for x in range(3)], lambda m: f"{sorted(results(m).values())}", name="outer"
    )
    outer = Agent(outer_script.model, name="outer", capabilities=[LiteQDurability()])
    fetched = []

    @inner.tool_plain
    async def fetch(x: int) -> int:
        await asyncio.sleep(0.01)
        fetched.append(x)
        return x

    @outer.tool(metadata={"liteq": False})
    async def ask(run: RunContext[None], x: int) -> str:
        found = await inner.run(f"question {x}", usage=run.usage)
        await actx.sleep(f"{x + 1}h")
        return f"{found.output} {x}"

    usages: list[RunUsage] = []

    @app.workflow(name="asks")
    async def asks() -> str:
        result = await outer.run("what?")
        usages.append(result.usage)
        await actx.sleep("1h")
        return result.output

    run = bench.start(asks)
    bench.advance("5h")
    assert run.result(0) == "['found 0', 'found 1', 'found 2']"
    assert len(inner_script.asked) == 6
    assert len(fetched) == 3
    assert outer_script.asked == [0, 1]
    assert steps_of(run).count("inner__model.request") == 6
    assert len(usages) == 2
    assert usages[0] == usages[1]
    assert usages[0].requests == 8


def test_an_agent_inside_a_step_is_counted_in_replays_too(app: LiteQ, bench: WorkflowTest) -> None:
    inner = Agent(Script([call("fetch")], "found", name="inner").model, name="inner", tools=[])
    inner.tool_plain(lambda: 1, name="fetch")
    outer = Agent(
        Script([call("ask", x=1), call("ask", x=2)], "done").model, name="outer", capabilities=[LiteQDurability()]
    )

    @outer.tool
    async def ask(run: RunContext[None], x: int) -> str:
        return f"{(await inner.run(f'{x}', usage=run.usage)).output} {x}"

    usages: list[RunUsage] = []

    @app.workflow(name="asks")
    async def asks() -> str:
        result = await outer.run("what?")
        usages.append(result.usage)
        await actx.sleep("1h")
        return result.output

    assert bench.run(asks) == "done"
    assert len(usages) == 2
    assert usages[0] == usages[1]
    assert usages[0].requests == 6


# -- results -----------------------------------------------------------------------------------------------------------


class Handle:
    """Something that has no JSON form."""


def test_a_result_that_cannot_be_carried_over_fails_the_run_by_name(app: LiteQ, bench: WorkflowTest) -> None:
    agent = Agent(Script([call("opens")], "done").model, name="support", capabilities=[LiteQDurability(retries=3)])
    opened = []

    @agent.tool_plain
    def opens() -> Any:
        opened.append(1)
        return Handle()

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("what?")).output

    with pytest.raises(NotSerializable, match=r"tool 'opens' is a .*Handle"):
        bench.run(asks)
    assert opened == [1], "another attempt would open it again, in vain"


def test_a_tool_may_ask_the_model_to_try_again(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("look", x=1)], [call("look", x=2)], lambda m: f"{results(m)}")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability()])

    @agent.tool_plain(retries=2)
    def look(x: int) -> str:
        if x == 1:
            raise ModelRetry("another one")
        return "there"

    @app.workflow(name="asks")
    async def asks() -> str:
        output = (await agent.run("what?")).output
        await actx.sleep(1)
        return output

    assert "there" in bench.run(asks)
    assert script.asked == [0, 1, 2]


# -- other tools -------------------------------------------------------------------------------------------------------


@dataclass
class Deps:
    """Something that is never stored."""

    lock: Any
    name: str


def test_deps_stay_in_the_body(app: LiteQ, bench: WorkflowTest) -> None:
    agent = Agent(
        Script([call("who")], lambda m: results(m)["who-"]).model,
        name="support",
        deps_type=Deps,
        capabilities=[LiteQDurability[Deps]()],
    )

    @agent.tool
    def who(run: RunContext[Deps]) -> str:
        with run.deps.lock:
            return run.deps.name

    @app.workflow(name="asks")
    async def asks(name: str) -> str:
        return (await agent.run("who?", deps=Deps(threading.Lock(), name))).output

    assert bench.run(asks, "ann") == "ann"


def test_a_tool_may_be_a_task_in_the_pool(app: LiteQ, bench: WorkflowTest) -> None:
    @app.task(name="shop.render", queue="slow")
    def render(page: int, scale: float = 1.0) -> str:
        """Render a page."""
        return f"page {page} at {scale}"

    script = Script([call("render", page=1), call("render", page=2)], lambda m: f"{results(m)}")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability()], tools=[pool_tool(render)])

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("render")).output

    run = bench.start(asks)
    assert run.result(0) == "{'render-1': 'page 1 at 1.0', 'render-2': 'page 2 at 1.0'}"
    assert [step.name for step in run.steps() if step.kind == "call"] == ["shop.render", "shop.render"]
    assert agent.run_sync("render").output == run.result(0), "elsewhere the function is called"


def test_a_function_tool_that_a_run_is_given_is_a_step_too(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("look", x=1)], [call("look", x=2)], lambda m: f"{results(m)}")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability()])
    looked = []

    def look(x: int) -> dict[str, int]:
        looked.append(x)
        if x == 1:
            raise ModelRetry("not this")
        return {"x": x}

    @app.workflow(name="asks")
    async def asks() -> str:
        output = (await agent.run("what?", toolsets=[FunctionToolset([look], id="given", max_retries=2)])).output
        await actx.sleep(1)
        return output

    assert "'look-2': {'x': 2}" in bench.run(asks)
    assert looked == [1, 2]


def test_a_call_that_an_older_liteq_has_recorded_is_read(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script([call("look", x=1)], lambda m: f"{results(m)}")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability()])

    def look(x: int) -> dict[str, int]:
        return {"x": x}

    @app.workflow(name="asks")
    async def asks() -> str:
        result = await agent.run("what?", toolsets=[FunctionToolset([look], id="given")])
        await actx.sleep("1h")
        return result.output

    run = bench.start(asks)
    with app.storage.driver.write() as tx:
        old = b'{"end":"value","result":{"x":1}}'
        assert tx.executemany("UPDATE liteq_steps SET output = ? WHERE name LIKE '%.look'", [(old,)]) == 1
    bench.advance(3600)
    assert run.result(0) == "{'look-1': {'x': 1}}"


@pytest.mark.parametrize("how", ["tools", "toolsets"])
def test_tools_in_the_place_of_the_agents_own_are_steps_too(app: LiteQ, bench: WorkflowTest, how: str) -> None:
    script = Script([call("look", x=1)], lambda m: f"{results(m)}")
    looked = []

    def look(x: int) -> str:
        looked.append(f"another in a {ctx.place}")
        return "another"

    def own(x: int) -> str:
        raise AssertionError("another stands in its place")

    toolset = FunctionToolset([Tool(own, name="look")], id="own")
    agent = Agent(script.model, name="support", toolsets=[toolset], capabilities=[LiteQDurability()])

    @app.workflow(name="asks")
    async def asks() -> str:
        other: dict[str, Any] = (
            {"tools": [look]} if how == "tools" else {"toolsets": [FunctionToolset([look], id="own")]}
        )
        with agent.override(**{"toolsets": [], **other}):
            output = (await agent.run("what?")).output
        await actx.sleep(1)
        return output

    assert bench.run(asks) == "{'look-1': 'another'}"
    assert looked == ["another in a step"]


def test_what_resolves_by_itself_at_a_run_is_refused(app: LiteQ, bench: WorkflowTest) -> None:
    agent = Agent(TestModel(), name="support", capabilities=[LiteQDurability()])

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("what?", toolsets=[DynamicToolset(lambda _: FunctionToolset(), id="later")])).output

    with pytest.raises(UserError, match="cannot be added at runtime with liteq"):
        bench.run(asks)


@pytest.mark.parametrize("what", ["enqueue", "cancel"])
def test_a_step_cannot_change_the_agents_loop(app: LiteQ, bench: WorkflowTest, what: str) -> None:
    agent = Agent(Script([call("meddle")], "done").model, name="support", capabilities=[LiteQDurability()])

    @agent.tool
    def meddle(run: RunContext[None]) -> str:
        if what == "enqueue":
            run.enqueue("more")
        else:
            run.cancel()
        return "done"

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("what?")).output

    with pytest.raises(UserError, match=f"{what}.* is not supported inside a durable step"):
        bench.run(asks)


# -- deploys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["a tool more", "now it streams"])
def test_a_deploy_strands_no_run(app: LiteQ, bench: WorkflowTest, change: str) -> None:
    script = Script([call("look", x=1), call("slow")], lambda m: f"{results(m)}")
    looked = []

    def look(x: int) -> int:
        looked.append(x)
        return x

    async def slow() -> str:
        await actx.sleep("1h")
        return "slept"

    def made(*, changed: bool) -> Agent:
        emit = "tokens" if changed and change == "now it streams" else None
        agent = Agent(script.model, name="support", tools=[look], capabilities=[LiteQDurability(emit=emit)])
        agent.tool_plain(slow, metadata={"liteq": False})
        if changed and change == "a tool more":
            agent.tool_plain(lambda: "more", name="another")
        return agent

    agents = [made(changed=False)]

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agents[-1].run("what?")).output

    run = bench.start(asks)
    assert (run.status, script.asked, looked) == ("waiting", [0], [1])
    agents.append(made(changed=True))
    bench.advance("1h")
    assert run.result(0) == "{'look-1': 1, 'slow-': 'slept'}"
    assert (script.asked, looked) == ([0, 1], [1])


def test_another_question_is_another_run(app: LiteQ, bench: WorkflowTest) -> None:
    script = Script("first")
    agent = Agent(script.model, name="support", capabilities=[LiteQDurability()])
    question = ["what?"]

    @app.workflow(name="asks")
    async def asks() -> str:
        output = (await agent.run(question[0])).output
        await actx.sleep(1)
        return output

    run = bench.start(asks)
    question[0] = "why?"
    bench.advance(1)
    assert run.status == "stuck"
    assert "other arguments" in (run.info().error or "")


def test_a_test_may_stand_in_for_a_tool_and_for_the_model(app: LiteQ, bench: WorkflowTest) -> None:
    agent = Agent(
        Script([call("look", x=1)], lambda m: f"{results(m)}").model, name="support", capabilities=[LiteQDurability()]
    )

    @agent.tool_plain
    def look(x: int) -> str:
        raise AssertionError("it stands in")

    @app.workflow(name="asks")
    async def asks() -> str:
        return (await agent.run("what?")).output

    mock = bench.mock("look", side_effect=lambda x: {"kind": f"{x} of the test"})
    assert bench.run(asks) == "{'look-1': {'kind': '1 of the test'}}"
    mock.assert_called_once_with(x=1)
    bench.mock("support__model.request", result="said by the test")
    assert bench.run(asks) == "said by the test"
    bench.mock("support__model.request", side_effect=[ModelResponse(parts=[call("look", x=2)]), "said behind it"])
    assert bench.run(asks) == "said behind it"
    mock.assert_called_with(x=2)


@pytest.mark.parametrize("how", ["a person", "a function"])
@pytest.mark.parametrize("is_given", [False, True])
def test_what_was_done_in_doubt_may_look_like_anything(tmp_path: Path, how: str, is_given: bool) -> None:
    script = Script([call("book", day="May 1")], lambda m: f"{results(m)['book-May 1']}")
    booked: dict[str, Any] = {"end": "noon", "day": "May 1"}
    deaths = [Killed("inside the tool")]

    def find(step_key: str, day: str) -> Done:
        return Done(booked)

    async def book(day: str) -> dict[str, Any]:
        raise deaths.pop()

    tool = Tool(book, metadata={"liteq": {"doubt": "ask" if how == "a person" else find}})
    agent = Agent(script.model, name="books", tools=[] if is_given else [tool], capabilities=[LiteQDurability()])
    given = [FunctionToolset([tool])] if is_given else []
    with new_app(tmp_path) as app:

        @app.workflow(name="books")
        async def books() -> str:
            return (await agent.run("?", toolsets=given)).output

        run, worker = books.start(), Worker(app)
        worker.run()
        if how == "a person":
            (asked,) = run.approvals()
            run.approve(asked.title, data={"answer": "done", "result": booked})
            worker.run()
        assert run.result(0) == str(booked)


def test_messages_bear_the_ids_of_the_run(app: LiteQ, bench: WorkflowTest) -> None:
    agent = Agent(Script("done").model, name="support", capabilities=[LiteQDurability()])
    seen: list[tuple[str, str]] = []

    @app.workflow(name="asks")
    async def asks() -> int:
        for _ in range(2):
            result = await agent.run("what?")
            seen.append((result.run_id, result.conversation_id))
        await actx.sleep(1)
        return sum(isinstance(message, ModelResponse) for message in result.all_messages())

    run = bench.start(asks)
    bench.advance(1)
    assert run.result(0) == 1
    assert seen[:2] == seen[2:]
    assert [id_ for id_, _ in seen[:2]] == [f"{run.id}:1", f"{run.id}:2"]
