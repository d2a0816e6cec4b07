"""Options of a call that make no sense: refused where they are said, with what they should be."""

from __future__ import annotations

import signal
from datetime import timedelta
from uuid import uuid4

import pytest

from liteq import LiteQ, chain, group
from liteq.exceptions import AlwaysEagerIgnored
from liteq.execution.execute import retry_due_ms
from liteq.policy.retry import RetryPolicy
from liteq.schedules import maybe_schedule
from liteq.serialization import decode
from liteq.testing import drain
from liteq.worker.pool.limits import SoftLimit, limits_of

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture
def app(tmp_path):
    app = LiteQ("proj", broker=f"sqlite:///{tmp_path}/queue.db")
    yield app
    app.close()


@pytest.mark.parametrize("seconds", [NAN, INFINITY, -INFINITY, 1e300, timedelta.max])
@pytest.mark.parametrize("option", ["countdown", "expires"])
def test_a_time_that_there_is_not(app, option, seconds):
    @app.task
    def add(x, y):
        return x + y

    for send in (add.apply_async, lambda args, **options: chain(add.s(*args), add.si(1, 2).set(**options)).delay()):
        with pytest.raises(ValueError, match="a number of seconds, a thousand years at most"):
            send((1, 2), **{option: seconds})


@pytest.mark.parametrize("span", [90, "90", "90s", "1m30s", "1.5 min", timedelta(seconds=90)])
def test_each_option_takes_a_span_in_each_of_its_forms(app, span):
    @app.task(time_limit=span, soft_time_limit=span, default_retry_delay=span, retry_backoff_max=span)
    def add(x, y):
        return x + y

    app.conf.result_expires = span
    before = app.clock.now_ms()
    sent = add.apply_async((1, 2), countdown=span, expires=span, time_limit=span)
    row = app.storage.reader.find(sent.id)
    assert app.conf.result_expires == 90
    assert row.due_ms - before >= 90_000
    assert row.expires_ms - before >= 90_000
    assert row.due_ms - app.clock.now_ms() <= 90_000
    assert decode(row.options)["timelimit"] == [90, None]
    assert limits_of(add, (None, None), (None, None)) == (90, 90)
    policy = RetryPolicy.of(add)
    assert (policy.default_retry_delay, policy.retry_backoff_max) == (90, 90)
    assert retry_due_ms(span, None, app.clock)[1] == 90_000
    assert maybe_schedule(span).seconds == 90


@pytest.mark.parametrize(
    ("limit", "error"), [("soon", ValueError), (True, TypeError), (-1, ValueError), (NAN, ValueError)]
)
@pytest.mark.parametrize("option", ["time_limit", "soft_time_limit"])
def test_a_time_limit_that_is_none(app, option, limit, error):
    """It would fail, or kill, the task each time it runs."""

    @app.task
    def add(x, y):
        return x + y

    with pytest.raises(error, match=f"^{option} is a number"):
        add.apply_async((1, 2), **{option: limit})


def test_the_longest_soft_limit_is_one_that_the_timer_takes():
    with SoftLimit(1_000 * 366 * 86_400):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 365 * 86_400
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"priority": "high"}, TypeError, "a priority is a whole number"),
        ({"priority": 1.5}, TypeError, "a priority is a whole number"),
        ({"priority": True}, TypeError, "a priority is a whole number"),
        ({"priority": -101}, ValueError, "from -100 to 255"),
        ({"priority": 10**30}, ValueError, "from -100 to 255"),
        ({"queue": "a\0b"}, ValueError, "a queue's name is text without NUL"),
        ({"queue": "\ud800"}, ValueError, "a queue's name is text without NUL"),
        ({"queue": "q" * 256}, ValueError, "a queue's name has 1 to 255 characters, not 256"),
        ({"task_id": 5}, TypeError, "a task_id is a string"),
        ({"task_id": "a\0b"}, ValueError, "a task_id is text without NUL"),
        ({"headers": ["a"]}, TypeError, "headers are a dict"),
    ],
)
def test_a_name_or_a_number_that_there_is_not(app, options, error, says):
    @app.task
    def add(x, y):
        return x + y

    for send in (add.apply_async, lambda args, **over: chain(add.si(*args), add.si(1, 2).set(**over)).delay()):
        with pytest.raises(error, match=says):
            send((1, 2), **options)
    assert app.storage.reader.counts() == []


@pytest.mark.parametrize("name", [None, "", 5, "\ud800", "n" * 256])
def test_a_task_without_a_name(app, name):
    with pytest.raises((TypeError, ValueError), match="a task's name"):
        app.send_task(name)


def test_a_uuid_is_an_id(app):
    id_ = uuid4()
    assert app.task(lambda: None, name="n").apply_async(task_id=id_).id == str(id_)


@pytest.mark.parametrize("arguments", [{"args": 5}, {"args": "ab"}, {"args": {"x": 1}}, {"args": {1}}, {"kwargs": [1]}])
def test_arguments_that_are_none(app, arguments):
    with pytest.raises(TypeError, match="args are a list or a tuple, and kwargs a dict"):
        app.task(lambda *_: None, name="n").apply_async(**arguments)


@pytest.mark.parametrize("arguments", [("12",), ({"x": 1},), ({1, 2},), (5,), (b"12",), ((), [("x", 1)])])
def test_a_name_with_arguments_that_are_none(app, arguments):
    with pytest.raises(TypeError, match="args are a list or a tuple, and kwargs a dict"):
        app.send_task("add", *arguments)


@pytest.mark.parametrize("arguments", [("",), ({},), (set(),), (False,), ([], []), ((), ()), (None, "")])
def test_a_name_with_empty_arguments_of_any_type(app, arguments):
    """As in Celery, where `args or ()` comes before the check."""
    app.task(name="n")(lambda *args, **kwargs: [args, kwargs])
    sent = app.send_task("n", *arguments)
    drain(app)
    assert sent.get() == [[], {}]


def test_what_is_sent_in_spite_of_task_always_eager_is_told(app):
    app.conf.task_always_eager = True
    app.task(name="known")(lambda: 7)
    assert app.send_task("known").get() == 7
    with pytest.warns(AlwaysEagerIgnored, match=r"'elsewhere' is sent .* import its module") as told:
        assert app.send_task("elsewhere").exists()
    assert told[0].filename == __file__


def test_a_call_may_say_that_it_does_not_expire(app):
    """As in Celery: a None that is given is no absence of `expires`, and stands over that of the task."""
    soon = app.task(expires=60, name="soon")(lambda: None)
    never = {"expires": None}
    said = [soon.apply_async(**never), soon.s().set(**never).delay(), app.send_task("soon", **never)]
    unsaid = [soon.delay(), soon.apply_async(priority=1), soon.s().delay(), app.send_task("soon")]
    expire = [app.storage.reader.find(sent.id).expires_ms is not None for sent in (*said, *unsaid)]
    assert expire == [False] * len(said) + [True] * len(unsaid)


def test_a_task_keeps_no_result_that_nobody_will_ask_for(app):
    """One that sends a million calls would have as many of them in memory."""
    sub = app.task(name="sub")(lambda: None)

    def body(self):
        sub.delay()
        (sub.s() | sub.si()).delay()
        sub.apply_async(add_to_parent=False)
        sub.s().set(add_to_parent=False).delay()
        group(sub.s(), sub.s()).apply_async(add_to_parent=False)
        return len(self.request.children)

    assert app.task(name="asked", bind=True)(body).apply().get() == 2
    assert app.task(name="not asked", bind=True, trail=False)(body).apply().get() == 0
