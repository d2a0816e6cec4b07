"""A call that leaves no record, as handle.result(), is gone from the code: what stands behind it is not made again."""

from __future__ import annotations

import orjson
import pytest

from liteq.monitor.runs.run_replay import compared
from liteq.storage.runs import records
from liteq.workflow import ctx

from .runs import Killed


class Code:
    """The code of the workflows below: "old", or "new" after a deploy."""

    age = "old"


@pytest.fixture
def code():
    return Code()


@pytest.fixture
def done():
    return []


@pytest.fixture
def double(app, done):
    @app.step(name="double")
    def double(n: int) -> int:
        done.append(n)
        return 2 * n

    return double


def waited_for(code, double):
    handle = ctx.spawn(double, 1)
    if code.age == "old":
        handle.result()
    double(2)


def gathered(code, double):
    handles = [ctx.spawn(double, 1)]
    if code.age == "old":
        ctx.gather(handles)
    double(2)


def raced(code, double):
    handles = [ctx.spawn(double, 1)]
    if code.age == "old":
        ctx.race(handles)
    ctx.call(double, 2)


def mapped_over_nothing(code, double):
    double(1)
    if code.age == "old":
        ctx.map(double, [])
    ctx.map(double, [2])


@pytest.mark.parametrize("body", [waited_for, gathered, raced, mapped_over_nothing])
def test_a_finished_step_is_not_made_again(app, worker, code, double, done, body):
    @app.workflow(name="goes")
    def goes() -> None:
        body(code, double)
        ctx.wait_event("go")

    run = goes.start()
    worker.run()
    assert (run.status, done) == ("waiting", [1, 2])
    code.age = "new"
    record = app.storage.runs.find(run.id)
    assert not compared(app, record)["ok"]
    run.send("go")
    worker.run()
    assert (run.status, done) == ("stuck", [1, 2])
    assert "call 2 history holds" in run.info().error
    code.age = "old"
    run.resume()
    worker.run()
    assert (run.status, done) == ("succeeded", [1, 2])


def test_an_empty_map_before_one_over_items_fits(app, worker, double, done):
    @app.workflow(name="fits")
    def fits() -> list[int]:
        found = ctx.map(double, []) + ctx.map(double, [1])
        return [*found, ctx.wait_event("go")]

    run = fits.start()
    worker.run()
    assert compared(app, app.storage.runs.find(run.id))["ok"]
    run.send("go", 3)
    worker.run()
    assert (run.result(0), done) == ([2, 3], [1])


def test_a_map_over_more_items_than_before_sends_none_of_them(app, worker, code, double, done):
    @app.workflow(name="more")
    def more() -> None:
        ctx.map(double, [1, 2] if code.age == "old" else [1, 2, 3])
        ctx.wait_event("go")

    run = more.start()
    worker.run()
    code.age = "new"
    run.send("go")
    worker.run()
    assert (run.status, done) == ("stuck", [1, 2])
    assert "a map over 2 items" in run.info().error


def test_a_map_whose_process_died_between_two_chunks_sends_the_rest(app, worker, double, done, monkeypatch):
    monkeypatch.setattr("liteq.workflow.calling.children.CHUNK", 1)
    sent = []
    spawn = app.storage.runs.spawn

    def dies(*args, **kwargs):
        sent.append(1)
        if len(sent) == 2:
            raise Killed
        return spawn(*args, **kwargs)

    @app.workflow(name="dies")
    def flow() -> list[int]:
        return ctx.map(double, [1, 2, 3])

    app.storage.runs.spawn = dies
    run = flow.start()
    worker.run()
    assert (run.result(0), sorted(done)) == ([2, 4, 6], [1, 2, 3])


@pytest.mark.parametrize("again", ["retry", "fork"])
def test_equal_calls_of_which_one_was_forgotten_are_made_again(app, worker, done, again):
    """Two equal calls stand side by side: the first has failed, or has not ended, and history keeps the second."""
    fails = [True]

    @app.task(name="work")
    def work(n: int) -> int:
        done.append(n)
        if fails.pop() if fails else False:
            raise ValueError("not yet")
        return n

    @app.workflow(name="both")
    def both() -> list[int]:
        return ctx.gather([ctx.spawn(work, 1), ctx.spawn(work, 1)], on_error="wait")

    run = both.start()
    worker.run()
    if again == "retry":
        assert run.retry()
    else:
        with app.storage.driver.write() as tx:
            tx.execute("UPDATE liteq_steps SET ended_ms = NULL, error = NULL WHERE pos = 1")
        run = run.fork(3)
    worker.run()
    assert (run.result(0), done) == ([1, 1], [1, 1, 1])


def test_a_history_that_older_code_has_cut_may_have_holes_anywhere(app, worker, done):
    """A fork of it had no mark of the calls that it had left out, as they had not ended."""

    @app.task(name="work")
    def work() -> None:
        done.append(1)

    @app.workflow(name="both")
    def both() -> None:
        ctx.gather([ctx.spawn(work), ctx.spawn(work)])

    run = both.start()
    worker.run()
    with app.storage.driver.write() as tx:
        tx.execute("UPDATE liteq_steps SET ended_ms = NULL WHERE pos = 1")
    fork = run.fork(3)
    with app.storage.driver.write() as tx:
        marks = orjson.dumps([records.FORK + run.id])
        tx.execute("UPDATE liteq_runs SET marks = ? WHERE forked_from IS NOT NULL", (marks,))
    worker.run()
    assert (fork.status, done) == ("succeeded", [1, 1, 1])
