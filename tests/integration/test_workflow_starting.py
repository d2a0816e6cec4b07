"""Starting, finding and misusing runs: each mistake gets a named error with a way out."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from liteq.exceptions import AlreadyRegistered, NotSerializable, RunConflict, RunNotFound, WorkflowError
from liteq.workflow import ctx

from .engines import on_both_engines


@pytest.fixture
def flow(app):
    began = []

    @app.workflow(name="flow")
    def flow(n: int = 1, *, say: str = "") -> int:
        began.append(n)
        return n + 1

    flow.began = began
    return flow


# -- ids and conflicts -----------------------------------------------------------------------------------------------


@on_both_engines
def test_the_same_id_and_input_is_one_run(app, worker, flow):
    first = flow.options(id="a").start(5)
    assert flow.options(id="a").start(5) == first
    worker.run()
    assert flow.options(id="a").start(5).result(0) == 6
    assert flow.began == [5]
    assert flow.apply_async((5,), task_id="a").result(0) == 6


def test_the_same_id_with_other_input_or_of_another_workflow_is_a_conflict(app, flow):
    other = app.workflow(name="other")(lambda: None)
    flow.options(id="a").start(5)
    with pytest.raises(RunConflict):
        flow.options(id="a").start(6)
    with pytest.raises(RunConflict):
        other.options(id="a").start()


def test_a_start_has_a_timeout_of_its_own_by_each_door(app, flow):
    def timeout_ms(message):
        return message.run.timeout_ms

    assert timeout_ms(flow.message((), {}, id_="a")) is None
    assert timeout_ms(flow.options(timeout="5m").message((), {}, id_="a")) == 300_000
    app.schedules.add("nightly", 60, flow, timeout="2h")
    app.schedules.add("tagged", 60, flow.options(timeout=7, tags=["a"]).s())
    batches = [app.schedules.batch(one, "id")[0] for one in app.schedules.all()]
    assert [timeout_ms(one.messages[0]) for one in batches] == [7_200_000, 7_000]
    assert batches[1].messages[0].run.tags == ("a",)
    with pytest.raises(ValueError, match="timeout"):
        flow.options(timeout="soon")
    with pytest.raises(ValueError, match="the timeout of a run of 'flow'"):
        app.publisher.message("flow", (), {}, {"timeout": "soon"}, message_id="b")


@on_both_engines
def test_eight_threads_that_start_one_id_start_one_run(app, worker, flow):
    def start() -> None:
        flow.options(id="a").start(5)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert worker.run() == 1
    assert flow.began == [5]


def test_each_way_to_resolve_a_conflict(app, worker, flow):
    flow.options(id="a").start(1)
    assert flow.options(id="a", on_conflict="existing").start(2).id == "a"
    assert flow.options(id="a", on_conflict="renew").start(3).id == "a"
    worker.run()
    assert flow.began == [1], "it lived"
    flow.options(id="a", on_conflict="renew").start(4)
    worker.run()
    assert flow.began == [1, 4]
    flow.options(id="a").start(4)
    flow.options(id="a", on_conflict="replace").start(5)
    worker.run()
    assert flow.began == [1, 4, 5]
    with pytest.raises(ValueError, match="did you mean 'replace'"):
        flow.options(id="a", on_conflict="replaced")


@pytest.mark.parametrize("start", [lambda flow: flow.options(id=""), lambda flow: flow.apply_async((), task_id="")])
def test_an_empty_id_is_refused(flow, start):
    with pytest.raises(ValueError, match="1 to 255 characters"):
        start(flow)


def test_an_event_comes_with_the_start_and_tags_find_the_run(app, worker):
    @app.workflow(name="tagged")
    def tagged() -> str:
        ctx.tag("late")
        return ctx.wait_event("hello")

    run = tagged.options(event=("hello", "there"), tags=["early"]).start()
    worker.run()
    assert run.result(0) == "there"
    assert app.runs(tags=["early", "late"]) == [run]
    assert app.runs(tags=["none"]) == []
    assert run.info().tags == ["early", "late"]


def test_delays_and_expiry(app, worker, flow):
    flow.options(delay="1h").start(1)
    flow.options(eta=datetime(2026, 1, 1, 2, tzinfo=UTC)).start(2)
    flow.apply_async((3,), countdown=10_800)
    gone = flow.options(delay="1h", expires="30m").start(4)
    worker.run()
    assert flow.began == []
    for expected in ([1], [1, 2], [1, 2, 3]):
        app.clock.advance(3600)
        worker.run()
        assert flow.began == expected
    assert gone.status == "cancelled"
    with pytest.raises(ValueError, match="naive"):
        flow.options(eta=datetime(2026, 1, 1))
    with pytest.raises(TypeError, match="unknown option 'count_down'"):
        flow.apply_async((1,), count_down=3)


def test_arguments_that_do_not_fit_are_refused_at_the_start(flow):
    with pytest.raises(TypeError, match="did you mean 'say'"):
        flow.start(1, sai="x")
    with pytest.raises(NotSerializable, match=r"arguments of task 'flow'|argument"):
        flow.start(object())


# -- canvas ----------------------------------------------------------------------------------------------------------


def test_a_run_is_a_link_a_member_and_a_body(app, worker, flow):
    @app.task(name="total")
    def total(values):
        return sum(values) if isinstance(values, list) else values * 10

    from liteq import chord, group

    chain_ = (flow.s(1) | total.s() | flow.s()).apply_async()
    grouped = group(flow.s(1), flow.s(2)).apply_async()
    body = chord([total.s(1), total.s(2)], total_of(app).s()).apply_async()
    worker.run()
    assert chain_.get(0) == 21
    assert grouped.get(0) == [2, 3]
    assert body.get(0) == 30
    assert app.AsyncResult(flow.start(4).id).state == "PENDING"


def total_of(app):
    @app.workflow(name="total_of")
    def total_of(values: list[int]) -> int:
        return sum(values)

    return total_of


def test_a_run_that_was_sent_by_its_name_alone(app, worker, flow):
    result = app.send_task("flow", (4,))
    worker.run()
    assert result.get(0) == 5
    assert app.Run(result.id).result(0) == 5


# -- listing ---------------------------------------------------------------------------------------------------------


@on_both_engines
def test_runs_are_listed_the_newest_first(app, worker, flow):
    other = app.workflow(name="other")(lambda: ctx.wait_event("never"))
    runs = [flow.start(n) for n in range(3)]
    waiting = other.start()
    worker.run()
    assert app.runs() == [waiting, *reversed(runs)]
    assert app.runs(name="other") == [waiting]
    assert app.runs(status="succeeded", limit=2) == [runs[2], runs[1]]
    assert app.runs(status="succeeded", after=runs[1]) == [runs[0]]
    with pytest.raises(ValueError, match="did you mean 'succeeded'"):
        app.runs(status="succeded")


def test_an_unknown_run(app):
    run = app.Run("nobody")
    for ask in (lambda: run.status, run.result, run.info, run.steps, run.cancel, run.pause, lambda: run.name):
        with pytest.raises(RunNotFound, match="nobody"):
            ask()


# -- misuse ----------------------------------------------------------------------------------------------------------


def failing(app, worker, body):
    run = app.workflow(name="misuse")(body).start()
    worker.run()
    with pytest.raises(WorkflowError) as caught:
        run.result(0)
    return str(caught.value)


def test_a_task_or_a_workflow_called_as_a_function_in_a_body_names_call(app, worker, flow):
    @app.task(name="task_")
    def task_(n):
        return n

    assert "ctx.call(task_, ...)" in failing(app, worker, lambda: task_(1))


def test_a_workflow_called_as_a_function(app, worker, flow):
    with pytest.raises(WorkflowError, match=r"flow\.start\(\.\.\.\)"):
        flow(1)
    assert "ctx.call(flow, ...)" in failing(app, worker, lambda: flow(1))


def test_a_task_may_be_called_as_a_function_in_a_step(app, worker):
    @app.task(name="task_")
    def task_(n):
        return n + 1

    run = app.workflow(name="fine")(lambda: ctx.run(lambda: task_(1))).start()
    worker.run()
    assert run.result(0) == 2


def test_a_wait_in_a_step_says_where_it_belongs(app, worker):
    @app.step(name="waits")
    def waits() -> None:
        ctx.sleep(1)

    assert "ctx.sleep() cannot be used in a step, only in the body of a workflow" in failing(
        app, worker, waits.__call__
    )


def test_results_and_runs_are_not_asked_in_a_body(app, worker, flow):
    run = flow.start(1)
    result = app.AsyncResult(run.id)
    assert "ctx.call()" in failing(app, worker, lambda: run.result(1))
    assert "ctx.call() the task" in failing(app, worker, lambda: result.get(1))
    assert "ctx.send" in failing(app, worker, lambda: run.send("x"))


def test_ctx_outside_a_run(app):
    for ask in (ctx.now, lambda: ctx.run_id, lambda: ctx.sleep(1), lambda: ctx.tx):
        with pytest.raises(WorkflowError, match=r"start a run with `flow\.start"):
            ask()


def test_generators_are_refused(app):
    def numbers():
        yield 1

    for decorate in (app.workflow, app.step):
        with pytest.raises(WorkflowError, match="is a generator: write a plain function"):
            decorate(numbers)


def test_a_key_is_used_once(app, worker):
    step = app.step(name="one")(lambda n: n)

    def body() -> list[int]:
        return [step.options(key="k")(1), step.options(key="k")(2)]

    assert "the key 'k' is used twice" in failing(app, worker, body)


def test_calls_with_keys_are_found_in_another_order(app, worker):
    ran, order = [], [["a", "b"], ["b", "a"]]
    step = app.step(name="one")(lambda n: ran.append(n) or n)

    @app.workflow(name="keyed")
    def keyed() -> dict[str, str]:
        found = {n: step.options(key=n)(n) for n in order[0]}
        ctx.sleep(1)
        return found

    run = keyed.start()
    worker.run()
    order.pop(0)
    app.clock.advance(1)
    worker.run()
    assert run.result(0) == {"b": "b", "a": "a"}
    assert ran == ["a", "b"]


def test_two_functions_of_one_name(app):
    def one() -> None: ...

    def two() -> None: ...

    app.step(name="s")(one)
    with pytest.raises(AlreadyRegistered, match="give one of them a `name=`"):
        app.step(name="s")(two)
    app.workflow(name="w")(one)
    with pytest.raises(AlreadyRegistered, match="version="):
        app.workflow(name="w")(two)
    assert app.workflow(name="w", version="2")(two) is app.tasks["w"]


def test_a_run_keeps_the_function_of_its_version(app, worker):
    def first() -> str:
        ctx.sleep(1)
        return "first"

    old = app.workflow(name="w")(first).start()
    worker.run()

    def second() -> str:
        ctx.sleep(1)
        return "second"

    new = app.workflow(name="w", version="2")(second).start()
    worker.run()
    app.clock.advance(1)
    worker.run()
    assert (old.result(0), new.result(0)) == ("first", "second")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"retries": -1}, "retries is a whole number"),
        ({"backoff": (1, 2, 3)}, "the backoff of"),
        ({"timeout": "soon"}, "the timeout of"),
        ({"retry_on": ("x",)}, "exception classes"),
    ],
)
def test_options_of_steps_are_checked(app, options, match):
    with pytest.raises((TypeError, ValueError), match=match):
        app.step(name="s", **options)(lambda: None)


def test_an_unknown_option_of_a_call_tells_the_nearest(app):
    step = app.step(name="s")(lambda: None)
    with pytest.raises(TypeError, match="did you mean 'retries'"):
        step.options(retrys=3)


def test_outside_a_body_a_step_is_the_plain_function(app):
    step = app.step(name="s")(lambda n: n + 1)
    assert step(1) == 2
    assert step.options(retries=3)(1) == 2


def test_the_states_of_a_run(app, worker):
    @app.workflow(name="w")
    def w() -> None:
        ctx.set("at", 1)
        ctx.sleep("1h")

    run = w.start()
    assert (run.status, run.state, run.ready()) == ("queued", "PENDING", False)
    worker.run()
    assert run.status == "waiting"
    assert run.get_state() == {"at": 1}
    assert run.wait_state("at", timeout=0) == 1
    info = run.info()
    assert info.due == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=1)
    app.clock.advance(3600)
    worker.run()
    assert (run.status, run.state, run.ready()) == ("succeeded", "SUCCESS", True)


def test_the_options_of_a_workflow_are_those_of_its_signature(app, worker, flow):
    result = (flow.s(1) | flow.options(id="second", queue="celery").s()).apply_async()
    worker.run()
    assert result.get(0) == 3
    assert app.Run("second").result(0) == 3


def test_a_task_is_not_applied_in_a_body(app, worker):
    task_ = app.task(name="task_")(lambda n: n)
    assert "ctx.call(" in failing(app, worker, lambda: task_.apply((1,)))


def test_an_option_of_a_start_that_is_not_given_keeps_its_value(app, flow):
    slow = flow.options(queue="slow", tags=["night"], delay="1h", on_conflict="existing")
    first = slow.options(id="a").start(1)
    assert slow.options(id="a").options(priority=3).start(2) == first
    assert flow.options(id="b").start(1).info().tags == []
    asked = slow.options(id="c", eta=datetime(2030, 1, 1, tzinfo=UTC), tags=[], queue=None).asked
    assert (asked.id, asked.delay, asked.tags, asked.queue, asked.on_conflict) == ("c", None, (), None, "existing")
    assert first.info().tags == ["night"]
    assert app.AsyncResult("a").queue == "slow"
