"""Sessions that the SDK has compacted behind a turn: in a run that is a step, paid once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from agents import Agent, function_tool
from agents.memory import OpenAIResponsesCompactionSession
from agents.testing import ScriptedModel, assistant_message, function_call
from openai.types.responses.response_usage import ResponseUsage

from liteq.workflow import actx
from liteq_openai_agents import LiteQSession, run, running
from liteq_openai_agents.session import SessionInRun
from tests.integration.runs import Killed

USED = {
    "input_tokens": 50, "output_tokens": 5, "total_tokens": 55,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}  # fmt: skip


class Client:
    """A client of OpenAI's that makes one message of all."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.responses = self

    async def compact(self, **asked: Any) -> Any:
        self.asked.append(asked)
        said = {"type": "message", "role": "user", "content": "what was said so far"}
        return SimpleNamespace(output=[said], usage=ResponseUsage.model_validate(USED))


def talk_of(app, client):
    model = ScriptedModel([[assistant_message("hello")], [assistant_message("Ann")]])

    @app.workflow(name="talk")
    async def talk() -> list[object]:
        agent, requests = Agent(name="a", model=model), []
        for text in ("I am Ann", "Who am I?"):
            session = OpenAIResponsesCompactionSession(
                "ann", LiteQSession("ann", app), client=client, should_trigger_compaction=lambda _: True
            )
            result = await run(agent, text, session=session)
            requests = [*requests, result.context_wrapper.usage.requests]
            await actx.sleep("1h")
        return [str(result.final_output), requests]

    return talk


def contents(app):
    return [one["content"] for one in asyncio.run(LiteQSession("ann", app).get_items())]


def test_a_compaction_is_a_step_and_is_spent(app, worker, monkeypatch):
    """Its session was compacted nowhere."""

    async def dies(self):
        raise AssertionError("between this and what is added then a process may die")

    monkeypatch.setattr(LiteQSession, "clear_session", dies)
    client = Client()
    run_ = talk_of(app, client).start()
    worker.run()
    assert contents(app) == ["what was said so far"]
    for _ in range(2):
        app.clock.advance(3600)
        worker.run()
    assert run_.result(0) == ["Ann", [2, 2]]
    assert len(client.asked) == 2
    assert [step.name for step in run_.steps()].count("a__session.run_compaction") == 2
    usage = run_.usage()
    assert (usage.models["gpt-4.1"].requests, usage.models["gpt-4.1"].input_tokens) == (2, 100)


def test_a_run_that_has_gone_past_it_with_an_older_liteq_compacts_nothing(app, worker, monkeypatch):
    client = Client()
    run_ = talk_of(app, client).start()
    with monkeypatch.context() as older:
        older.setattr(running, "in_run", SessionInRun)
        worker.run()
    for _ in range(2):
        app.clock.advance(3600)
        worker.run()
    assert run_.result(0) == ["Ann", [1, 2]]
    assert len(client.asked) == 1, "the second turn is of this liteq"
    assert contents(app) == ["what was said so far"]


def test_a_run_that_an_older_liteq_left_in_the_midst_of_its_turns(app, worker, monkeypatch):
    """Its last request alone is behind the deploy."""
    client, kills = Client(), [Killed("in the second look")]

    @function_tool
    async def look() -> str:
        looks.append(1)
        if len(looks) == 2 and kills:
            raise kills.pop()
        return "sunny"

    looks: list[int] = []
    calls = [[function_call("look", {}, call_id=f"c{n}")] for n in range(2)]
    model = ScriptedModel([*calls, [assistant_message("ok")]])

    @app.workflow(name="talk")
    async def talk() -> str:
        agent = Agent(name="a", model=model, tools=[look])
        session = OpenAIResponsesCompactionSession(
            "ann", LiteQSession("ann", app), client=client, should_trigger_compaction=lambda _: True
        )
        return str((await run(agent, "hi", session=session)).final_output)

    run_ = talk.start()
    with monkeypatch.context() as older:
        older.setattr(running, "in_run", SessionInRun)
        worker.turn()
    app.clock.advance(120)
    worker.run()
    assert run_.result(0) == "ok"
    assert len(client.asked) == 1
    assert [step.name for step in run_.steps()].count("a__session.run_compaction") == 1


def test_a_session_need_not_have_settings(app, worker):
    class Plain:
        """A session as the SDK's protocol was first."""

        session_id = "plain"

        async def get_items(self, limit=None):
            return []

        async def add_items(self, items):
            pass

        async def pop_item(self):
            return None

        async def clear_session(self):
            pass

    @app.workflow(name="talk")
    async def talk() -> str:
        agent = Agent(name="a", model=ScriptedModel([[assistant_message("hello")]]))
        return str((await run(agent, "hi", session=Plain())).final_output)

    run_ = talk.start()
    worker.run()
    assert run_.result(0) == "hello"
