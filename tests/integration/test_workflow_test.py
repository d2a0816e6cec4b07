"""`WorkflowTest`, `task_always_eager` and strict replay: workflows in a test, without a worker."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from liteq import LiteQ
from liteq.exceptions import NonDeterminism, TimeoutError, WorkflowError
from liteq.testing import WorkflowTest
from liteq.workflow import Budget, actx, ctx
from liteq.workflow.client.inplace import Bench

app = LiteQ("tested", broker="sqlite:////nowhere/at/all.db", set_as_current=False)


counter = itertools.count()


@app.step(retries=3)
def charge(amount: int) -> str:
    raise ConnectionError("no network in tests")


@app.task
def mail(to):
    raise AssertionError("not in tests")


@app.workflow
def subscription(amount: int, months: int = 12) -> list[str]:
    paid = []
    for _ in range(months):
        paid.append(charge(amount))
        ctx.sleep("30d")
    mail.delay("bob")
    return paid


@app.workflow
def asks() -> str:
    if ctx.approval("Go?", timeout="2d", default=False).ok:
        return str(ctx.wait_event("how"))
    return "no"


@app.workflow
async def slowly(n: int) -> int:
    await actx.sleep("365d")
    return n


@app.workflow
def drifting() -> float:
    return ctx.run(abs, next(counter))


@app.workflow
def tells() -> None:
    ctx.emit("news", 1)
    ctx.wait_event("more")
    ctx.emit("news", 2)


def test_a_year_takes_no_time():
    with WorkflowTest(app) as t:
        t.mock("charge", side_effect=lambda amount: f"paid {amount}")
        sent = t.mock(mail, result=None)
        assert t.run(subscription, 5) == ["paid 5"] * 12
        assert t.run(slowly, 3) == 3
        sent.assert_called_once_with("bob")


def test_a_mock_may_fail_and_retries_are_those_of_the_step():
    with WorkflowTest(app) as t:
        mocked = t.mock(charge, side_effect=[ConnectionError, ConnectionError, "third"])
        t.mock("mail", result=None)
        assert t.run(subscription, 5, months=1) == ["third"]
        assert mocked.call_count == 3
        t.mock(charge, raises=ConnectionError("down"))
        with pytest.raises(ConnectionError, match="down"):
            t.run(subscription, 5, months=1)


def test_a_misspelt_mock_is_refused_with_the_nearest():
    with WorkflowTest(app) as t:
        with pytest.raises(LookupError, match="did you mean 'charge'"):
            t.mock("chargee", result=1)
        with pytest.raises(TypeError, match="one of"):
            t.mock("charge", result=1, raises=ValueError)


def test_what_is_no_workflow_is_refused_by_its_name():
    with WorkflowTest(app) as t, pytest.raises(TypeError, match=r"'celery\.map' is no workflow"):
        t.run(app.tasks["celery.map"])


def test_the_clock_is_moved_by_advance_alone_once_started():
    with WorkflowTest(app) as t:
        run = t.start(asks)
        assert run.info().waiting_for == ["approval Go?"]
        t.advance("1d")
        assert run.status == "waiting"
        run.approve("Go?", by="me")
        with pytest.raises(TimeoutError, match="event how"):
            run.result()
        run.send("how", "so")
        assert run.result() == "so"
        late = t.start(asks)
        t.advance("2d")
        assert late.result() == "no"


def test_what_would_wait_for_ever_raises():
    with WorkflowTest(app) as t:
        t.mock("charge", result="x")

        @app.workflow(name="for_ever")
        def for_ever() -> None:
            ctx.wait_event("never")

        with pytest.raises(WorkflowError, match="would wait for ever: event never"):
            t.run(for_ever)


def test_what_would_park_raises():
    with WorkflowTest(app) as t:
        app.conf.workflow_strict_replay = True
        try:
            with pytest.raises(NonDeterminism, match=r"step 'builtins.abs' with other arguments"):
                t.run(drifting)
        finally:
            app.conf.workflow_strict_replay = False


def test_the_app_is_as_it_was_afterwards():
    clock = app.clock
    with WorkflowTest(app) as t:
        assert app.clock is t.clock
    assert app.clock is clock
    assert "storage" not in app.__dict__


def test_eager_apps_run_workflows_in_place():
    app.conf.task_always_eager = True
    try:
        assert slowly.start(4).result() == 4
        run = asks.options(id="e1").start()
        assert run.result() == "no"
        assert asks.options(id="e1").start() == run
        assert (slowly.s(2) | slowly.s()).apply_async().get() == 2
        assert app.send_task(asks.name).get() == "no"
    finally:
        app.conf.task_always_eager = False


def test_strict_replay_runs_a_deterministic_body_anew_after_each_step():
    bodies = []

    @app.workflow(name="strict")
    def strict() -> int:
        bodies.append(1)
        return ctx.run(abs, -1) + ctx.run(abs, -2)

    app.conf.workflow_strict_replay = True
    try:
        with WorkflowTest(app) as t:
            assert t.run(strict) == 3
    finally:
        app.conf.workflow_strict_replay = False
    assert len(bodies) == 3


def test_an_async_test_runs_async_workflows():
    async def test() -> int:
        with WorkflowTest(app) as t:
            return t.run(slowly, 9)

    assert asyncio.run(test()) == 9


def test_a_stream_of_a_run_that_waits_ends_with_what_it_waits_for():
    with WorkflowTest(app) as t:
        run = t.start(tells)
        chunks = run.stream("news")
        assert next(chunks).data == 1
        with pytest.raises(TimeoutError, match=r"waits \(event more"):
            next(chunks)
        run.send("more")
        assert [chunk.data for chunk in run.stream("news")] == [1, 2]


# -- without a with ----------------------------------------------------------------------------------------------------


def test_a_run_without_a_with_has_a_file_of_its_own():
    test = WorkflowTest(app)  # whose own file could not even be opened
    test.mock("charge", result="c")
    test.mock("mail")
    assert test.run(subscription, 1, months=2) == ["c", "c"]
    assert asyncio.run(test.arun(slowly, 7)) == 7


def test_what_would_need_the_file_of_a_test_says_so():
    test = WorkflowTest(app)
    with pytest.raises(WorkflowError, match=r"with WorkflowTest\(app\) as t: t.start"):
        test.start(tells)
    with pytest.raises(WorkflowError, match=r"t\.advance"):
        test.advance("1d")


@app.workflow
def pays_later() -> str:
    ctx.sleep("1d")
    return charge(1)


def test_a_step_that_waits_for_a_run_of_its_own_test_is_told_that_nothing_runs_it():
    with WorkflowTest(app) as t:
        t.mock("charge", side_effect=lambda amount: t.run(slowly, amount))
        with pytest.raises(WorkflowError, match="would wait for ever"):
            t.run(pays_later)
        t.mock("charge", side_effect=lambda amount: t.advance("1h"))
        assert t.run(pays_later) is None


def test_a_run_that_the_program_starts_forks_or_finds_is_executed_as_the_tests_own():
    """Nothing else executes it: a wait for its end would never be over."""
    with WorkflowTest(app) as t:
        run = asks.options(id="a1").start()
        assert run.info().waiting_for == ["approval Go?"]
        with pytest.raises(TimeoutError, match="waits"):
            run.result()
        assert app.Run("a1").approve("Go?")
        fork = run.fork(2)
        fork.send("how", "so")
        assert fork.result() == "so"
        run.send("how", "thus")
        assert [one.result() for one in app.runs()] == ["so", "thus"]
        assert asyncio.run(asks.Run("a1").aresult()) == "thus"
        later = slowly.delay(3)
        t.advance("365d")
        assert later.get() == 3


def test_an_eager_run_that_a_step_asks_about_leaves_the_app_as_it_was():
    app.conf.task_always_eager = True
    try:
        run = slowly.start(4)

        @app.workflow(name="looks")
        def looks() -> str:
            return ctx.run(lambda: f"{run.status} {slowly.start(5).status}")

        assert looks.start().result() == "succeeded queued"
    finally:
        app.conf.task_always_eager = False
        del app.tasks["looks"]
    assert "storage" not in app.__dict__


# -- limits ----------------------------------------------------------------------------------------------------------


@app.workflow(fair_key="{user}")
def of_a_user(user: str) -> str:
    ctx.sleep("1h")
    return user


@app.workflow(limits=["door"])
def through_the_door(n: int) -> datetime:
    ctx.sleep("1s")
    return ctx.now()


def test_a_run_that_takes_turns_goes_on_behind_its_wait():
    with WorkflowTest(app) as test:
        assert test.run(of_a_user, "ann") == "ann"
        run = test.start(of_a_user, "bob")
        test.advance("1h")
        assert run.result() == "bob"


def test_the_clock_moves_to_the_time_at_which_a_limit_lets_go():
    with WorkflowTest(app) as test:
        app.limits.pause("door", "1h")
        begun = app.now()
        assert (test.run(through_the_door, 1) - begun).total_seconds() == 3601
        app.limits.pause("door", "1h")
        run = test.start(through_the_door, 2)
        test.advance("59m")
        assert run.status == "queued"
        test.advance("2m")
        assert run.status == "succeeded"


@app.workflow
def reminds() -> bool:
    return ctx.approval("Go?", remind="1h").ok


@app.task
def decides(id_: str) -> None:
    app.Run(id_).approve("Go?")


@app.step(spends="1")
def spends(n: int) -> int:
    ctx.spend(cost="1")
    return n


@app.workflow(budget=Budget(cost="1", on_exceed="ask"))
def asks_for_more() -> int:
    return spends(1) + spends(2)


@pytest.mark.parametrize("flow", [reminds, asks_for_more])
def test_a_run_that_only_a_person_lets_go_on_is_not_reminded_for_ever(flow):
    with WorkflowTest(app) as t:
        with pytest.raises(WorkflowError, match=r"would wait for ever: .*approval"):
            t.run(flow)
    app.conf.task_always_eager = True
    try:
        run = flow.start()
        assert run.status == "waiting"
        (request,) = run.approvals()
        run.approve(request.title, data={"add": "2"})
        assert run.result() in (True, 3)
    finally:
        app.conf.task_always_eager = False


@app.workflow
def decided_later() -> bool:
    decides.apply_async(("later",), countdown=5 * 3600)
    return ctx.approval("Go?", remind="1h").ok


def test_a_decision_that_comes_later_than_a_reminder_is_waited_for():
    with WorkflowTest(app) as t:
        assert t.run(decided_later.options(id="later")) is True


def test_eager_starts_of_two_threads_leave_the_app_as_it_was(monkeypatch):
    clock, both, opened = app.clock, threading.Barrier(2), Bench.open

    def opens(self):
        try:
            both.wait(0.5)  # both threads have seen that the app is eager
        except threading.BrokenBarrierError:
            pass
        opened(self)

    monkeypatch.setattr(Bench, "open", opens)
    app.conf.task_always_eager = True
    try:
        with ThreadPoolExecutor(2) as pool:
            runs = [*pool.map(slowly.start, [3, 4])]
        assert app.conf.task_always_eager
        assert app.clock is clock
        assert "storage" not in app.__dict__
        assert [run.result() for run in runs] == [3, 4]
    finally:
        app.conf.task_always_eager = False
