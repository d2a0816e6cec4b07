"""Clean-up of a body: sagas after a failure and a cancel, shields, and a cancel that nothing swallows."""

from __future__ import annotations

import pytest

from liteq.exceptions import RunCancelled, TimeLimitExceeded, WorkflowCancelled, WorkflowError
from liteq.workflow import ctx
from tests.integration.runs import Killed, Worker, killed_at

from .engines import on_both_engines


@pytest.fixture
def did(app):
    """A list of what was done and undone; `undo` of 2 fails where `did.bad` says so."""

    class Did(list):
        bad = False
        kill = False

    did = Did()

    @app.step(name="do")
    def do(n: int) -> int:
        did.append(n)
        return n

    @app.step(name="undo")
    def undo(n: int) -> None:
        did.append(-n)
        if n == 2 and did.kill:
            did.kill = False
            raise Killed
        if n == 2 and did.bad:
            raise RuntimeError("undo failed")

    return did


def three(app, ending):
    do, undo = app.steps_of_workflows["do"], app.steps_of_workflows["undo"]

    @app.workflow(name="three")
    def three() -> str:
        with ctx.saga() as saga:
            for n in (1, 2, 3):
                saga.add(undo, do(n))
            ending()
        return "done"

    return three


def fail():
    raise ValueError("no")


@on_both_engines
def test_compensations_run_last_in_first_out_once_each(app, worker, did):
    run = three(app, fail).start()
    worker.run()
    with pytest.raises(ValueError, match="no"):
        run.result(0)
    assert did == [1, 2, 3, -3, -2, -1]
    with pytest.raises(WorkflowError):
        run.retry()


def test_without_a_failure_nothing_is_undone(app, worker, did):
    run = three(app, lambda: None).start()
    worker.run()
    assert run.result(0) == "done"
    assert did == [1, 2, 3]


def test_a_kill_in_a_compensation_repeats_that_one_alone(app, worker, did):
    did.kill = True
    run = three(app, fail).start()
    worker.run()
    with pytest.raises(ValueError, match="no"):
        run.result(0)
    assert did == [1, 2, 3, -3, -2, -2, -1]


@pytest.mark.parametrize("n", range(1, 7))
def test_a_kill_after_any_commit_undoes_each_once(app, did, n):
    run = three(app, fail).start()
    with killed_at(app, n, before=False):
        worker = Worker(app)
        worker.turn()
    worker.run()
    with pytest.raises(ValueError, match="no"):
        run.result(0)
    assert did == [1, 2, 3, -3, -2, -1]


def test_a_failing_compensation_is_recorded_and_the_others_still_run(app, worker, did):
    did.bad = True
    run = three(app, fail).start()
    worker.run()
    with pytest.raises(ValueError, match="no"):
        run.result(0)
    assert did == [1, 2, 3, -3, -2, -1]
    assert [step.status for step in run.steps()] == ["done"] * 4 + ["failed", "done"]


@pytest.mark.parametrize("which", ["async", "workflow", "a key used twice", "failing"])
def test_a_compensation_that_cannot_be_called_is_told_of(app, worker, did, caplog, which):
    undo = app.steps_of_workflows["undo"]

    @app.step(name="later")
    async def later(n: int) -> None: ...

    @app.workflow(name="other")
    def other(n: int) -> None: ...

    keyed = undo.options(key="one")
    bad = {"async": later, "workflow": other, "a key used twice": keyed, "failing": undo}[which]
    did.bad = which == "failing"

    @app.workflow(name="flow")
    def flow() -> None:
        with ctx.saga() as saga:
            saga.add(undo, 1)
            keyed(3)
            saga.add(bad, 2)
            fail()

    run = flow.start()
    worker.run()
    with pytest.raises(ValueError, match="no"):
        run.result(0)
    assert did[-1] == -1
    said = [record.getMessage() for record in caplog.records if "cannot be called" in record.getMessage()]
    assert [run.id in text for text in said] == [True] * (which != "failing")


def test_a_step_brings_its_own_compensation(app, worker):
    undone = []

    @app.step(name="book", compensate=undone.append)
    def book(n: int) -> dict:
        return {"n": n}

    @app.workflow(name="books")
    def books() -> None:
        with ctx.saga():
            book(1)
            ctx.sleep(1)
            book(2)
            raise ValueError

    books.start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert undone == [{"n": 2}, {"n": 1}]


def test_a_step_that_was_sent_brings_its_compensation_with_its_result(app, worker):
    undone = []

    @app.step(name="book", compensate=undone.append)
    def book(n: int) -> int:
        return n

    @app.workflow(name="books")
    def books() -> None:
        with ctx.saga():
            ctx.call(book, 1)
            handle = ctx.spawn(book, 2)
            assert handle.result() == handle.result() == 2
            ctx.map(book, [3, 4])
            ctx.race([ctx.spawn(book, 5), ctx.timer("1h")])
            raise ValueError

    books.start()
    worker.run()
    assert undone == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("on_error", ["raise", "wait"])
def test_what_has_succeeded_beside_a_failure_is_undone(app, worker, on_error):
    undone = []

    @app.step(name="book", compensate=undone.append)
    def book(n: int) -> int:
        if n == 2:
            raise ValueError("no room")
        return n

    @app.workflow(name="books")
    def books() -> None:
        with ctx.saga():
            ctx.map(book, [1, 2, 3], limit=1, on_error=on_error)

    run = books.start()
    worker.run()
    assert undone == ([1] if on_error == "raise" else [3, 1])
    assert run.status == "failed"


# -- cancel ----------------------------------------------------------------------------------------------------------


@on_both_engines
def test_a_cancel_while_it_waits_runs_the_compensations(app, worker, did):
    run = three(app, lambda: ctx.sleep("1d")).start()
    worker.run()
    run.cancel("changed my mind")
    worker.run()
    assert did == [1, 2, 3, -3, -2, -1]
    assert run.status == "cancelled"
    assert [step.status for step in run.steps() if step.kind == "sleep"] == ["cancelled"], "nobody waits any more"
    with pytest.raises(RunCancelled, match="changed my mind"):
        run.result(0)


def test_a_kill_in_the_clean_up_of_a_cancel_goes_on_there(app, worker, did):
    did.kill = True
    run = three(app, lambda: ctx.sleep("1d")).start()
    worker.run()
    run.cancel()
    worker.run()
    assert did == [1, 2, 3, -3, -2, -2, -1]
    assert run.status == "cancelled"


def test_a_cancel_in_a_step_lets_it_end_and_begins_no_other(app, worker, did):
    do, undo = app.steps_of_workflows["do"], app.steps_of_workflows["undo"]
    runs = []

    @app.step(name="cancels")
    def cancels() -> str:
        runs[0].cancel("from inside")
        return "ended"

    @app.workflow(name="flow")
    def flow() -> None:
        with ctx.saga() as saga:
            saga.add(undo, do(1))
            assert cancels() == "ended"
            do(2)

    runs.append(flow.start())
    worker.run()
    assert did == [1, -1]
    assert runs[0].status == "cancelled"
    assert [step.name for step in runs[0].steps()] == ["do", "cancels", "undo"]


def test_a_cancel_with_the_last_write_of_a_saga_undoes_it_too(app, worker, did):
    do, undo = app.steps_of_workflows["do"], app.steps_of_workflows["undo"]
    runs = []

    @app.step(name="cancels")
    def cancels() -> None:
        runs[0].cancel()

    @app.workflow(name="flow")
    def flow() -> str:
        with ctx.saga() as saga:
            saga.add(undo, do(1))
            cancels()
        return "committed"

    runs.append(flow.start())
    worker.run()
    assert did == [1, -1]
    assert runs[0].status == "cancelled"


def test_a_saga_that_was_left_before_the_cancel_came_is_not_undone(app, worker, did):
    do, undo = app.steps_of_workflows["do"], app.steps_of_workflows["undo"]

    @app.workflow(name="flow")
    def flow() -> None:
        with ctx.saga() as saga:
            saga.add(undo, do(1))
        ctx.sleep("1d")

    run = flow.start()
    worker.run()
    run.cancel()
    worker.run()
    assert did == [1]
    assert run.status == "cancelled"


def test_a_cancel_cannot_be_swallowed(app, worker, did):
    do = app.steps_of_workflows["do"]
    caught = []

    def stubborn() -> str:
        while True:
            try:
                ctx.sleep("1d")
            except WorkflowCancelled:
                caught.append(1)
                if len(caught) > 3:
                    return "I go on"
                try:
                    do(9)
                except WorkflowCancelled:
                    caught.append(2)

    run = app.workflow(name="stubborn")(stubborn).start()
    worker.run()
    run.cancel()
    worker.run()
    assert did == [], "no step starts"
    assert run.status == "cancelled"


def test_steps_run_inside_a_shield(app, worker, did):
    do = app.steps_of_workflows["do"]

    @app.workflow(name="cleans")
    def cleans() -> None:
        try:
            ctx.sleep("1d")
        finally:
            with ctx.shield():
                do(5)

    run = cleans.start()
    worker.run()
    assert did == [], "a suspension runs `finally` too, and no step there"
    run.cancel()
    worker.run()
    assert did == [5]
    assert run.status == "cancelled"


def test_a_run_that_has_not_begun_ends_at_once(app, worker, did):
    run = three(app, fail).start()
    run.cancel("early")
    assert run.status == "cancelled"
    assert worker.run() == 0
    with pytest.raises(RunCancelled, match="early"):
        run.result(0)


def test_children_are_cancelled_with_their_parent(app, worker, did):
    @app.workflow(name="inner")
    def inner() -> None:
        ctx.sleep("1d")

    @app.workflow(name="outer")
    def outer() -> None:
        ctx.call(inner)

    run = outer.start()
    worker.run()
    (step,) = run.steps()
    run.cancel()
    worker.run()
    assert run.status == "cancelled"
    assert app.Run(step.child_id).status == "cancelled"


def test_terminate_runs_no_saga(app, worker, did):
    run = three(app, lambda: ctx.sleep("1d")).start()
    worker.run()
    run.terminate("now")
    assert run.status == "cancelled"
    worker.run()
    assert did == [1, 2, 3]
    with pytest.raises(RunCancelled, match="now"):
        run.result(0)


def test_the_timeout_of_a_workflow_is_a_cancel_after_which_it_has_failed(app, worker, did):
    do, undo = app.steps_of_workflows["do"], app.steps_of_workflows["undo"]

    @app.workflow(name="slow", timeout="1h")
    def slow() -> None:
        with ctx.saga() as saga:
            saga.add(undo, do(1))
            ctx.sleep("1d")

    run = slow.start()
    worker.run()
    app.clock.advance(3600)
    worker.run()
    assert did == [1, -1]
    assert run.status == "failed"
    with pytest.raises(TimeLimitExceeded):
        run.result(0)


# -- pause, resume, retry, fork, rewind ------------------------------------------------------------------------------


def test_a_paused_run_stops_after_its_step_and_goes_on_when_resumed(app, worker, did):
    do = app.steps_of_workflows["do"]
    runs = []

    @app.step(name="pauses")
    def pauses() -> None:
        runs[0].pause()

    @app.workflow(name="flow")
    def flow() -> str:
        do(1)
        pauses()
        do(2)
        return "done"

    runs.append(flow.start())
    worker.run()
    assert runs[0].status == "paused"
    assert did == [1]
    assert runs[0].resume()
    worker.run()
    assert runs[0].result(0) == "done"
    assert did == [1, 2]


def test_a_failed_run_goes_on_at_the_step_that_failed(app, worker, did):
    do = app.steps_of_workflows["do"]
    broken = [True]

    @app.step(name="breaks")
    def breaks() -> str:
        if broken:
            raise ConnectionError
        return "mended"

    @app.workflow(name="flow")
    def flow() -> str:
        do(1)
        return breaks()

    run = flow.start()
    worker.run()
    assert run.status == "failed"
    broken.clear()
    assert run.retry()
    worker.run()
    assert run.result(0) == "mended"
    assert did == [1]


@on_both_engines
def test_fork_copies_the_steps_before_and_leaves_the_original(app, worker, did):
    do = app.steps_of_workflows["do"]

    @app.workflow(name="flow")
    def flow() -> list[object]:
        key = ctx.step_key
        return [str(ctx.uuid()), key, do(1), do(2), do(3), str(ctx.uuid())]

    run = flow.options(id="a").start()
    worker.run()
    other = run.fork(3, id="b")
    worker.run()
    assert did == [1, 2, 3, 3]
    assert other.result(0) == run.result(0)
    assert other.info().forked_from == "a"


@pytest.fixture
def named(app, worker):
    """A run `a` of three steps that take the run's id: alone, inside a text, and in the key of the call."""
    ran = []

    @app.step(name="pay")
    def pay(key: str) -> str:
        app.clock.advance(1)
        ran.append(key)
        return f"paid {key}"

    @app.workflow(name="named")
    def flow(other: str = "x") -> list[str]:
        id_ = ctx.run_id
        last = pay.options(key=f"last of {id_}")(other)
        return [pay(id_), pay(f"order-{id_}"), last, pay(f"new {id_}")]

    run = flow.options(id="run a").start()
    worker.run()
    assert ran == ["x", "run a", "order-run a", "new run a"]
    ran.clear()
    return run, ran


def test_a_fork_keeps_steps_that_took_the_id_of_their_run(named, worker):
    run, ran = named
    kept = ["paid run a", "paid order-run a", "paid x"]
    other = run.fork(4, id="run b")
    worker.run()
    assert other.result(0) == [*kept, "paid new run b"]
    assert ran == ["new run b"]
    third = other.fork(5, id="run c")
    worker.run()
    assert third.result(0) == [*kept, "paid new run b"]
    assert ran == ["new run b"]


def test_a_fork_is_stuck_where_a_kept_step_had_other_arguments_but_for_the_id(app, named, worker):
    run, ran = named
    pay = app.steps_of_workflows["pay"]

    @app.workflow(name="named")
    def changed(other: str = "x") -> list[str]:
        pay.options(key=f"last of {ctx.run_id}")(other)
        return [pay(ctx.run_id), pay(f"basket-{ctx.run_id}")]

    other = run.fork(4, id="run b")
    worker.run()
    assert other.status == "stuck"
    assert ran == []


def test_a_fork_behind_continue_as_new_keeps_steps_that_took_a_step_key(app, worker):
    ran = []

    @app.step(name="pay")
    def pay(key: str) -> None:
        ran.append(key)

    @app.workflow(name="flow")
    def flow(n: int) -> str:
        pay(ctx.step_key)
        if n < 2:
            ctx.continue_as_new(n + 1)
        pay(str(ctx.uuid()))
        return "done"

    run = flow.start(1)
    worker.run()
    assert len(ran) == 3
    other = run.fork(4)
    worker.run()
    assert other.result(0) == "done"
    assert len(ran) == 3


def test_rewind_forgets_the_steps_from_there_on(app, worker, did):
    do = app.steps_of_workflows["do"]

    @app.workflow(name="flow")
    def flow() -> list[int]:
        return [do(1), do(2), do(3)]

    run = flow.start()
    worker.run()
    run.rewind(2)
    worker.run()
    assert did == [1, 2, 3, 2, 3]
    assert run.result(0) == [1, 2, 3]


def test_continue_as_new_begins_anew_under_the_same_id(app, worker, did):
    do = app.steps_of_workflows["do"]

    @app.workflow(name="flow")
    def flow(n: int) -> list[object]:
        do(n)
        if n < 3:
            ctx.continue_as_new(n + 1)
        return [n, ctx.history_length, ctx.wait_event("go")]

    run = flow.options(id="loop").start(1)
    run.send("go", "kept")
    worker.run()
    assert run.result(0) == [3, 1, "kept"]
    assert did == [1, 2, 3]


def test_an_end_without_a_reason_says_what_it_was(app, worker):
    @app.workflow(name="rests")
    def rests() -> None:
        ctx.sleep("1d")

    waiting, fresh, killed = rests.start(), rests.start(), rests.start()
    worker.turn()
    for run, end, text in ((waiting, waiting.cancel, "cancelled"), (fresh, fresh.cancel, "cancelled"),
                           (killed, killed.terminate, "terminated")):  # fmt: skip
        end()
        worker.run()
        with pytest.raises(RunCancelled, match=text):
            run.result(0)


@on_both_engines
def test_what_was_decided_before_a_call_that_a_cancel_stops_is_kept(app, worker):
    seen, tries = [], []

    @app.step(name="undo later", retries=1, backoff=60)
    def undo() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError

    @app.task(name="never")
    def never() -> None:
        pass

    @app.workflow(name="stopped")
    def stopped() -> None:
        with ctx.saga() as saga:
            saga.add(undo)
            seen.append(ctx.patched("new"))
            if len(seen) == 1:
                app.storage.runs.cancel([ctx.run_id], reason="enough")
            ctx.spawn(never)

    run = stopped.start()
    worker.run()
    app.clock.advance(60)
    worker.run()
    assert run.status == "cancelled"
    assert len(tries) == 2
    assert seen == [True, True]


def test_a_cancel_at_the_call_behind_a_saga_does_not_undo_it_in_a_replay(app, worker):
    did: list[str] = []

    @app.step(name="undo", retries=1, backoff=5)
    def undo(what: str) -> None:
        did.append(what)
        if did.count(what) == 1:
            raise ConnectionError("again")

    @app.step(name="later", retries=1, backoff=5)
    def later() -> None:
        did.append("later")
        app.Run("flow").cancel("enough")
        raise ConnectionError("again")

    @app.workflow(name="flow")
    def flow() -> None:
        with ctx.saga() as outer:
            outer.add(undo, "outer")
            with ctx.saga() as inner:
                inner.add(undo, "inner")
            later()

    run = flow.options(id="flow").start()
    worker.run()
    app.clock.advance(5)
    worker.run()
    assert run.status == "cancelled"
    assert did == ["later", "outer", "outer"]


def test_a_history_of_before_a_cancel_had_its_place_at_the_end_of_a_saga_is_undone_on(app, worker, monkeypatch):
    did: list[str] = []

    @app.step(name="do")
    def do() -> None:
        app.Run("flow").cancel("enough")

    @app.step(name="undo", retries=1, backoff=5)
    def undo(what: str) -> None:
        did.append(what)
        if did.count(what) == 1:
            raise ConnectionError("again")

    @app.workflow(name="flow")
    def flow() -> None:
        with ctx.saga() as saga:
            saga.add(undo, "first")
            saga.add(undo, "last")
            do()
        did.append("went on")

    run = flow.options(id="flow").start()
    with monkeypatch.context() as before:
        before.setattr("liteq.workflow.calling.saga.END", "")
        worker.run()
    for _ in range(2):
        app.clock.advance(5)
        worker.run()
    assert run.status == "cancelled"
    assert did == ["last", "last", "first", "first"]


def test_a_cancel_at_the_call_behind_a_saga_is_told_there_where_no_row_tells_of_it(app, worker):
    did: list[str] = []
    undo = app.step(name="undo")(lambda: did.append("undo"))
    task = app.task(name="task_")(lambda: None)

    @app.workflow(name="flow")
    def flow() -> None:
        beside = ctx.spawn(task)
        with ctx.saga() as saga:
            saga.add(undo)
        if not did:
            app.storage.runs.cancel([ctx.run_id], reason="enough")
        did.append("body")
        try:
            ctx.spawn(task)
        except WorkflowCancelled:
            with ctx.shield():
                beside.result()
            raise

    run = flow.start()
    worker.run()
    assert run.status == "cancelled"
    assert did == ["body", "body"]
