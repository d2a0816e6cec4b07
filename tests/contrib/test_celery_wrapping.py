"""The places that monitoring libraries wrap, by Celery's names: what they put there is run, and nothing before that."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
from datetime import timedelta

import pytest

from liteq import Celery
from liteq import signals as announce
from liteq.beat import Beat
from liteq.execution import tracing
from liteq.sending.producer import Producer
from liteq.testing import drain


@pytest.fixture
def app(tmp_path):
    app = Celery("wrapped", broker=f"sqlite:///{tmp_path}/tasks.db", durability="relaxed")
    app.set_default()
    yield app
    app.close()


@pytest.fixture
def steps():
    return []


def traced(monkeypatch, steps, change=None):
    """Put a function in place of `build_tracer` that notes each execution, as Sentry's SDK does."""
    own = tracing.build_tracer

    def build(name, task, *args, **kwargs):
        if change is not None:
            change(task)
        trace = own(name, task, *args, **kwargs)

        def noted(*call):
            steps.append(("begin", task.name, *call[1:3], call[3].get("id") == call[0]))
            try:
                return trace(*call)
            finally:
                steps.append(("end", task.name))

        return noted

    monkeypatch.setattr(tracing, "build_tracer", build)


BOTH = pytest.mark.parametrize("send", [lambda task, *args: task.delay(*args), lambda task, *args: task.apply(args)])


# -- the line about a success ---------------------------------------------------------------------------------------


@pytest.mark.celery("Libraries", "a text in place of `celery.app.trace.LOG_SUCCESS` is the line about a success")
def test_the_line_of_a_success_is_the_programs_own(app, monkeypatch, caplog):
    """As programs do it that want no results in their log."""

    @app.task(name="add")
    def add(x, y=0):
        return x + y

    trace = importlib.import_module("liteq.app.trace")
    caplog.set_level("INFO", trace.logger.name)
    monkeypatch.setattr(trace, "LOG_SUCCESS", "%(name)s[%(id)s] done in %(runtime)ss")
    sent = add.delay(2)
    drain(app)
    assert re.fullmatch(rf"add\[{sent.id}\] done in [\d.e-]+s", caplog.messages[-1])
    monkeypatch.setattr(trace, "LOG_SUCCESS", "%(args)s%(kwargs)s: %(return_value)s")
    add.apply((2,), {"y": 3})
    assert caplog.messages[-1] == "(2,){'y': 3}: 5"
    monkeypatch.undo()
    add.delay(4)
    drain(app)
    assert caplog.messages[-1].endswith("s: 4")


# -- build_tracer ----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.celery("Libraries", "a function in place of `celery.app.trace.build_tracer` wraps every execution")
def test_a_tracer_wraps_each_execution(app, monkeypatch, steps, send):
    traced(monkeypatch, steps)

    @app.task(name="add")
    def add(x, y):
        steps.append("body")
        return x + y

    result = send(add, 2, 3)
    drain(app)
    assert result.get(timeout=1) == 5
    assert steps == [("begin", "add", [2, 3], {}, True), "body", ("end", "add")]


def test_signals_and_hooks_run_inside(app, monkeypatch, steps):
    traced(monkeypatch, steps)

    class Base(app.Task):
        abstract = True

        def on_success(self, *_):
            steps.append("hook")

    @app.task(name="quiet", base=Base)
    def quiet():
        pass

    @announce.task_prerun.connect
    def prerun(**_):
        steps.append("prerun")

    quiet.apply()
    announce.task_prerun.disconnect(prerun)
    assert [step if isinstance(step, str) else step[0] for step in steps] == ["begin", "prerun", "hook", "end"]


@BOTH
def test_a_body_that_the_tracer_has_changed_is_run(app, monkeypatch, steps, send):
    def change(task):
        if not hasattr(task, "_is_changed"):
            run = task.run
            task.run = lambda *args: steps.append("wrapped") or run(*args)
            task._is_changed = True

    traced(monkeypatch, steps, change)

    @app.task(name="add")
    def add(x, y):
        return x + y

    for _ in range(2):
        result = send(add, 1, 1)
        drain(app)
        assert result.get(timeout=1) == 2
    assert steps.count("wrapped") == 2


def test_whoever_wraps_an_async_body_sees_its_end_and_its_exception(app, monkeypatch, steps):
    def change(task):
        run = task.run

        def noted(*args):
            try:
                return run(*args)
            except ValueError as exc:
                steps.append(exc)
                raise

        task.run = noted

    traced(monkeypatch, steps, change)

    @app.task(name="slow")
    async def slow():
        await asyncio.sleep(0)
        raise ValueError("late")

    result = slow.delay()
    drain(app)
    assert str(result.result) == "late"
    (seen,) = (step for step in steps if isinstance(step, ValueError))
    assert str(seen) == "late"
    assert seen.__context__ is None, "it was raised in no handler of liteq's own"
    called = slow()
    assert inspect.iscoroutine(called), "called as a function, it is awaited"
    called.close()


def test_a_cancelled_body_fails_its_task_alone(app, monkeypatch, steps):
    traced(monkeypatch, steps)

    @app.task(name="cancelled")
    async def cancelled():
        raise asyncio.CancelledError

    result = cancelled.delay()
    drain(app)
    assert result.state == "FAILURE"


@pytest.mark.parametrize("outcome", ["RETRY", "FAILURE"])
def test_what_a_tracer_raises_before_the_body_is_the_task_s_failure(app, monkeypatch, outcome):
    def refuse(*_args, **_kwargs):
        def trace(*_call):
            raise KeyError("no span")

        return trace

    monkeypatch.setattr(tracing, "build_tracer", refuse)

    @app.task(name="add", autoretry_for=(KeyError,) if outcome == "RETRY" else (), retry_backoff=60)
    def add(x, y):
        return x + y

    result = add.delay(1, 1)
    drain(app)
    assert result.state == outcome


def test_what_a_tracer_raises_after_the_body_changes_nothing(app, monkeypatch, caplog):
    own = tracing.build_tracer

    def build(name, task, **kwargs):
        trace = own(name, task, **kwargs)

        def late(*call):
            trace(*call)
            raise KeyError("no flush")

        return late

    monkeypatch.setattr(tracing, "build_tracer", build)
    result = app.task(name="one")(lambda: 1).delay()
    drain(app)
    assert result.get(timeout=1) == 1
    assert "the task's outcome stands" in caplog.text


def test_a_tracer_that_runs_nothing_is_a_failure(app, monkeypatch):
    monkeypatch.setattr(tracing, "build_tracer", lambda *_args, **_kwargs: lambda *_call: None)
    result = app.task(name="one")(lambda: 1).delay()
    drain(app)
    assert "did not run it" in str(result.result)


def test_the_context_around_tasks_is_inside(tmp_path, monkeypatch, steps):
    class Around:
        def __init__(self, *_):
            pass

        def __enter__(self):
            steps.append("in")

        def __exit__(self, kind, *_):
            steps.append(kind)

    class Framed(Celery):
        around_task = Around

    traced(monkeypatch, steps)
    with Framed("framed", broker=f"sqlite:///{tmp_path}/tasks.db") as app:

        @app.task(name="fail")
        def fail():
            raise KeyError

        assert fail.apply().state == "FAILURE"
    assert [step[0] if isinstance(step, tuple) else step for step in steps] == ["begin", "in", KeyError, "end"]


def test_a_task_inside_a_task_has_a_tracer_of_its_own(app, monkeypatch, steps):
    traced(monkeypatch, steps)
    inner = app.task(name="inner")(lambda: 1)

    @app.task(name="outer")
    def outer():
        return inner.apply().get() + 1

    assert outer.apply().get() == 2
    assert [step[:2] for step in steps] == [("begin", "outer"), ("begin", "inner"), ("end", "inner"), ("end", "outer")]


def test_a_tracer_put_there_later_or_taken_away_counts_from_then_on(app, monkeypatch, steps):
    one = app.task(name="one")(lambda: 1)
    one.apply()
    with monkeypatch.context() as patched:
        traced(patched, steps)
        one.apply()
        assert len(steps) == 2
    one.apply()
    assert len(steps) == 2


def test_a_tracer_that_is_called_from_outside_runs_the_task(app):
    add = app.task(name="add")(lambda x, y: x + y)
    assert tracing.build_tracer("add", add)("an-id", (1, 2), {}, {}).retval == 3


def test_a_tracer_that_is_called_inside_a_task_runs_its_own(app, monkeypatch, steps):
    own = tracing.build_tracer
    traced(monkeypatch, steps)
    inner = app.task(name="inner")(lambda: steps.append("inner") or 1)

    @app.task(name="outer")
    def outer():
        steps.append("outer")
        return own("inner", inner)("an-id", (), {}, {}).retval

    assert outer.apply().get() == 1
    assert [step for step in steps if isinstance(step, str)] == ["outer", "inner"]


def test_a_plain_task_has_no_tracer(app):
    assert app.task(name="one")(lambda: 1).plan.tracer is None


def test_a_method_of_one_s_own_is_told_apart(app):
    class Timed(app.Task):
        def __call__(self, *args):
            return self.run(*args)

        def on_failure(self, *_):
            pass

    own = app.task(name="own", base=Timed)(lambda: 1)
    plain = app.task(name="plain")(lambda: 1)
    assert tracing.task_has_custom(own, "__call__")
    assert tracing.task_has_custom(own, "on_failure")
    assert not tracing.task_has_custom(plain, "__call__")
    assert not tracing.task_has_custom(plain, "on_failure")


# -- Producer.publish ------------------------------------------------------------------------------------------------


@pytest.fixture
def published(monkeypatch):
    """The calls of a function in place of `Producer.publish`; it adds a header."""
    calls, own = [], Producer.publish

    def publish(self, body, **properties):
        calls.append((self.connection.transport.driver_type, body[0], properties))
        properties["headers"]["trace"] = "t1"
        return own(self, body, **properties)

    monkeypatch.setattr(Producer, "publish", publish)
    return calls


@pytest.mark.celery("Libraries", "a function in place of `kombu.Producer.publish` sees each call, and adds headers")
def test_a_publisher_sees_each_call(app, published):
    @app.task(name="seen", bind=True)
    def seen(self, x):
        return [x, self.request.headers]

    result = seen.apply_async((1,), headers={"tenant": "a"}, queue="celery")
    drain(app)
    assert result.get(timeout=1) == [1, {"tenant": "a", "trace": "t1"}]
    ((system, args, properties),) = published
    assert (system, args) == ("sqlite", [1])
    headers = properties["headers"]
    assert (headers["task"], headers["id"], headers["retries"]) == ("seen", result.id, 0)
    assert (properties["exchange"], properties["routing_key"]) == ("", "celery")


def test_a_publisher_that_writes_nothing_sends_nothing(app, monkeypatch):
    monkeypatch.setattr(Producer, "publish", lambda *_args, **_properties: None)
    result = app.task(name="one")(lambda: 1).delay()
    drain(app)
    assert result.state == "PENDING"


def test_nothing_comes_through_a_producer_that_nobody_has_replaced(app, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Producer, "publish", Producer.publish)
        assert not announce.before_task_publish.receivers
        patched.setattr(Producer, "_publish", lambda *_args, **_properties: None)
        assert announce.before_task_publish.receivers
    assert not announce.before_task_publish.receivers


def test_a_producer_takes_no_message_of_one_s_own(app):
    with Producer(app.connection()) as producer, pytest.raises(app.Task.OperationalError, match="send a task"):
        producer.publish({"any": "thing"}, routing_key="celery")


def test_receivers_of_before_task_publish_are_told_of_the_queue(app):
    told = []
    receiver = lambda declare, **_: told.extend(declare)  # noqa: E731 - to be disconnected
    announce.before_task_publish.connect(receiver)
    app.task(name="one")(lambda: 1).apply_async(queue="mail")
    announce.before_task_publish.disconnect(receiver)
    assert [(queue.name, queue.exchange.type) for queue in told] == [("mail", "direct")]


# -- Scheduler.apply_entry -------------------------------------------------------------------------------------------


@pytest.mark.celery("Libraries", "a function in place of `celery.beat.Scheduler.apply_entry` sees each due entry")
def test_an_entry_passes_through_what_is_put_around_it(app, monkeypatch):
    own, seen = Beat.apply_entry, []

    def apply_entry(*args):
        scheduler, entry = args  # Sentry's SDK unpacks exactly these
        seen.append((scheduler.app, entry.name, entry.task, entry.args, entry.schedule.seconds))
        entry.options.setdefault("headers", {})["monitor"] = entry.name
        entry.kwargs["y"] = 2
        return own(*args)

    @app.task(name="seen", bind=True)
    def seen_task(self, x, y=0):
        return [x, y, self.request.headers]

    monkeypatch.setattr(Beat, "apply_entry", apply_entry)
    app.conf.beat_schedule = {"often": {"task": "seen", "schedule": timedelta(seconds=30), "args": (1,)}}
    beat = Beat(app)
    beat.start()
    app.schedules.all()
    later = app.clock.now_ms() + 60_000
    monkeypatch.setattr(app.clock, "now_ms", lambda: later, raising=False)
    beat.tick()
    assert seen == [(app, "often", "seen", [1], 30)]
    (record,) = app.schedules.all()
    drain(app)
    assert app.AsyncResult(record.last_id).get(timeout=1) == [1, 2, {"monitor": "often"}]


# -- the request -----------------------------------------------------------------------------------------------------


def test_headers_are_attributes_whatever_their_names_are(app):
    @app.task(name="seen", bind=True)
    def seen(self):
        return [self.request.__django_structlog__, hasattr(self.request, "__nothing__")]

    result = seen.apply_async(headers={"__django_structlog__": {"user": 1}})
    drain(app)
    assert result.get(timeout=1) == [{"user": 1}, False]
