"""Rewinds: news that a run was told, and results that it has left elsewhere, count no more behind the step named."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from liteq import LiteQ, chain
from liteq.exceptions import WorkflowCancelled, WorkflowError
from liteq.workflow import ctx
from tests.integration.runs import Killed, Worker

from .engines import on_both_engines


@on_both_engines
def test_a_rewound_run_does_its_steps_in_other_databases_again(app: LiteQ, tmp_path: Path) -> None:
    """The result that the step had left there was taken for that of the step which is made again."""
    kill: list[bool] = []

    def shop() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "shop.db")

    with shop() as there:
        there.execute("CREATE TABLE sold (what TEXT)")

    @app.step(tx=shop)
    def sell(what: str) -> str:
        ctx.tx.execute("INSERT INTO sold VALUES (?)", (what,))
        return what

    @app.step
    def after() -> None:
        if kill.pop() if kill else False:
            raise Killed

    @app.workflow
    def flow() -> list[str]:
        sold = [sell("a")]
        after()
        return [*sold, sell("b")]

    def sold() -> list[str]:
        with shop() as there:
            return [what for (what,) in there.execute("SELECT what FROM sold ORDER BY what")]

    run, worker = flow.start(), Worker(app)
    worker.run()
    assert sold() == ["a", "b"]
    run.rewind(3)
    worker.run()
    assert sold() == ["a", "b", "b"]
    run.rewind(1)
    kill.append(True)
    worker.run()
    assert run.result(0) == ["a", "b"]
    assert sold() == ["a", "a", "b", "b", "b"], "once more each, over a kill, too"
    run.rewind(4)  # nothing is forgotten
    worker.run()
    assert len(sold()) == 5


@on_both_engines
def test_a_cancel_that_is_rewound_is_not_told_again(app: LiteQ) -> None:
    @app.step
    def first() -> None: ...

    @app.workflow
    def flow() -> str:
        first()
        try:
            ctx.wait_event("go")
        except WorkflowCancelled:
            with ctx.shield():
                ctx.sleep("1m")
            raise
        return "went"

    run, worker = flow.start(), Worker(app)
    worker.run()
    run.cancel()
    worker.run()
    app.clock.advance(60)  # type: ignore[attr-defined]
    worker.run()
    assert run.status == "cancelled"
    copy = run.fork(2)
    run.rewind(2)
    for one in (run, copy):
        one.send("go")
        worker.run()
        assert one.status == "succeeded"
        assert one.result(0) == "went"


@on_both_engines
def test_a_child_that_is_begun_again_has_not_ended(app: LiteQ) -> None:
    @app.workflow
    def child() -> None:
        ctx.wait_event("end", timeout="1h", default=None)

    @app.workflow
    def flow() -> bool:
        handle = ctx.spawn(child)
        ctx.wait_event("a")
        done = handle.done
        ctx.wait_event("b")
        return done

    run, worker = flow.start(), Worker(app)
    worker.run()
    (step,) = [step for step in run.steps() if step.child_id]
    app.Run(str(step.child_id)).send("end")
    worker.run()
    run.send("a")
    worker.run()
    run.rewind(1)
    worker.run()
    run.send("b")
    worker.run()
    assert run.result(0) is False


def test_a_run_that_has_cleaned_up_when_its_time_was_over_is_rewound_and_not_retried(app):
    ran = []

    @app.step(name="says")
    def says(text: str) -> None:
        ran.append(text)

    @app.workflow(name="late", timeout="1h")
    def late() -> str:
        says("first")
        try:
            ctx.wait_event("go")
        except WorkflowCancelled:
            with ctx.shield():
                says("clean-up")
            raise
        return "done"

    run, worker = late.start(), Worker(app)
    worker.run()
    app.clock.advance(3601)
    worker.run()
    assert (run.status, ran) == ("failed", ["first", "clean-up"])
    with pytest.raises(WorkflowError, match="has cleaned up when its time was over: rewind it"):
        run.retry()
    run.rewind(2)
    worker.run()
    run.send("go")
    worker.run()
    assert run.result(0) == "done"
    assert ran == ["first", "clean-up"]


@on_both_engines
def test_events_that_a_rewind_gives_back_come_before_newer_ones(app: LiteQ) -> None:
    @app.workflow
    def flow() -> list[int]:
        first = [ctx.wait_event("go"), ctx.wait_event("go")]
        ctx.wait_event("then")
        return [*first, ctx.wait_event("go"), ctx.wait_event("go")]

    run, worker = flow.start(), Worker(app)
    for n in (1, 2):
        run.send("go", n)
        worker.run()
    run.send("go", 3)  # stays in the inbox
    run.rewind(1)
    run.send("go", 4)
    run.send("then")
    worker.run()
    assert run.result(0) == [1, 2, 3, 4]


@on_both_engines
@pytest.mark.parametrize("how", ["retry", "rewind"])
def test_a_run_that_goes_on_after_a_failure_has_the_events_that_it_had_not_taken(app: LiteQ, how: str) -> None:
    fails = [True]

    @app.step
    def work() -> None:
        if fails.pop() if fails else False:
            raise ValueError("not yet")

    @app.workflow
    def flow() -> list[int]:
        work()
        return [ctx.wait_event("go"), ctx.wait_event("go")]

    run, worker = flow.start(), Worker(app)
    run.send("go", 1, dedup="a")
    worker.run()
    assert run.status == "failed"
    if how == "retry":
        assert run.retry()
    else:
        run.rewind(1)
    assert not run.send("go", 1, dedup="a")
    run.send("go", 2)
    worker.run()
    assert run.result(0) == [1, 2]


@on_both_engines
def test_a_later_run_of_an_id_gets_no_event_of_one_that_has_failed(app: LiteQ) -> None:
    fails = [True]

    @app.workflow
    def flow() -> object:
        if fails.pop() if fails else False:
            raise ValueError("not yet")
        return ctx.wait_event("go", timeout=1, default="none")

    run, worker = flow.options(id="one").start(), Worker(app)
    run.send("go", 1, dedup="a")
    worker.run()
    assert run.status == "failed"
    again = flow.options(id="one", on_conflict="renew").start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert again.result(0) == "none"


def test_a_run_that_waits_for_its_first_argument_is_not_rewound(app: LiteQ) -> None:
    @app.task(name="five")
    def five() -> int:
        return 5

    @app.workflow(name="link")
    def link(n: int) -> int:
        return n

    chain(five.s(), link.s()).apply_async()
    (run,) = app.runs()
    with pytest.raises(WorkflowError, match="has not begun"):
        run.rewind(1)
    Worker(app).run()
    assert run.result(0) == 5


@on_both_engines
def test_a_run_whose_unique_key_another_one_has_is_not_rewound(app: LiteQ) -> None:
    @app.workflow(unique=True)
    def flow() -> int:
        return ctx.wait_event("go")

    run, worker = flow.start(), Worker(app)
    run.send("go", 1)
    worker.run()
    assert run.status == "succeeded"
    other = flow.start()
    assert other.id != run.id
    with pytest.raises(WorkflowError, match="another one has its unique key"):
        run.rewind(1)
    assert (run.status, len(run.steps())) == ("succeeded", 1)
    other.cancel()
    worker.run()
    run.rewind(1)
    worker.run()
    assert run.result(0) == 1
