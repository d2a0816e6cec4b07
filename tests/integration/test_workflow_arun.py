"""`WorkflowTest.arun`: an async test runs a workflow in the loop that it has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from liteq.exceptions import NonDeterminism
from liteq.testing import WorkflowTest
from liteq.workflow import actx, ctx


def test_steps_run_in_the_loop_of_the_test(app):
    loops: list[Any] = []

    async def test() -> Any:
        queue: asyncio.Queue[int] = asyncio.Queue()
        answers: asyncio.Queue[int] = asyncio.Queue()

        async def serve() -> None:
            while True:
                answers.put_nowait(await queue.get() + 1)

        async def request(n: int) -> int:
            loops.append(asyncio.get_running_loop())
            queue.put_nowait(n)
            return await answers.get()

        @app.workflow(name="asks")
        async def asks(n: int) -> int:
            first = await actx.step("request", request, args=(n,))
            await actx.sleep("30d")
            return await actx.step("request", request, args=(first,))

        server = asyncio.create_task(serve())
        with WorkflowTest(app) as t:
            found = await t.arun(asks, 1)
            assert await t.arun(asks, n=5) == 7
        loops.append(asyncio.get_running_loop())
        assert not server.done(), "the test's own tasks are left alone"
        server.cancel()
        return found

    assert asyncio.run(test()) == 3
    assert len(set(map(id, loops))) == 1


def test_it_waits_and_branches_as_anywhere(app):
    async def test() -> Any:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        async def branch(n: int) -> int:
            await actx.sleep(n)
            return await actx.step("work", lambda: n * 2, key=f"w{n}")

        @app.workflow(name="branches")
        async def branches() -> list[int]:
            return await asyncio.gather(*(branch(n) for n in (3, 1, 2)), actx.wait_event("no", timeout="1h", default=0))

        clock = asyncio.create_task(tick())
        with WorkflowTest(app) as t:
            found = await asyncio.gather(t.arun(branches), t.arun(branches))
        clock.cancel()
        return found, ticks

    found, ticks = asyncio.run(test())
    assert found == [[6, 2, 4, 0]] * 2
    assert ticks, "the loop is the test's all the time"


def test_errors_are_those_of_run(app):
    calls = []

    @app.workflow(name="fails")
    async def fails() -> None:
        raise ValueError("wrong")

    @app.workflow(name="changes")
    async def changes() -> None:
        calls.append(1)
        await actx.step(f"step {len(calls)}", lambda: 1)
        await actx.sleep(1)

    @app.workflow(name="plain")
    def plain(n: int) -> int:
        ctx.sleep(5)
        return ctx.step("adds", lambda: n + 1)

    async def test() -> None:
        with WorkflowTest(app) as t:
            with pytest.raises(ValueError, match="wrong"):
                await t.arun(fails)
            with pytest.raises(NonDeterminism):
                await t.arun(changes)
            assert await t.arun(plain, 1) == 2
            with pytest.raises(TypeError):
                await t.arun(plain)
        loop = asyncio.get_running_loop()
        assert loop.get_task_factory() is None

    asyncio.run(test())
