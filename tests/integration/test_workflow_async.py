"""Async bodies: branches replay the same however they interleave, and every wait is left at once."""

from __future__ import annotations

import asyncio
import gc
import random
import threading

import pytest

from liteq.exceptions import StepTimeout, WorkflowCancelled, WorkflowError
from liteq.workflow import actx, ctx
from tests.integration.runs import Killed, killed_at


@pytest.fixture
def ran(app):
    ran = []

    @app.step(name="slow")
    async def slow(n: int, delay: float | None = None) -> int:
        await asyncio.sleep(random.random() / 500 if delay is None else delay)
        ran.append(n)
        return n + 1

    return ran


def test_branches_with_random_delays_replay_the_same(app, worker, ran):
    slow = app.steps_of_workflows["slow"]
    rounds = 60

    async def branch(n: int) -> list[int]:
        first = await slow(n)
        await asyncio.sleep(0) if random.random() < 0.5 else None
        second = await slow(first)
        await actx.sleep(1)
        return [first, second, await slow(second)]

    @app.workflow(name="gathers")
    async def gathers() -> list[list[int]]:
        return await asyncio.gather(*(branch(n) for n in (0, 10, 20, 30)))

    runs = []
    for n in range(rounds):
        run = gathers.start()
        with killed_at(app, n % 9 + 1, before=bool(n % 2)):
            try:
                worker.turn()
            except BaseException:
                pytest.fail("only a kill ends an activation")
        runs.append(run)
    worker.run()
    app.clock.advance(1)
    worker.run()
    expected = [[n + 1, n + 2, n + 3] for n in (0, 10, 20, 30)]
    assert [run.result(0) for run in runs] == [expected] * rounds


def test_waits_of_all_branches_are_one_suspension(app, worker, ran):
    @app.workflow(name="waits")
    async def waits() -> list[object]:
        async def event(name: str) -> object:
            return await actx.wait_event(name)

        async with asyncio.TaskGroup() as group:
            one = group.create_task(event("a"))
            two = group.create_task(actx.sleep("1h"))
            three = group.create_task(event("b"))
        return [one.result(), two.result(), three.result()]

    run = waits.start()
    assert worker.run() == 1
    assert sorted(run.info().waiting_for) == ["event a", "event b", "timer"]
    run.send("b", 2)
    run.send("a", 1)
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run.result(0) == [1, None, 2]


def test_the_surface_of_actx(app, worker, ran):
    @app.task(name="double")
    def double(n):
        return n * 2

    @app.step(name="plain")
    def plain(n: int) -> int:
        return n + 100

    @app.workflow(name="all")
    async def all_() -> list[object]:
        handle = await actx.spawn(double, 1)
        first = [
            await actx.call(double, 2), await handle.result(), await actx.gather([await actx.spawn(double, 3)]),
            await actx.map(double, [1, 2]), await actx.race([await actx.spawn(double, 5), actx.timer("1h")]),
            plain(1), await actx.run(plain, 2), await actx.run(app.steps_of_workflows["slow"], 7),
            await actx.wait_event("no", timeout=1, default="d"),
            (await actx.approval("Ok?", timeout=1, default=True)).ok,
        ]  # fmt: skip
        await actx.set("k", first)
        await actx.tag("t")
        await actx.emit("s", 1)
        async with actx.shield():
            await actx.sleep(1)
        return first

    run = all_.start()
    for _ in range(4):
        worker.run()
        app.clock.advance(1)
    expected = [4, 2, [6], [2, 4], [0, 10], 101, 102, 8, "d", True]
    assert run.result(0) == expected
    assert run.get_state() == {"k": expected}
    assert [chunk.data for chunk in run.stream("s")] == [1]
    assert app.runs(tags=["t"]) == [run]


def test_the_handle_of_a_timer_and_of_an_event_are_awaited_as_others(app, worker):
    @app.workflow(name="waits")
    async def waits() -> list[object]:
        timer, event, other = actx.timer("1h"), actx.event("go", type=int), actx.event("stop")
        await other.cancel()
        first = [await event.result(), timer.done]
        await timer.result()
        return [*first, timer.done, await actx.gather([event, timer])]

    run = waits.start()
    worker.run()
    run.send("go", 7)
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert run.result(0) == [7, False, True, [7, None]]


def test_a_step_is_not_reached_by_the_cancellation_of_its_branch(app, worker, ran):
    slow = app.steps_of_workflows["slow"]

    @app.workflow(name="cancels")
    async def cancels() -> str:
        task = asyncio.create_task(slow(1, 0.05))
        await slow(2)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "branch cancelled"
        return "not"

    run = cancels.start()
    worker.run()
    assert run.result(0) == "branch cancelled"
    assert sorted(ran) == [1, 2]
    assert sorted(step.status for step in run.steps()) == ["done", "done"]


def test_retries_and_timeouts_of_async_steps(app, worker):
    ran = []

    @app.step(name="hangs", retries=1, backoff=0, timeout=1)
    async def hangs() -> str:
        ran.append(ctx.attempt)
        if len(ran) == 1:
            await asyncio.sleep(30)
        return "second"

    @app.step(name="hopeless", timeout="50ms")
    async def hopeless() -> None:
        await asyncio.sleep(30)

    @app.workflow(name="flow")
    async def flow() -> str:
        found = await hangs()
        try:
            await hopeless()
        except StepTimeout:
            return found
        return "no timeout"

    run = flow.start()
    worker.run()
    assert run.result(0) == "second"
    assert ran == [1, 2]


def test_a_cancel_reaches_all_branches_and_sagas_run(app, worker):
    undone, seen = [], []

    @app.step(name="undo")
    async def undo(n: int) -> None:
        undone.append(n)

    @app.workflow(name="flow")
    async def flow() -> None:
        async def branch(n: int) -> None:
            async with actx.saga() as saga:
                saga.add(undo, n)
                try:
                    await actx.sleep("1d")
                except WorkflowCancelled:
                    seen.append(n)
                    raise

        await asyncio.gather(branch(1), branch(2))

    run = flow.start()
    worker.run()
    run.cancel("stop")
    worker.run()
    assert sorted(seen) == [1, 2]
    assert sorted(undone) == [1, 2]
    assert run.status == "cancelled"


def test_each_misuse_is_named(app, worker, ran):
    slow = app.steps_of_workflows["slow"]

    @app.workflow(name="wrong_ctx")
    async def wrong_ctx() -> None:
        ctx.sleep(1)

    @app.workflow(name="wrong_actx")
    def wrong_actx() -> None:
        actx.sleep(1)

    @app.workflow(name="async_step")
    def async_step() -> None:
        slow(1)

    @app.workflow(name="thread")
    def thread() -> None:
        failures = []

        def elsewhere() -> None:
            try:
                ctx.now()
            except WorkflowError as exc:
                failures.append(exc)

        one = threading.Thread(target=elsewhere)
        one.start()
        one.join()
        raise failures[0]

    @app.workflow(name="to_thread")
    async def to_thread() -> None:
        await asyncio.to_thread(actx.now)

    expected = {
        wrong_ctx: "ctx.sleep.. in an async body: use actx.sleep",
        wrong_actx: "actx.sleep.. in a body that is not async: use ctx.sleep",
        async_step: "step 'slow' is `async def`, and this body is not",
        thread: "ctx.now.. is for the body of a workflow, or for a step, while a run executes it, and in its own",
        to_thread: "a run's calls belong to the thread of its body",
    }
    runs = {flow.start(): text for flow, text in expected.items()}
    worker.run()
    for run, text in runs.items():
        with pytest.raises(WorkflowError, match=text):
            run.result(0)


def test_a_kill_in_one_branch_repeats_that_step_alone(app, worker):
    ran, kill = [], [True]

    @app.step(name="one")
    async def one(n: int) -> int:
        ran.append(n)
        await asyncio.sleep(0.01 * n)
        if n == 3 and kill:
            kill.clear()
            raise Killed
        return n

    @app.workflow(name="flow")
    async def flow() -> list[int]:
        return await asyncio.gather(*(one(n) for n in range(5)))

    run = flow.start()
    worker.run()
    assert run.result(0) == [0, 1, 2, 3, 4]
    assert [ran.count(n) for n in range(4)] == [1, 1, 1, 2]


async def once_around() -> None:
    await asyncio.sleep(0)


def test_no_task_outlives_the_activation(app, worker):
    ended = []

    @app.workflow(name="flow")
    async def flow() -> str:
        async def forever() -> None:
            try:
                await actx.sleep("1d")
            finally:
                ended.append(1)

        task = asyncio.create_task(forever())
        await once_around()
        return f"left {task.done()}"

    run = flow.start()
    worker.run()
    assert run.result(0) == "left False"
    assert ended == [1]


def test_a_task_and_a_run_are_sent_from_an_async_body_once(app, worker):
    got = []

    @app.task(name="mail")
    def mail(to):
        got.append(to)

    @app.workflow(name="other")
    def other(n: int) -> int:
        return n

    @app.workflow(name="sends")
    async def sends() -> list[str]:
        sent = [await mail.adelay("a"), mail.delay("b"), await other.astart(1), other.start(2)]
        await actx.sleep(1)
        return [one.id for one in sent]

    run = sends.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    ids = run.result(0)
    assert sorted(got) == ["a", "b"]
    assert [app.Run(id_).result(0) for id_ in ids[2:]] == [1, 2]
    assert [step.kind for step in run.steps()] == ["send"] * 4 + ["sleep"]


def test_a_branch_that_is_left_is_no_failed_task_in_the_log(app, worker, caplog):
    """A wait for the first exception of several looks at one of them."""

    async def first_exception(tasks: list[asyncio.Task[int]]) -> set[asyncio.Task[int]]:
        return (await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION))[0]

    @app.workflow(name="looks")
    async def looks() -> int:
        async def branch(n: int) -> int:
            await actx.sleep(n)
            return n

        tasks = [asyncio.create_task(branch(n)) for n in (1, 2, 3)]
        return sum(task.result() for task in await first_exception(tasks))

    run = looks.start()
    for _ in range(3):
        worker.run()
        app.clock.advance(1)
    worker.run()
    gc.collect()
    assert run.result(0) == 6
    assert "never retrieved" not in caplog.text


def test_a_gather_that_returns_exceptions_waits_as_another_one(app, worker, ran):
    """It hands on what its branches were left by as if that were a result of theirs."""
    slow = app.steps_of_workflows["slow"]

    @app.workflow(name="gathers")
    async def gathers() -> list[object]:
        async def fails() -> None:
            await actx.sleep(2)
            raise ValueError("no")

        found = await asyncio.gather(actx.sleep(1), fails(), actx.wait_event("go"), return_exceptions=True)
        return [*(repr(one) for one in found), await slow(found[2] + 1)]

    run = gathers.start()
    for _ in range(2):
        worker.run()
        assert run.status == "waiting"
        app.clock.advance(1)
    worker.run()
    run.send("go", 1)
    worker.run()
    assert run.result(0) == ["None", "ValueError('no')", "1", 3]


def test_a_branch_that_swallows_what_it_is_left_by_parks_the_run(app, worker):
    async def swallows() -> str:
        try:
            await actx.sleep(1)
        except BaseException:
            return "swallowed"
        return "slept"

    @app.workflow(name="gathers")
    async def gathers() -> list[str]:
        return list(await asyncio.gather(swallows(), swallows(), return_exceptions=True))

    run = gathers.start()
    worker.run()
    assert run.status == "stuck"
    assert "caught the exception that ends the activation" in run.info().error
