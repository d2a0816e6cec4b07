"""A branch of an async body that the body itself cancels, as a TaskGroup does: its wait is over, in each replay too."""

from __future__ import annotations

import asyncio

import pytest

from liteq.workflow import actx


@pytest.fixture
def went_on(app):
    return []


@pytest.fixture
def after(app, went_on):
    """A step that a branch would do behind its wait."""

    @app.step(name="after")
    def after() -> None:
        went_on.append(1)

    return after


async def an_event():
    await actx.wait_event("go")


async def a_sleep():
    await actx.sleep(10)


async def an_approval():
    await actx.approval("Go?")


@pytest.mark.parametrize("waits", [an_event, a_sleep, an_approval])
@pytest.mark.parametrize("first", ["the wait", "the failure"])
@pytest.mark.parametrize("later", [True, False])
def test_what_comes_for_a_branch_that_was_cancelled_is_the_next_ones(app, worker, after, went_on, waits, first, later):
    @app.task(name="fails")
    def fails() -> None:
        raise ValueError("no")

    @app.step(name="fails at once")
    async def fails_at_once() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def failing() -> None:
        if later:
            await actx.call(fails)
        else:
            await fails_at_once()

    async def waiting() -> None:
        await waits()
        await actx.run(after)

    @app.workflow(name="flow")
    async def flow() -> list[object]:
        branches = [waiting, failing] if first == "the wait" else [failing, waiting]
        try:
            async with asyncio.TaskGroup() as group:
                for branch in branches:
                    group.create_task(branch())
        except ExceptionGroup:
            pass
        found = [await actx.wait_event("go"), (await actx.approval("Go?")).ok]
        return [*found, await actx.wait_event("go")]

    run = flow.start()
    worker.run()
    run.send("go", 1)
    worker.run()
    app.clock.advance(20)
    worker.run()
    assert run.info().waiting_for == ["approval Go?"]
    run.approve("Go?")
    worker.run()
    run.send("go", 2)
    worker.run()
    assert run.result(0) == [1, True, 2]
    assert went_on == []
