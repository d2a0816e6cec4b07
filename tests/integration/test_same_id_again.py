"""A second call under an id: a new run, from any process, or the same message, where it is the same call."""

from __future__ import annotations

import pytest

from liteq import LiteQ, chord
from liteq.exceptions import (
    CanvasConflict,
    ImproperlyConfigured,
    ReadOnly,
    StorageBusy,
    StorageConflict,
    StorageDenied,
    StorageFull,
    StorageUnavailable,
)
from liteq.signals import before_task_publish
from liteq.states import State
from liteq.testing import drain


def make_app(path):
    """An app of its own, as another process would have it."""
    app = LiteQ("again", broker=f"sqlite:///{path}/q.db", set_as_current=False)
    app.seen = []

    @app.task(name="note")
    def note(n):
        app.seen.append(n)
        return n

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)

    return app


@pytest.fixture
def app(tmp_path):
    app = make_app(tmp_path)
    yield app
    app.close()


@pytest.fixture
def other(tmp_path):
    app = make_app(tmp_path)
    yield app
    app.close()


@pytest.fixture(params=["the same process", "another process"])
def second(request, app, other):
    return app if request.param == "the same process" else other


def sent(app, n, **options):
    return app.tasks["note"].apply_async((n,), task_id="order-7", **options)


@pytest.mark.celery("Calling", "A second call under the id of a task that has finished runs it again")
def test_what_has_finished_runs_again(app, second):
    sent(app, 1)
    drain(app)
    result = sent(second, 2)
    drain(app)
    assert (app.seen, result.get(timeout=1)) == ([1, 2], 2)


@pytest.mark.celery(
    "Calling",
    "A second call under the id of a task that has not finished",
    differs="one message stands for both calls; Celery runs it twice",
)
def test_what_has_not_finished_stands_for_both(app, second):
    sent(app, 1, countdown=0)
    sent(second, 2)
    drain(app)
    assert app.seen == [1]


def test_idempotent_makes_one_message_for_ever(app, second):
    sent(app, 1)
    drain(app)
    assert sent(second, 2, idempotent=True).get(timeout=1) == 1
    drain(app)
    assert app.seen == [1]


def test_a_call_that_raised_is_the_same_call_when_it_is_repeated(app, monkeypatch):
    enqueue = app.storage.enqueue

    def written_all_the_same(batch, **options):
        enqueue(batch, **options)
        raise StorageUnavailable("the disk did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(app.storage, "enqueue", written_all_the_same)
        with pytest.raises(StorageUnavailable):
            sent(app, 1)
    drain(app)
    sent(app, 1)  # that of the error
    drain(app)
    assert app.seen == [1]
    sent(app, 2)  # a call of its own
    drain(app)
    assert app.seen == [1, 2]


def test_a_call_that_was_refused_is_repeated_by_none(app):
    sent(app, 1)
    with pytest.raises(CanvasConflict):
        sent(app, 2, link=app.tasks["total"].si([]))
    drain(app)
    sent(app, 3)
    drain(app)
    assert app.seen == [1, 3]


@pytest.mark.parametrize(
    "error",
    [
        StorageBusy(30.0), StorageConflict("a deadlock"), StorageDenied("no right"), StorageFull("the disk is full"),
        ReadOnly("q.db"), ImproperlyConfigured("no Litestream"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_call_of_which_nothing_was_written_is_repeated_by_none(app, monkeypatch, error):
    sent(app, 1)
    drain(app)

    def not_written(batch, **options):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(app.storage, "enqueue", not_written)
        with pytest.raises(type(error)):
            sent(app, 2)
    sent(app, 2)
    drain(app)
    assert app.seen == [1, 2]


def test_a_frozen_canvas_runs_as_often_as_it_is_sent(app):
    canvas = chord([app.tasks["note"].s(n) for n in (1, 2)], app.tasks["total"].s())
    canvas.freeze()
    for _ in range(2):
        result = canvas.apply_async()
        drain(app)
        assert result.get(timeout=1) == 3
    assert sorted(app.seen) == [1, 1, 2, 2]
    assert [(count.state, count.n) for count in app.storage.reader.counts()] == [(State.SUCCEEDED, 3)]


def test_a_result_that_its_chord_still_needs_stays(app, second):
    note = app.tasks["note"]
    chord([note.s(1).set(task_id="order-7"), note.s(5).set(countdown=3600)], app.tasks["total"].s()).apply_async()
    drain(app)
    sent(second, 2)
    drain(app)
    assert app.seen == [1]
    assert app.AsyncResult("order-7").get(timeout=1) == 1


def called_for(app, name, **options):
    """Send a task that calls `note` if it fails, under the id that `note` has had before."""
    errback = app.tasks["note"].si(2).set(task_id="order-7")
    return app.tasks[name].apply_async(link_error=errback, **options)


def test_an_id_whose_errback_is_not_needed_has_its_result_again(app, second):
    sent(app, 1)
    drain(app)
    called_for(second, "total", args=([],))
    assert app.AsyncResult("order-7").state == "PENDING", "it may run yet"
    drain(app)
    assert app.seen == [1]
    assert app.AsyncResult("order-7").get(timeout=1) == 1
    sent(second, 3)
    drain(app)
    assert app.AsyncResult("order-7").get(timeout=1) == 3


def test_an_errback_that_is_needed_takes_the_id_of_what_has_ended(app, second):
    sent(app, 1)
    drain(app)
    failed = called_for(second, "total", args=(["x"],))
    drain(app)
    assert app.AsyncResult("order-7").get(timeout=1) == 2
    app.storage.dead.requeue([failed.id])
    drain(app)
    assert app.seen == [1, 2, 2], "a replay calls it again"
    assert app.AsyncResult("order-7").get(timeout=1) == 2


def test_idempotent_runs_once_where_its_result_is_ignored(app, second):
    for n in (1, 2):
        sent(app if n == 1 else second, n, idempotent=True, ignore_result=True)
        drain(app)
    assert app.seen == [1]


def test_idempotent_runs_once_where_a_receiver_adds_a_header(app, second):
    def add(sender=None, headers=None, **_):
        headers["trace"] = "1"

    before_task_publish.connect(add)
    try:
        for n in (1, 2):
            sent(app if n == 1 else second, n, idempotent=True, ignore_result=True)
            drain(app)
    finally:
        before_task_publish.disconnect(add)
    assert app.seen == [1]


def test_idempotent_runs_once_where_a_body_sends_it(app):
    @app.workflow
    def flow():
        sent(app, 1, idempotent=True, ignore_result=True)

    flow.start()
    drain(app)
    sent(app, 2, idempotent=True, ignore_result=True)
    drain(app)
    assert app.seen == [1]


def test_an_idempotent_canvas_runs_once_where_its_results_are_ignored(app, second):
    for each in (app, second):
        note = each.tasks["note"]
        canvas = note.s(1).set(ignore_result=True) | note.si(2).set(ignore_result=True)
        canvas.apply_async(task_id="order-8", idempotent=True)
        drain(app)
    assert app.seen == [1, 2]
