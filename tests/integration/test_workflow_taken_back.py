"""Calls of a retried run that are answered by what stood aside for them: their children, a cancel, a refused result."""

from __future__ import annotations

import pytest

from liteq.exceptions import WorkflowCancelled
from liteq.workflow import ctx

from .declining import of, retry_well
from .engines import on_both_engines


@on_both_engines
def test_children_whose_calls_are_answered_have_their_own_ids_again(app, worker, did):
    @app.workflow(name="order")
    def order(n: int) -> int:
        did.append(f"order {n}")
        return n

    def body(charge, notify):
        failure = None
        try:
            charge(1)
        except ConnectionError as exc:
            failure = exc
        one = ctx.spawn(order.options(id="order-7"), 7)
        numbers = [*ctx.gather([one]), *ctx.map(order, [8, 9]), one.id]
        if failure is not None:
            raise failure
        return numbers

    run = of(app, body).start()
    worker.run()
    before = [step.child_id for step in run.steps() if step.child_id]
    assert len(before) == 3
    retry_well(run, worker, did)
    assert run.result(0) == [7, 8, 9, "order-7"]
    assert [step.child_id for step in run.steps() if step.child_id] == before
    assert [app.Run(id_).result(0) for id_ in before] == [7, 8, 9]
    assert order.options(id="order-7").start(7).result(0) == 7
    worker.run()
    assert did == ["charge 1"]


def test_an_id_that_another_one_has_taken_meanwhile_is_left_to_it(app, worker, did):
    @app.workflow(name="order")
    def order(n: int) -> int:
        return n

    def body(charge, notify):
        failure = None
        try:
            charge(1)
        except ConnectionError as exc:
            failure = exc
        numbers = [ctx.call(order.options(id=f"order-{n}"), n) for n in (6, 7)]
        if failure is not None:
            raise failure
        return numbers

    run = of(app, body).start()
    worker.run()
    did.well = True
    assert run.retry()
    other = order.options(id="order-7").start(70)
    worker.run()
    assert (run.result(0), other.result(0)) == ([6, 7], 70)
    six, seven = [step.child_id for step in run.steps() if step.child_id]
    assert (six, app.Run(seven).result(0)) == ("order-6", 7)


@pytest.mark.parametrize("when", ["before", "within"])
def test_a_cancel_at_a_call_that_was_answered_leaves_the_answer_to_the_clean_up(app, worker, did, when):
    runs, started = app.storage.runs, []

    @app.step(name="pay")
    def pay() -> None:
        did.append("pay")
        if not did.well:
            raise ConnectionError("declined")
        if when == "before":
            started[0].cancel("enough")

    def body(charge, notify):
        failure = None
        try:
            pay()
        except ConnectionError as exc:
            failure = exc
        try:
            notify("seen")
            ctx.map(notify, ["one", "two"])
        except WorkflowCancelled:
            with ctx.shield():
                notify("seen")
                ctx.map(notify, ["one", "two"])
            raise
        if failure is not None:
            raise failure

    started.append(of(app, body).start())
    worker.run()
    did.clear()
    did.well = True
    assert started[0].retry()

    def take_back(*args, **kwargs):
        if not asked:
            asked.append(runs.cancel([started[0].id], reason="enough"))
        return type(runs).take_back(runs, *args, **kwargs)

    asked = []
    if when == "within":
        runs.take_back = take_back
    worker.run()
    assert started[0].status == "cancelled"
    assert did == ["pay"]


def test_a_result_that_is_refused_leaves_what_stands_aside_for_the_next_retry(app, worker, did):
    refused = [object()]

    def body(charge, notify):
        try:
            charge(1)
        except ConnectionError:
            notify("sorry")
            raise
        return refused[0] if refused else notify("sorry")

    run = of(app, body).start()
    worker.run()
    retry_well(run, worker, did)
    assert run.status == "failed"
    refused.clear()
    assert run.retry()
    worker.run()
    assert run.result(0) == "sorry"
    assert did == ["charge 1"]
