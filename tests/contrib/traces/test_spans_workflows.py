"""Spans of workflows: each activation of a run, each attempt of a step, and none for what history answers."""

from __future__ import annotations

import pytest

from liteq.testing import WorkflowTest, drain, start_worker
from liteq.workflow import actx, ctx

WAIT_S = 60


def words(spans, attribute):
    return [one.attributes[attribute] for one in spans]


def test_a_step_is_a_child_of_its_run_and_a_replay_makes_no_second_span(app, traced):
    tries = []

    @app.step(name="fetch")
    def fetch(n):
        return n + 1

    @app.step(name="store")
    def store(n):
        tries.append(n)
        return n

    @app.workflow(name="nightly")
    def nightly(n):
        first = fetch(n)
        ctx.sleep(30)
        return store(first)

    with WorkflowTest(app) as test:
        run = nightly.start(1)
        test.advance(60)
        assert run.result() == 2
    (sending,) = traced.spans("send")
    first, second = traced.spans("process")
    assert words([first, second], "liteq.outcome") == ["waits", "succeeded"]
    assert {one.parent.span_id for one in (first, second)} == {sending.context.span_id}
    for span in (first, second):
        assert span.attributes["liteq.workflow.name"] == "nightly"
        assert span.attributes["liteq.workflow.run_id"] == run.id
    steps = traced.spans("step")
    assert [one.name for one in steps] == ["step fetch", "step store"]
    assert [one.parent.span_id for one in steps] == [first.context.span_id, second.context.span_id]
    assert words(steps, "liteq.workflow.declared.step") == ["fetch", "store"]
    assert tries == [2]


def test_a_run_that_sleeps_for_long_goes_on_in_a_trace_of_its_own_with_a_link(app, traced):
    @app.workflow(name="patient")
    def patient():
        ctx.sleep("3d")
        return "done"

    with WorkflowTest(app) as test:
        run = patient.start()
        test.advance("4d")
        assert run.result() == "done"
    (sending,), (first, later) = traced.spans("send"), traced.spans("process")
    assert first.parent.span_id == sending.context.span_id
    assert later.parent is None
    assert [one.context.span_id for one in later.links] == [sending.context.span_id]


def test_each_attempt_of_a_step_has_a_span_and_an_error_is_masked(app, traced):
    @app.step(name="charge", retries=1, backoff=0.0, sensitive=("card",))
    def charge(card):
        raise ValueError(f"declined: {card}")

    @app.workflow(name="order", sensitive=("card",))
    def order(card):
        charge(card)

    order.start("4111-1111")
    drain(app)
    steps = traced.spans("step charge")
    assert words(steps, "liteq.attempt") == [1, 2]
    for span in [*steps, traced.span("process")]:
        assert span.status.status_code.name == "ERROR"
        assert "4111-1111" not in span.to_json()
    assert words(steps, "error.type") == ["ValueError", "ValueError"]


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_run_sends_is_in_its_trace(app, traced, is_async):
    add = app.tasks["add"]
    if is_async:

        @app.step(name="inside")
        async def inside():
            add.delay(2, 2)

        @app.workflow(name="whole")
        async def whole():
            await inside()
            return await actx.call(add, 1, 1)

    else:

        @app.step(name="inside")
        def inside():
            add.delay(2, 2)

        @app.workflow(name="whole")
        def whole():
            inside()
            return ctx.call(add, 1, 1)

    with start_worker(app, pool="threads", concurrency=2):
        whole.start().result(timeout=WAIT_S)
    assert len({one.context.trace_id for one in traced.spans()}) == 1
    (step,) = traced.spans("step")
    parents = [one.parent.span_id for one in traced.spans("send") if one.attributes["liteq.task.name"] == "add"]
    assert step.context.span_id in parents
