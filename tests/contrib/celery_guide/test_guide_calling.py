"""The guide's chapter on calling tasks."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from liteq import chain, chord
from liteq.exceptions import TaskRevokedError, TimeoutError
from liteq.result import AsyncResult, EagerResult, result_from_tuple
from liteq.serialization import kind_of

W = 60  # for one result, on a busy machine


@pytest.mark.celery("Calling", "`delay(*args, **kwargs)` sends with these arguments")
def test_delay(run, add):
    assert run(add, 2, 2) == 4
    assert run(add, x=2, y=3) == 5


@pytest.mark.celery("Calling", "`apply_async(args, kwargs)` takes them as a sequence and a mapping")
def test_apply_async(worker, add):
    assert add.apply_async((2, 2)).get(timeout=W) == 4
    assert add.apply_async([2], {"y": 5}).get(timeout=W) == 7
    assert add.apply_async(kwargs={"x": 1, "y": 1}).get(timeout=W) == 2


@pytest.mark.celery("Calling", "A task that is called runs in the current process, as a function")
def test_call(add):
    assert add(4, 4) == 8


@pytest.mark.celery("Calling", "`send_task(name)` sends a task that this process does not know")
def test_send_task(app, worker, add):
    assert app.send_task("guide.add", (1, 2)).get(timeout=W) == 3
    assert app.send_task("guide.add", kwargs={"x": 1, "y": 4}).get(timeout=W) == 5


@pytest.mark.celery("Calling", "`apply()` runs the task here and returns an EagerResult")
def test_apply(add):
    result = add.apply((2, 2))
    assert isinstance(result, EagerResult)
    assert (result.get(), result.state, result.ready()) == (4, "SUCCESS", True)


@pytest.mark.celery("Calling", "`task_id=` gives the message its id")
def test_task_id(worker, add):
    assert add.apply_async((1, 1), task_id="the-chosen-id").id == "the-chosen-id"
    assert add.AsyncResult("the-chosen-id").get(timeout=W) == 2


@pytest.mark.celery("Calling", "`link=` calls a signature with the result")
def test_link(app, worker, add, eventually):
    seen = []
    note = app.task(name="calling.note")(seen.append)
    add.apply_async((2, 2), link=note.s())
    eventually(lambda: seen == [4])


@pytest.mark.celery("Calling", "A callback's own arguments come after the result")
def test_link_with_arguments(app, worker, add, eventually):
    seen = []

    @app.task(name="calling.two")
    def two(result, extra):
        seen.append((result, extra))

    add.apply_async((2, 2), link=two.s(16))
    eventually(lambda: seen == [(4, 16)])


@pytest.mark.celery("Calling", "`link=` takes a list of callbacks; each is called with the result")
def test_links(app, worker, add, eventually):
    seen = []
    note = app.task(name="calling.each")(seen.append)
    add.apply_async((1, 2), link=[note.s(), note.s()])
    eventually(lambda: seen == [3, 3])


@pytest.mark.celery("Calling", "`link_error=` calls a signature when the task fails; an old-style errback gets the id")
def test_link_error_by_id(app, worker, fail, eventually):
    seen = []

    @app.task(name="calling.by_id", bind=True)
    def by_id(self, task_id):
        seen.append((task_id, type(app.AsyncResult(task_id).result).__name__))

    result = fail.apply_async(link_error=by_id.s())
    eventually(lambda: seen == [(result.id, "KeyError")])


@pytest.mark.celery("Calling", "An errback with more parameters gets the request, the exception and the traceback")
def test_link_error(app, worker, fail, eventually):
    seen = []

    @app.task(name="calling.errback")
    def errback(request, exc, traceback):
        seen.append((request.id, exc, "boom" in traceback))

    result = fail.apply_async(link_error=errback.s())
    eventually(lambda: seen)
    assert seen[0][0] == result.id
    assert isinstance(seen[0][1], KeyError)
    assert seen[0][2]


@pytest.mark.celery("Calling", "The request that an errback gets tells the task that failed, and its arguments")
def test_the_request_of_an_errback(app, worker, add, eventually):
    seen = []

    @app.task(name="calling.told")
    def told(request, exc, traceback):
        seen.append((request.task, list(request.args), request.kwargs, request.parent_id is None))

    @app.task(name="calling.fails_with")
    def fails_with(*args, **named):
        raise KeyError("boom")

    fails_with.apply_async((1,), {"b": 2}, link_error=told.s())
    eventually(lambda: seen == [("calling.fails_with", [1], {"b": 2}, True)])
    seen.clear()
    chain(add.s(1, 1), fails_with.s(5), add.s(1)).on_error(told.s())()  # what it got of the task before it, too
    eventually(lambda: seen == [("calling.fails_with", [2, 5], {}, False)])
    seen.clear()
    chord([add.s(1, 1), fails_with.s()], add.s(7).on_error(told.s()))()  # the body was never called
    eventually(lambda: [told[:3] for told in seen] == [(add.name, [7], {})])


@pytest.mark.celery("Calling", "Callbacks do not run when the task fails, errbacks not when it succeeds")
def test_links_of_the_other_outcome(app, worker, add, fail, eventually):
    seen = []
    good = app.task(name="calling.good")(lambda *a: seen.append("good"))
    bad = app.task(name="calling.bad")(lambda *a: seen.append("bad"))
    fail.apply_async(link=good.s(), link_error=bad.s())
    add.apply_async((1, 1), link=good.s(), link_error=bad.s())
    eventually(lambda: sorted(seen) == ["bad", "good"])


@pytest.mark.celery("Calling", "`on_message=` of `get` is called with each state that is seen, of `update_state` too")
def test_on_message(app, worker, add):
    seen, told = [], threading.Event()

    @app.task(name="calling.tells", bind=True)
    def tells(self):
        self.update_state(state="PROGRESS", meta={"done": 1})
        told.wait(W)
        return 3

    def note(body):
        seen.append((body["status"], body["result"]))
        told.set()

    assert tells.delay().get(timeout=W, on_message=note, interval=0.01) == 3
    assert seen == [("PROGRESS", {"done": 1}), ("SUCCESS", 3)]
    add.delay(1, 2).get(timeout=W, on_message=note)
    assert seen[2:] == [("SUCCESS", 3)]


@pytest.mark.celery("Calling", "`countdown=` seconds pass before it runs")
def test_countdown(worker, add):
    before = time.monotonic()
    add.apply_async((1, 1), countdown=0.4).get(timeout=W)
    assert time.monotonic() - before >= 0.4


@pytest.mark.celery("Calling", "`eta=` is a time before which it does not run, in any time zone")
def test_eta(worker, add):
    before = time.monotonic()
    zone = timezone(timedelta(hours=5))
    add.apply_async((1, 1), eta=datetime.now(zone) + timedelta(seconds=0.4)).get(timeout=W)
    assert time.monotonic() - before >= 0.35


@pytest.mark.celery("Calling", "An eta without a time zone is UTC, and one in ISO format is taken too")
def test_eta_naive(app, add):
    message = app.publisher.message(add.name, (1, 1), {}, {"eta": datetime(2030, 1, 1)}, message_id="1")
    assert message.due_ms == datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1000
    message = app.publisher.message(add.name, (1, 1), {}, {"eta": "2030-01-01T00:00:00+00:00"}, message_id="1")
    assert message.due_ms == datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1000


@pytest.mark.celery("Calling", "`expires=` in seconds: a task that has expired is revoked")
def test_expires(app, worker, add):
    result = add.apply_async((1, 1), countdown=0.3, expires=0.1)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=W)
    assert result.state == "REVOKED"


@pytest.mark.celery("Calling", "`expires=` as a datetime")
def test_expires_at(worker, add):
    past = datetime.now(UTC) - timedelta(seconds=1)
    with pytest.raises(TaskRevokedError):
        add.apply_async((1, 1), expires=past).get(timeout=W)
    future = datetime.now(UTC) + timedelta(minutes=1)
    assert add.apply_async((1, 1), expires=future).get(timeout=W) == 2


@pytest.mark.celery("Calling", "`retry=`, `retry_policy=`, `connection=` and `producer=` are taken",
                    differs="there is no connection: `busy_timeout` says how long a write waits")  # fmt: skip
def test_retry_policy(worker, add):
    policy = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
    result = add.apply_async((2, 2), retry=True, retry_policy=policy, connection=None, producer=None)
    assert result.get(timeout=W) == 4


@pytest.mark.celery("Calling", "`with app.connection_or_acquire()`: code that manages connections runs")
def test_connections(app, worker, add):
    with app.connection_or_acquire() as connection:
        assert add.apply_async((1, 2), connection=connection).get(timeout=W) == 3


@pytest.mark.celery("Calling", "`serializer=` of a call")
def test_serializer(fresh):
    pytest.importorskip("yaml")
    fresh.conf.accept_content = ["json", "yaml"]
    message = fresh.publisher.message("any", (1,), {}, {"serializer": "yaml"}, message_id="1")
    assert "x-yaml" in kind_of(message.payload)
    assert fresh.content.read(message.payload) == [[1], {}]


@pytest.mark.celery("Calling", "`compression=` of a call")
def test_compression(app, worker, add):
    text = "x" * 5000
    message = app.publisher.message(add.name, (text, text), {}, {"compression": "gzip"}, message_id="1")
    assert len(message.payload) < 500
    assert add.apply_async((text, "y"), compression="bzip2").get(timeout=W) == text + "y"


@pytest.mark.celery("Calling", "`queue=` routes a call")
def test_queue(app, add):
    assert app.publisher.message(add.name, (1, 1), {}, {"queue": "priority.high"}, message_id="1").queue == (
        "priority.high"
    )


@pytest.mark.celery("Calling", "`exchange=`, `routing_key=`, `priority=` of a call")
def test_routing_options(app, add):
    options = {"exchange": "media", "routing_key": "media.video", "priority": 7}
    message = app.publisher.message(add.name, (1, 1), {}, options, message_id="1")
    assert (message.queue, message.priority) == ("media.video", 7)


@pytest.mark.celery("Calling", "`ignore_result=True` of a call: `get()` returns None at once")
def test_ignore_result(worker, add):
    result = add.apply_async((1, 2), ignore_result=True)
    assert result.get() is None


@pytest.mark.celery("Calling", "`ignore_result=False` of a call stores the result of a task that ignores them")
def test_ignore_result_false(app, worker):
    quiet = app.task(name="calling.quiet", ignore_result=True)(lambda: "kept")
    result = quiet.apply_async(ignore_result=False)
    assert result.get(timeout=W) == "kept"


@pytest.mark.celery("Calling", "`headers=` reach the task's request")
def test_headers(app, worker):
    @app.task(name="calling.headers", bind=True)
    def headers(self):
        return self.request.headers, self.request.get("tenant")

    assert headers.apply_async(headers={"tenant": "acme"}).get(timeout=W) == [{"tenant": "acme"}, "acme"]


@pytest.mark.celery("Calling", "`shadow=` is another name for logs")
def test_shadow(app, worker):
    @app.task(name="calling.shadow", bind=True)
    def shadow(self):
        return self.request.shadow

    assert shadow.apply_async(shadow="another name").get(timeout=W) == "another name"


@pytest.mark.celery("Calling", "`time_limit=` and `soft_time_limit=` of a call reach the request")
def test_limits(app, worker):
    @app.task(name="calling.limits", bind=True)
    def limits(self):
        return self.request.timelimit

    assert limits.apply_async(time_limit=30, soft_time_limit=20).get(timeout=W) == [30, 20]


@pytest.mark.celery("Results", "`get(timeout=)` raises TimeoutError when the time is up")
def test_get_timeout(app):
    with pytest.raises(TimeoutError):
        app.AsyncResult("nobody-sent-this").get(timeout=0.05)


@pytest.mark.celery("Results", "`get()` raises the task's exception; `propagate=False` returns it")
def test_get_propagate(worker, fail):
    result = fail.delay()
    with pytest.raises(KeyError, match="boom"):
        result.get(timeout=W)
    assert isinstance(result.get(propagate=False), KeyError)


@pytest.mark.celery("Results", "`state`, `successful()`, `failed()`, `traceback`, `result` of a result")
def test_result_attributes(worker, add, fail):
    good, bad = add.delay(1, 1), fail.delay()
    good.get(timeout=W)
    bad.get(timeout=W, propagate=False)
    assert (good.state, good.status, good.successful(), good.failed(), good.traceback) == (
        "SUCCESS", "SUCCESS", True, False, None,
    )  # fmt: skip
    assert (bad.state, bad.successful(), bad.failed()) == ("FAILURE", False, True)
    assert "KeyError" in bad.traceback
    assert isinstance(bad.info, KeyError)


@pytest.mark.celery(
    "Results", "A result of an id that nobody sent is PENDING", differs="`exists()` tells one from the other"
)
def test_unknown(app):
    result = app.AsyncResult("nobody-knows")
    assert (result.state, result.result, result.ready(), result.exists()) == ("PENDING", None, False, False)


@pytest.mark.celery("Results", "`forget()` deletes a result")
def test_forget(worker, add):
    result = add.delay(1, 1)
    result.get(timeout=W)
    result.forget()
    assert AsyncResult(result.id, app=add.app).state == "PENDING"


@pytest.mark.celery("Results", "`as_tuple()` and `result_from_tuple()` are inverse")
def test_as_tuple(app, worker, add):
    result = add.delay(2, 5)
    again = result_from_tuple(result.as_tuple(), app=app)
    assert again == result
    assert again.get(timeout=W) == 7


@pytest.mark.celery("Results", "`get(callback=)` and `then()` are told of the result")
def test_callbacks(worker, add, eventually):
    seen = []
    add.delay(1, 2).get(timeout=W, callback=lambda id_, value: seen.append(value))
    add.delay(3, 4).then(lambda result: seen.append(result.get()))
    eventually(lambda: seen == [3, 7])


@pytest.mark.celery("Results", "`get()` inside a task raises RuntimeError, but not under `allow_join_result`")
def test_get_inside(app, worker, add):
    from liteq.result import allow_join_result

    @app.task(name="calling.wrong")
    def wrong():
        return add.delay(1, 1).get(timeout=W)

    @app.task(name="calling.right")
    def right():
        with allow_join_result():
            return add.delay(1, 1).get(timeout=W)

    with pytest.raises(RuntimeError, match=r"Never call result.get\(\) within a task"):
        wrong.delay().get(timeout=W)
    assert right.delay().get(timeout=W) == 2


@pytest.mark.celery("Results", "name, args, kwargs, worker, retries, queue and date_done of a result",
                    differs="always there, as with `result_extended`")  # fmt: skip
def test_extended(worker, add):
    result = add.apply_async((1,), {"y": 2})
    result.get(timeout=W)
    assert (result.name, result.args, result.kwargs) == ("guide.add", [1], {"y": 2})
    assert (result.worker, result.retries, result.queue) == ("guide@test", 0, "celery")
    assert abs((datetime.now(UTC) - result.date_done).total_seconds()) < 60
