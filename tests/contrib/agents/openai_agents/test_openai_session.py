"""`LiteQSession`: a conversation in a queue, by the SDK's protocol, inside runs and outside."""

from __future__ import annotations

import asyncio

import pytest
from agents import Agent, RunConfig, Runner, SQLiteSession, function_tool
from agents.memory import Session, SessionSettings
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

from liteq.exceptions import WorkflowError
from liteq.storage.facades.keeping.sessions import Sessions
from liteq_openai_agents import LiteQSession, run
from tests.integration.runs import Killed, killed_at


def user(text):
    return {"role": "user", "content": text}


def texts(items):
    return [one["content"] if isinstance(one["content"], str) else one["content"][0]["text"] for one in items]


def test_it_is_the_sdks_protocol(app, tmp_path):
    session = LiteQSession("ann", app)
    assert isinstance(session, Session)

    async def talk() -> None:
        assert await session.get_items() == []
        assert await session.pop_item() is None
        await session.add_items([user(str(n)) for n in range(5)])
        await LiteQSession("bob", app).add_items([user("other")])
        assert texts(await session.get_items()) == ["0", "1", "2", "3", "4"]
        assert texts(await session.get_items(2)) == ["3", "4"]
        assert await session.get_items(0) == []
        assert await session.pop_item() == user("4")
        session.session_settings = SessionSettings(limit=3)
        assert texts(await session.get_items()) == ["1", "2", "3"]
        again = LiteQSession("ann", f"sqlite:///{tmp_path}/queue.db")
        assert texts(await again.get_items()) == ["0", "1", "2", "3"]
        await session.clear_session()
        assert await again.get_items() == []
        assert texts(await LiteQSession("bob", app).get_items()) == ["other"]

    asyncio.run(talk())


def test_items_that_were_added_together_stay_together(app):
    async def add(n: int) -> None:
        await LiteQSession("s", app).add_items([user(f"{n}.{i}") for i in range(20)])

    async def all_of_them() -> list[str]:
        await asyncio.gather(*(add(n) for n in range(8)))
        return texts(await LiteQSession("s", app).get_items())

    found = asyncio.run(all_of_them())
    assert [found[i : i + 20] == [f"{found[i][0]}.{n}" for n in range(20)] for i in range(0, 160, 20)] == [True] * 8


def test_the_runner_of_the_sdk_uses_it(app):
    model = ScriptedModel([[assistant_message("hello")], [assistant_message("Ann")]])
    agent = Agent(name="a", model=model)
    session = LiteQSession("ann", app)
    config = RunConfig(tracing_disabled=True)
    asyncio.run(Runner.run(agent, "I am Ann", session=session, run_config=config))
    asyncio.run(Runner.run(agent, "Who am I?", session=session, run_config=config))
    assert texts(model.last_call.input) == ["I am Ann", "hello", "Who am I?"]


def talks_of(app, agent):
    @app.workflow(name="talk")
    async def talk(text: str) -> str:
        result = await run(agent, text, session=LiteQSession("ann", app))
        return str(result.final_output)

    return talk


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(1, 8))
def test_killed_at_each_write_of_a_run_nothing_is_said_twice(app, worker, at, before):
    done = []

    @function_tool
    async def look() -> str:
        done.append("looked")
        return "sunny"

    def answer(call):
        looked = any(one.get("type") == "function_call_output" for one in call.input)
        return [assistant_message("fine")] if looked else [function_call("look", {}, call_id="c1")]

    model = ScriptedModel([ModelStep.respond(answer)] * 3)
    flow = talks_of(app, Agent(name="a", model=model, tools=[look]))
    run_ = flow.start("How is it?")
    with killed_at(app, at, before=before):
        worker.turn()
    app.clock.advance(120)
    worker.run()
    assert run_.status == "succeeded"
    items = asyncio.run(LiteQSession("ann", app).get_items())
    kinds = [one.get("type") or one["role"] for one in items]
    assert kinds[:3] == ["user", "function_call", "function_call_output"]
    assert kinds.count("user") == kinds.count("function_call") == kinds.count("function_call_output") == 1
    assert len(items) == 4


def test_a_conversation_goes_on_in_the_next_run(app, worker):
    model = ScriptedModel([[assistant_message("hello")], [assistant_message("Ann")]])
    flow = talks_of(app, Agent(name="a", model=model))
    for text in ("I am Ann", "Who am I?"):
        flow.start(text)
        worker.run()
    assert texts(model.last_call.input) == ["I am Ann", "hello", "Who am I?"]


@pytest.mark.parametrize("method", ["add_items", "get_items", "pop_item", "clear_session"])
def test_a_body_that_uses_a_session_itself_is_told_to_hand_it_over(app, worker, method):
    @app.workflow(name="by_hand")
    async def by_hand() -> None:
        await getattr(LiteQSession("ann", app), method)(*([[user("x")]] if method == "add_items" else []))

    run_ = by_hand.start()
    worker.run()
    with pytest.raises(WorkflowError, match="session="):
        run_.result(0)


def test_a_step_takes_an_item_once(app):
    sessions = Sessions(app.storage.driver, app.storage.clock)
    sessions.add("s", [b"1", b"2", b"3"], step="k1")
    assert not sessions.add("s", [b"1", b"2", b"3"], step="k1")
    assert sessions.take("s", step="k2") == sessions.take("s", step="k2") == b"3"
    assert sessions.take("s") == b"2"
    assert sessions.items("s") == [b"1"]


def test_a_step_may_write_several_times_and_each_is_once(app, worker):
    """As the SDK does: what was asked, and behind the answer what was said."""
    deaths, untraced = [Killed("behind its writes")], RunConfig(tracing_disabled=True)

    @app.step
    async def chat() -> list:
        session = LiteQSession("ann", app)
        await session.add_items([{"role": "user", "content": "left"}, {"role": "user", "content": "taken"}])
        popped = [(await session.pop_item())["content"]]
        model = ScriptedModel([[assistant_message("hello")], [assistant_message("fine")]])
        for question in ("hi", "well?"):
            await Runner.run(Agent(name="a", model=model), question, session=session, run_config=untraced)
        popped.append((await session.pop_item())["content"][0]["text"])
        if deaths:
            raise deaths.pop()
        return popped

    @app.workflow(name="chats")
    async def chats() -> list:
        return await chat()

    run_ = chats.start()
    worker.run()
    assert run_.result(0) == ["taken", "fine"]
    items = asyncio.run(LiteQSession("ann", app).get_items())
    assert [one.get("type") or one["content"] for one in items] == ["left", "hi", "message", "well?"]


def test_a_session_has_an_id(app):
    with pytest.raises(ValueError, match="a text"):
        LiteQSession("", app)


@pytest.mark.parametrize("ok", [True, False])
def test_a_conversation_with_an_approval_has_each_item_once(app, worker, ok):
    @function_tool(needs_approval=True)
    async def pay(amount: int) -> str:
        return f"paid {amount}"

    model = ScriptedModel([[function_call("pay", {"amount": 5}, call_id="c1")], [assistant_message("fine")]])
    run_ = talks_of(app, Agent(name="a", model=model, tools=[pay])).start("pay")
    worker.run()
    run_.approve('pay: {"amount":5} (c1)', ok=ok, comment="" if ok else "too much")
    worker.run()
    assert run_.result(0) == "fine"
    items = asyncio.run(LiteQSession("ann", app).get_items())
    assert [one.get("type") or one["role"] for one in items] == [
        "user", "function_call", "function_call_output", "message",
    ]  # fmt: skip
    assert items[2]["output"] == ("paid 5" if ok else "too much")


def test_a_session_of_the_sdks_own_goes_on_in_a_run(app, worker, tmp_path):
    """By the types of its method, what an agent had said was an iterator, which could not be copied."""
    model = ScriptedModel([[assistant_message("hello")], [assistant_message("Ann")]])
    agent = Agent(name="a", model=model)

    @app.workflow(name="talk")
    async def talk() -> str:
        session = SQLiteSession("ann", tmp_path / "session.db")
        await run(agent, "I am Ann", session=session)
        return str((await run(agent, "Who am I?", session=session)).final_output)

    run_ = talk.start()
    worker.run()
    assert run_.result(0) == "Ann"
    assert texts(model.last_call.input) == ["I am Ann", "hello", "Who am I?"]
