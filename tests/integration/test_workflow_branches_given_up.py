"""A branch of an async body that the body itself cancels, as a TaskGroup does: its wait is over, in each replay too."""

from __future__ import annotations

import asyncio

import pytest

from liteq.workflow import actx, ctx

from .engines import on_both_engines


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


@on_both_engines
@pytest.mark.parametrize("how", ["retry", "rewind", "fork"])
def test_a_wait_that_was_given_up_begins_anew_where_its_cause_is_forgotten(app, worker, how):
    """Its branch is not cancelled any more, and would have waited for ever."""
    fails = [True]

    @app.step(name="work")
    def work() -> None:
        if fails.pop() if fails else False:
            raise ValueError("not yet")

    async def waiting() -> object:
        return await actx.wait_event("go")

    async def working() -> None:
        await actx.sleep(1)
        work()

    @app.workflow(name="flow")
    async def flow() -> object:
        async with asyncio.TaskGroup() as group:
            found = group.create_task(waiting())
            group.create_task(working())
        return found.result()

    run = flow.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert [step.status for step in run.steps()] == ["cancelled", "done", "failed"]
    if how == "retry":
        assert run.retry()
    elif how == "rewind":
        run.rewind(3)
    else:
        run = run.fork(3)
    worker.run()
    run.send("go", 5)
    worker.run()
    assert run.result(0) == 5


def test_a_wait_of_a_plain_body_where_a_race_was_lost_is_over(app, worker):
    """New code may have it there. A plain body has no branch that waits on."""
    changed = []

    @app.workflow(name="flow")
    def flow() -> None:
        if changed:
            ctx.wait_event("go", default=None)
            ctx.timer(1)
        ctx.race([ctx.event("go"), ctx.timer(1)])
        ctx.wait_event("then")

    run = flow.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    changed.append(True)
    run.send("then")
    worker.run()
    assert (run.status, "event 'then'" in run.info().error) == ("stuck", True)


@pytest.mark.parametrize("how", ["retry", "rewind", "fork"])
def test_a_wait_begins_anew_that_was_given_up_for_an_error_of_the_body(app, worker, how):
    """History has no failed step for it, but one that the body had dealt with long before."""
    broken = [True]

    @app.step(name="odd")
    def odd() -> None:
        raise ValueError("no")

    async def waiting() -> object:
        return await actx.wait_event("go")

    async def working() -> None:
        await actx.sleep(1)
        if broken:
            raise KeyError("of the body")

    @app.workflow(name="flow")
    async def flow() -> object:
        try:
            odd()
        except ValueError:
            await actx.sleep(1)
        async with asyncio.TaskGroup() as group:
            found = group.create_task(waiting())
            group.create_task(working())
        return found.result()

    run = flow.start()
    for _ in range(3):
        worker.run()
        app.clock.advance(1)
    assert run.status == "failed"
    broken.clear()
    steps = len(run.steps())
    if how == "retry":
        assert run.retry()
    elif how == "rewind":
        run.rewind(steps + 1)
    else:
        run = run.fork(steps + 1)
    worker.run()
    run.send("go", 5)
    worker.run()
    assert run.result(0) == 5


def test_a_retry_keeps_a_wait_given_up_that_the_body_went_on_behind(app, worker, after, went_on):
    broken = [True]

    async def waiting() -> None:
        await actx.wait_event("go")
        await actx.run(after)

    async def failing() -> None:
        await actx.sleep(1)
        raise KeyError("dealt with")

    @app.workflow(name="flow")
    async def flow() -> object:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(waiting())
                group.create_task(failing())
        except ExceptionGroup:
            await actx.sleep(1)
            await actx.sleep(1)
        if broken:
            raise KeyError("of the body")
        return await actx.wait_event("go")

    run = flow.start()
    for second in range(4):
        worker.run()
        app.clock.advance(1)
        if second == 1:
            run.send("go", 5)
    assert run.status == "failed"
    broken.clear()
    assert run.retry()
    worker.run()
    assert (run.result(0), went_on) == (5, [])
