"""Plain steps that an async body calls: where one has to wait, nobody awaits its call, and the body is left."""

from __future__ import annotations

import asyncio

from liteq.workflow import actx


def test_a_plain_step_is_tried_again_when_its_time_has_come(app, worker):
    ran = []

    @app.step(name="charge", retries=2, backoff=5)
    def charge(n: int) -> int:
        ran.append(n)
        if len(ran) < 3:
            raise ConnectionError("away")
        return n

    @app.workflow(name="pays")
    async def pays() -> int:
        return charge(7)

    run = pays.start()
    for turn in (1, 2):
        worker.run()
        assert len(ran) == turn
        assert run.info().waiting_for == ["timer"]
        app.clock.advance(5)
    worker.run()
    assert run.result(0) == 7
    assert ran == [7, 7, 7]


def test_what_other_branches_wait_for_is_waited_for_too(app, worker):
    ran = []

    @app.step(name="charge", retries=1, backoff=5)
    def charge() -> str:
        ran.append(1)
        if len(ran) == 1:
            raise ConnectionError("away")
        return "paid"

    async def pay() -> str:
        return charge()

    @app.workflow(name="both")
    async def both() -> list[object]:
        async def event() -> object:
            return await actx.wait_event("go")

        return await asyncio.gather(event(), pay())

    run = both.start()
    worker.run()
    assert sorted(run.info().waiting_for) == ["event go", "timer"]
    run.send("go", 1)
    worker.run()
    app.clock.advance(5)
    worker.run()
    assert run.result(0) == [1, "paid"]


def test_a_plain_step_waits_for_the_memo_of_another_run(app, worker):
    paid = []

    @app.step(name="ask", memo=True)
    def ask(question: str) -> str:
        paid.append(question)
        if len(paid) == 1:
            assert second.start().id
            worker.turn()  # the other run asks while this one computes
        return "answer"

    @app.workflow(name="second")
    async def second() -> str:
        return ask("q")

    @app.workflow(name="first")
    def first() -> str:
        return ask("q")

    run = first.start()
    worker.run()
    assert run.result(0) == "answer"
    assert [one.result(0) for one in app.runs(name="second")] == ["answer"]
    assert paid == ["q"]


def test_a_plain_compensation_is_tried_again_and_the_others_run(app, worker):
    undone = []

    @app.step(name="undo", retries=1, backoff=5)
    def undo(n: int) -> None:
        undone.append(n)
        if undone == [2]:
            raise ConnectionError("away")

    @app.workflow(name="fails")
    async def fails() -> None:
        async with actx.saga() as saga:
            saga.add(undo, 1)
            saga.add(undo, 2)
            raise ValueError("no")

    run = fails.start()
    worker.run()
    assert undone == [2]
    app.clock.advance(5)
    worker.run()
    assert undone == [2, 2, 1]
    assert run.status == "failed"


def test_compensations_of_branches_are_found_again_in_whatever_order_they_were_added(app, worker):
    undone = []

    @app.step(name="undo", retries=1, backoff=5)
    async def undo(n: int) -> None:
        undone.append(n)
        if undone == [1, 2]:
            raise ConnectionError("away")

    first_may_end = asyncio.Event()

    @app.step(name="do", compensate=undo)
    async def do(n: int) -> int:
        if n == 1:
            await first_may_end.wait()
        first_may_end.set()
        return n

    @app.workflow(name="fails")
    async def fails() -> None:
        async with actx.saga():
            await asyncio.gather(do(1), do(2))  # the second ends first, and a replay has both at once
            raise ValueError("no")

    run = fails.start()
    worker.run()
    assert undone == [1, 2]
    app.clock.advance(5)
    worker.run()
    assert undone == [1, 2, 2]
    assert run.status == "failed"


def test_a_plain_step_waits_in_a_gather_that_returns_exceptions(app, worker):
    ran = []

    @app.step(name="charge", retries=1, backoff=5)
    def charge() -> str:
        ran.append(1)
        if len(ran) == 1:
            raise ConnectionError("away")
        return "paid"

    @app.workflow(name="collects")
    async def collects() -> list[object]:
        async def pay() -> str:
            return charge()

        return list(await asyncio.gather(pay(), return_exceptions=True))

    run = collects.start()
    worker.run()
    assert run.status == "waiting"
    app.clock.advance(5)
    worker.run()
    assert run.result(0) == ["paid"]
