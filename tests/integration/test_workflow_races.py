"""Ends while a body executes: it decides as each replay of it will, which knows in which order they came."""

from __future__ import annotations

import pytest

from liteq.exceptions import RunCancelled
from liteq.storage.runs.records import UNDONE
from liteq.workflow import ctx

from .runs import Worker


@pytest.fixture
def double(app):
    @app.task(name="double")
    def double(n: int) -> int:
        if n < 0:
            raise ValueError(f"not {n}")
        return 2 * n

    return double


@pytest.fixture
def meanwhile(app):
    """A step in which what its body has called `does` happens, once."""

    class Meanwhile:
        does = staticmethod(lambda: None)

    @app.step(name="meanwhile")
    def meanwhile() -> None:
        Meanwhile.does()

    Meanwhile.step = meanwhile
    return Meanwhile


def decided(app, worker, body):
    """The decision of each activation of `body`, which has gone on behind it."""
    seen: list[object] = []

    @app.workflow(name="flow")
    def flow() -> None:
        seen.append(body())
        ctx.sleep(1)

    run = flow.options(id="flow").start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert run.status == "succeeded"
    assert len(seen) > 1
    return seen


def test_a_child_that_has_ended_meanwhile_has_won_before_an_event_that_is_taken_now(app, worker, double, meanwhile):
    meanwhile.does = lambda: Worker(app).turn() and app.Run("flow").send("go")

    def body():
        child = ctx.spawn(double, 4)
        meanwhile.step()
        return ctx.race([ctx.event("go"), child])

    assert set(decided(app, worker, body)) == {(1, 8)}


def test_an_event_that_has_come_meanwhile_has_won_before_one_that_is_taken_now(app, worker, meanwhile):
    meanwhile.does = lambda: [app.Run("flow").send(name) for name in ("first", "second")]

    def body():
        first = ctx.event("first")
        meanwhile.step()
        return ctx.race([ctx.event("second"), first])

    assert set(decided(app, worker, body)) == {(1, None)}


def test_what_has_lost_one_race_has_lost_the_next_one_in_each_replay(app, worker, meanwhile):
    meanwhile.does = lambda: [app.Run("flow").send("go", n) for n in (1, 2)]

    def body():
        meanwhile.step()
        timer = ctx.timer("1h")
        first = ctx.race([ctx.event("go"), timer])
        try:
            return (first, ctx.race([ctx.event("go"), timer]))
        except RunCancelled:
            return (first, "cancelled")

    assert set(decided(app, worker, body)) == {((0, 1), "cancelled")}


def test_the_failure_that_was_first_is_raised_though_another_one_is_known(app, worker, double, meanwhile):
    def others() -> None:
        one = Worker(app)
        leases = [one.claim(), one.claim()]
        app.storage.settle([(lease, one.execute(lease)) for lease in leases])

    meanwhile.does = others

    def body():
        first, second = ctx.spawn(double, -1), ctx.spawn(double, -2)
        meanwhile.step()
        assert second.done
        try:
            ctx.gather([first, second])
        except ValueError as exc:
            return str(exc)

    assert set(decided(app, worker, body)) == {"not -1"}


@pytest.mark.parametrize("cancels", [True, False])
def test_a_handle_that_was_not_done_was_not_in_each_replay(app, worker, double, cancels):
    def body():
        one, other = ctx.spawn(double, 1), ctx.spawn(double, 2)
        done = one.done
        if cancels and not done:
            one.cancel()
        return (done, *ctx.gather([other]))

    assert set(decided(app, worker, body)) == {(False, 4)}


def test_a_handle_that_is_asked_again_and_again_leaves_nothing_but_the_sleeps(app, worker, double):
    def body():
        other, asked = ctx.spawn(double, 2), 0
        while asked < 3 and not ctx.event("never").done:
            asked += 1
            ctx.sleep(1)
        return ctx.gather([other])

    run = app.workflow(name="flow")(body).start()
    for _ in range(3):
        worker.run()
        app.clock.advance(1)
    (found,) = app.storage.runs.list([run.id], limit=1)
    assert not [mark for mark in app.storage.runs.history(found.number).marks if mark.startswith(UNDONE)]
    worker.run()
    assert run.result(0) == [4]
