"""A fork of a run with agents keeps what was done, tools in the body too; names of an older liteq are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent

from liteq import LiteQ
from liteq.workflow import actx
from liteq_pydantic_ai import LiteQDurability, places
from tests.integration.runs import Worker, new_app

from .scripted import Script, call, results


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    with new_app(tmp_path) as app:
        yield app


class Shop:
    """An agent whose tool runs in the body: it calls a step, another agent, and waits."""

    def __init__(self, app: LiteQ) -> None:
        self.done: list[int] = []
        self.inner = Script("fine", name="inner")
        self.outer = Script([call("order", x=7)], lambda messages: f"{results(messages)}", name="outer")
        inner = Agent(self.inner.model, name="inner", capabilities=[LiteQDurability()])
        outer = Agent(self.outer.model, name="outer", capabilities=[LiteQDurability(emit="events")])

        @app.step
        async def reserve(x: int) -> int:
            self.done.append(x)
            return x

        @outer.tool_plain(metadata={"liteq": False})
        async def order(x: int) -> str:
            found = await reserve(x)
            said = (await inner.run(f"is {x} fine?")).output
            await actx.sleep("1h")
            return f"{found} {said}"

        @app.workflow(name="asks")
        async def asks() -> str:
            return (await outer.run("7, please")).output

        self.flow = asks

    def was_done_once(self) -> bool:
        return (self.done, self.inner.asked, self.outer.asked.count(0)) == ([7], [0], 1)


def finish(app: LiteQ, run: Any) -> str:
    worker = Worker(app)
    worker.run()
    app.clock.advance(3600)  # type: ignore[attr-defined]
    worker.run()
    return str(run.result(0))


def by_the_run(machine: Any) -> str:
    """As an older liteq has named what is in the body: with the id of the run."""
    return str(machine.run_id)


def test_a_fork_does_not_repeat_what_a_tool_in_the_body_has_done(app: LiteQ) -> None:
    shop = Shop(app)
    run = shop.flow.start()
    answer = finish(app, run)
    fork = run.fork(len(run.steps()) + 1)
    assert finish(app, fork) == answer == "{'order-7': '7 fine'}"
    assert shop.was_done_once()
    assert not any(run.id in str(step.key) for step in run.steps())


@pytest.mark.parametrize("goes_on", ["itself", "its fork"])
def test_a_run_of_an_older_liteq_keeps_its_names(app: LiteQ, monkeypatch: pytest.MonkeyPatch, goes_on: str) -> None:
    shop = Shop(app)
    run = shop.flow.start()
    with monkeypatch.context() as older:
        older.setattr(places, "_named_by", by_the_run)
        Worker(app).run()
    assert any(run.id in str(step.key) for step in run.steps())
    if goes_on == "its fork":
        run = run.fork(len(run.steps()) + 1)
    assert finish(app, run) == "{'order-7': '7 fine'}"
    assert shop.was_done_once()
    if goes_on == "itself":
        kinds = [chunk.data["event_kind"] for chunk in run.stream("events")]
        assert kinds.count("function_tool_call") == kinds.count("function_tool_result") == 1
