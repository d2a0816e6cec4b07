"""Limits of steps: a run whose step lacks a place or a token waits, and has no worker meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from liteq.exceptions import RateLimited
from liteq.message import Ack, Suspend
from liteq.workflow import ctx
from tests.integration.runs import Killed, Worker


@pytest.fixture
def flow(app):
    """A run with one limited step; its calls are in `flow.seen`."""
    seen = []

    @app.step(name="ask", limits=["llm", "tenant:{tenant}"])
    def ask(n: int, tenant: str = "acme") -> int:
        seen.append((n, running(app, "llm"), running(app, f"tenant:{tenant}")))
        return n

    @app.workflow(name="flow")
    def flow(n: int) -> int:
        return ask(n) + ask(n + 1)

    flow.seen = seen
    return flow


@pytest.fixture
def holder(app):
    """Has a place under "llm" until it is called."""

    @app.task(name="hold", limits=["llm"])
    def hold(): ...

    def take():
        hold.delay()
        other = Worker(app, "other")
        lease = other.claim()
        assert lease.task == "hold"
        return lambda: app.storage.settle([(lease, Ack())])

    return take


def running(app, key):
    return app.limits.get(key).running


def test_a_step_has_a_place_under_each_key_while_it_runs(app, worker, flow):
    app.limits.set("llm", concurrent=1)
    app.limits.set("tenant:*", concurrent=3)
    run = flow.start(1)
    worker.run()
    assert run.result(0) == 3
    assert flow.seen == [(1, 1, 1), (2, 1, 1)]
    assert running(app, "llm") == running(app, "tenant:acme") == 0


def test_a_step_that_has_ended_has_no_place(app, worker):
    after = []

    @app.step(name="ask", limits=["llm"], retries=1, backoff=0)
    def ask(fails: bool) -> None:
        if fails and not after:
            raise ValueError("once")

    @app.workflow(name="flow")
    def flow():
        ask(False)
        after.append(running(app, "llm"))
        ask(True)
        after.append(running(app, "llm"))

    app.limits.set("llm", concurrent=1)
    flow.start()
    worker.run()
    assert after == [0, 0]


def test_without_a_limit_nothing_is_taken(app, worker, flow):
    run = flow.start(1)
    worker.run()
    assert run.result(0) == 3
    assert [places for _, *places in flow.seen] == [[0, 0], [0, 0]]


def test_a_run_waits_for_a_place_and_is_woken_when_one_is_free(app, worker, flow, holder):
    app.limits.set("llm", concurrent=1)
    free = holder()
    run = flow.start(1)
    worker.run()
    assert isinstance(worker.outcomes[-1], Suspend)
    assert run.info().waiting_for == ["limit llm"]
    assert flow.seen == []
    free()
    worker.run()
    assert run.result(0) == 3
    assert run.steps()[0].attempts == 1


def test_one_that_waits_looks_again_by_itself(app, worker, flow, holder):
    app.limits.set("llm", concurrent=1)
    holder()
    run = flow.start(1)
    worker.run()
    app.limits.set("llm", concurrent=2)
    app.clock.advance(1.1)
    worker.run()
    assert run.result(0) == 3


def test_all_keys_or_none(app, worker, flow, holder):
    app.limits.set("llm", concurrent=1)
    app.limits.set("tenant:*", concurrent=1)
    holder()
    flow.start(1)
    worker.run()
    assert running(app, "tenant:acme") == 0
    assert flow.seen == []


def test_a_rate_lets_one_step_begin_at_its_time(app, worker, flow):
    app.limits.set("llm", rate="1/m")
    run = flow.start(1)
    worker.run()
    assert len(flow.seen) == 1
    app.clock.advance(59)
    worker.run()
    assert len(flow.seen) == 1
    app.clock.advance(1.1)
    worker.run()
    assert run.result(0) == 3


def test_runs_that_wait_for_tokens_do_not_all_wake_for_the_first(app, worker, flow):
    app.limits.set("llm", rate="1/m")
    for n in range(5):
        flow.start(n)
    worker.run()
    before = len(worker.outcomes)
    app.clock.advance(60.1)
    worker.run()
    assert len(flow.seen) == 2
    assert len(worker.outcomes) - before <= 2


def test_a_process_that_dies_in_the_step_leaves_no_place(app, worker, flow):
    @app.step(name="die", limits=["llm"])
    def die():
        raise Killed

    @app.workflow(name="dying")
    def dying():
        die()

    app.limits.set("llm", concurrent=1)
    dying.start()
    assert worker.turn()
    assert running(app, "llm") == 0


def test_a_step_of_a_run_that_has_the_place_needs_no_other(app, worker):
    @app.step(name="ask", limits=["llm"])
    def ask():
        return running(app, "llm")

    @app.workflow(name="flow", limits=["llm"])
    def flow():
        return ask()

    app.limits.set("llm", concurrent=1)
    run = flow.start()
    worker.run()
    assert run.result(0) == 1
    assert running(app, "llm") == 0


def test_a_step_that_is_sent_has_the_place_of_its_message(app, worker):
    @app.step(name="ask", limits=["llm"])
    def ask():
        return running(app, "llm")

    @app.workflow(name="flow")
    def flow():
        return ctx.call(ask)

    app.limits.set("llm", concurrent=1)
    run = flow.start()
    worker.run()
    assert run.result(0) == 1
    assert running(app, "llm") == 0


@pytest.mark.parametrize("backoff", [0, 5], ids=["in the process", "after a wait"])
def test_each_attempt_of_a_step_that_is_sent_takes_a_token(app, worker, backoff):
    begun = []

    @app.step(name="ask", limits=["llm"], retries=2, backoff=backoff)
    def ask() -> int:
        begun.append(app.clock.now_ms())
        if len(begun) < 3:
            raise ConnectionError
        return running(app, "llm")

    @app.workflow(name="flow")
    def flow() -> int:
        return ctx.call(ask)

    app.limits.set("llm", rate="1/m", concurrent=1)
    run = flow.start()
    for _ in range(30):
        worker.run()
        app.clock.advance(5)
    assert run.result(0) == 1, "and has the place of its message meanwhile"
    assert begun[1] - begun[0] >= 60_000
    assert begun[2] - begun[1] >= 60_000
    assert running(app, "llm") == 0


def test_async_steps_of_one_run_come_one_after_another(app, worker):
    now, most = [], []

    @app.step(name="ask", limits=["llm"])
    async def ask(n: int) -> int:
        now.append(n)
        most.append(len(now))
        await asyncio.sleep(0.01)
        now.remove(n)
        return n

    @app.workflow(name="flow")
    async def flow() -> int:
        return sum(await asyncio.gather(ask(1), ask(2), ask(3)))

    app.limits.set("llm", concurrent=2)
    run = flow.start()
    worker.run()
    assert run.result(0) == 6
    assert max(most) == 1
    assert running(app, "llm") == 0


def test_an_async_step_that_lacks_a_place_waits_too(app, worker, holder):
    @app.step(name="ask", limits=["llm"])
    async def ask(n: int) -> int:
        return n

    @app.workflow(name="flow")
    async def flow() -> int:
        return sum(await asyncio.gather(ask(1), ask(2)))

    app.limits.set("llm", concurrent=1)
    free = holder()
    run = flow.start()
    worker.run()
    assert run.info().waiting_for == ["limit llm"]
    free()
    worker.run()
    assert run.result(0) == 3


def test_a_step_that_meets_a_limit_outside_counts_no_attempt(app, worker):
    answers = [RateLimited(30), RateLimited(7)]

    @app.step(name="ask", limits=["llm"], retries=0)
    def ask() -> str:
        if answers:
            raise answers.pop()
        return "done"

    @app.workflow(name="flow")
    def flow() -> str:
        return ask()

    run = flow.start()
    worker.run()
    assert app.limits.get("llm").paused_until == pytest.approx(app.clock.now_ms() / 1000 + 7)
    app.clock.advance(8)
    worker.run()
    assert app.limits.get("llm").paused_until == pytest.approx(app.clock.now_ms() / 1000 + 30)
    app.clock.advance(31)
    worker.run()
    assert run.result(0) == "done"
    assert run.steps()[0].attempts == 1


@pytest.mark.parametrize("key", ["api", None])
def test_a_body_that_meets_a_limit_outside_waits_and_goes_on_by_a_replay(app, worker, key):
    answers, seen = [RateLimited(30, key)], []

    @app.step(name="ask")
    def ask() -> str:
        seen.append("ask")
        return "asked"

    @app.step(name="undo")
    def undo():
        seen.append("undo")

    @app.workflow(name="flow", limits=["llm"])
    def flow() -> str:
        with ctx.saga() as saga:
            saga.add(undo)
            asked = ask()
            if answers:
                raise answers.pop()
            return f"{asked}, done"

    run = flow.start()
    worker.run()
    assert isinstance(worker.outcomes[-1], Suspend)
    assert app.limits.get(key or "llm").paused_until == pytest.approx(app.clock.now_ms() / 1000 + 30)
    app.clock.advance(31)
    worker.run()
    assert run.result(0) == "asked, done"
    assert seen == ["ask"]


def test_a_body_that_meets_a_limit_after_a_cancel_is_undone_and_cancelled(app, worker):
    seen = []

    @app.step(name="ask")
    def ask():
        run.cancel()

    @app.step(name="undo")
    def undo():
        seen.append("undo")

    @app.workflow(name="flow")
    def flow():
        with ctx.saga() as saga, ctx.shield():
            saga.add(undo)
            ask()
            raise RateLimited(30)

    run = flow.start()
    worker.run()
    assert run.status == "cancelled"
    assert seen == ["undo"]


def test_a_wrong_key_is_refused_where_the_step_is_declared(app):
    with pytest.raises(ValueError, match=r"step 'ask': limits: there is no parameter 'tenent'.*'tenant'"):

        @app.step(name="ask", limits=["{tenent}"])
        def ask(tenant): ...
