"""The ids of a run's children: one that is in use is refused, and a child that gives its id up stays the same run."""

from __future__ import annotations

from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import CanvasConflict
from liteq.workflow import ctx
from tests.integration.runs import Worker

from .engines import on_both_engines


@on_both_engines
def test_a_child_under_the_id_of_a_run_that_has_not_ended_is_refused(app: LiteQ) -> None:
    """It waited for ever: nobody told it of the end of a run that was not its own."""

    @app.workflow
    def child(n: int) -> int:
        ctx.wait_event("go")
        return n

    @app.workflow
    def parent() -> int:
        return ctx.call(child.options(id="taken"), 1)  # type: ignore[no-any-return]

    other = child.options(id="taken").start(1)
    run = parent.start()
    worker = Worker(app)
    worker.run()
    assert run.status == "failed"
    with pytest.raises(CanvasConflict, match="'taken' belongs to what is in the queue already"):
        run.result()
    other.send("go")
    worker.run()
    assert other.status == "succeeded", "the other run is as it was"


@on_both_engines
def test_a_canvas_that_still_runs_is_not_waited_for_under_the_id_of_another_call(app: LiteQ) -> None:
    @app.task
    def work(n: int) -> int:
        return 2 * n

    @app.workflow
    def parent() -> int:
        return ctx.call(work.s(5).set(task_id="taken"))  # type: ignore[no-any-return]

    run = parent.start()
    worker = Worker(app)
    worker.turn()
    lease = worker.claim()
    assert lease is not None
    assert lease.id == "taken"
    run.rewind(1)
    worker.run()
    assert run.status == "failed"
    with pytest.raises(CanvasConflict, match="'taken' belongs to what is in the queue already"):
        run.result()


@on_both_engines
def test_a_child_that_gives_its_id_up_undoes_what_it_has_done(app: LiteQ) -> None:
    """Its replay meets the arguments that it had under its former id: a step's key, and its own id in a text."""
    did: list[Any] = []

    @app.step
    def book(key: str, name: str) -> str:
        did.append(("book", key, name))
        return key

    @app.step
    def cancel(key: str) -> None:
        did.append(("cancel", key))

    @app.workflow
    def trip() -> None:
        with ctx.saga() as saga:
            saga.add(cancel, book(ctx.step_key, f"of {ctx.run_id}"))
            ctx.wait_event("never")

    @app.workflow
    def parent() -> None:
        ctx.call(trip)

    run = parent.start()
    worker = Worker(app)
    worker.run()
    (step,) = [step for step in run.steps() if step.child_id]
    first = app.Run(str(step.child_id))
    assert first.status == "waiting"
    run.rewind(1)
    worker.run()
    (key, again) = [entry[1] for entry in did if entry[0] == "book"]
    assert [entry for entry in did if entry[0] == "cancel"] == [("cancel", key)]
    assert key != again, "the next child is another run"
    assert sorted(one.status for one in app.runs(name=trip.name)) == ["cancelled", "waiting"]


@on_both_engines
def test_a_rewind_leaves_what_was_sent_under_an_id_of_its_own(app: LiteQ) -> None:
    """The run of somebody else lost its id, and another was started under it."""

    @app.workflow
    def ship(n: int) -> int:
        ctx.wait_event("go")
        return n

    @app.workflow
    def order() -> None:
        ship.options(id="theirs", on_conflict="existing").start(1)
        ship.options(id="mine").start(2)

    theirs = ship.options(id="theirs").start(7)
    run = order.start()
    worker = Worker(app)
    worker.run()
    run.rewind(1)
    worker.run()
    assert run.status == "succeeded"
    assert sorted(one.id for one in app.runs(name=ship.name)) == ["mine", "theirs"], "an id names one run"
    theirs.send("go")
    worker.run()
    assert theirs.result(0) == 7


@on_both_engines
def test_a_refused_call_is_refused_in_each_replay(app: LiteQ) -> None:
    """A body that went on without the child met it in a later replay, where its id was free, and got stuck."""

    @app.workflow
    def child(n: int) -> int:
        ctx.wait_event("go")
        return n

    @app.workflow
    def parent() -> list[str]:
        lost = []
        for begin in (lambda: ctx.call(child.options(id="taken"), 1), lambda: ctx.spawn(child.options(id="taken"), 1)):
            try:
                begin()
            except CanvasConflict as exc:
                lost.append(type(exc).__name__)
        ctx.wait_event("on")
        return lost

    other = child.options(id="taken").start(1)
    run = parent.start()
    worker = Worker(app)
    worker.run()
    other.send("go")
    worker.run()
    assert app.storage.runs.delete([other.id]) == 1
    run.send("on")
    worker.run()
    assert run.status == "succeeded"
    assert run.result(0) == ["CanvasConflict", "CanvasConflict"]
