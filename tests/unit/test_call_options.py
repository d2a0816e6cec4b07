"""Options of a call that make no sense: refused where they are said, with what they should be."""

from __future__ import annotations

import signal
from datetime import timedelta
from uuid import uuid4

import pytest

from liteq import LiteQ, chain
from liteq.worker.pool.limits import SoftLimit

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


@pytest.mark.parametrize(
    ("limit", "error"), [("60", TypeError), (True, TypeError), (-1, ValueError), (NAN, ValueError)]
)
@pytest.mark.parametrize("option", ["time_limit", "soft_time_limit"])
def test_a_time_limit_that_is_none(app, option, limit, error):
    """It would fail, or kill, the task each time it runs."""

    @app.task
    def add(x, y):
        return x + y

    with pytest.raises(error, match=f"^{option} is a number of seconds"):
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
        ({"priority": -1}, ValueError, "from 0 to 255"),
        ({"priority": 10**30}, ValueError, "from 0 to 255"),
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


@pytest.mark.parametrize("arguments", [{"args": 5}, {"args": "ab"}, {"kwargs": [1]}])
def test_arguments_that_are_none(app, arguments):
    with pytest.raises(TypeError, match="args are a list or a tuple, and kwargs a dict"):
        app.task(lambda *_: None, name="n").apply_async(**arguments)
