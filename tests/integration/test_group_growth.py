"""Groups that take one more member or are saved, results with callbacks, retries that change their message."""

from __future__ import annotations

import threading

import pytest

from liteq import GroupResult, LiteQ, chord, group
from liteq.exceptions import IncompleteStream
from liteq.states import State
from liteq.testing import FakeClock, drain


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(tmp_path, clock):
    app = LiteQ("grow", broker=f"sqlite:///{tmp_path}/q.db", clock=clock, set_as_current=False)

    @app.task(name="double")
    def double(n):
        return n * 2

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)

    @app.task(name="split", bind=True)
    def split(self, n):
        for part in range(n):
            self.add_to_chord(double.s(part))
        return 100

    yield app
    app.close()


def test_the_body_of_a_chord_waits_for_what_was_added(app):
    double, split, total = (app.tasks[name] for name in ("double", "split", "total"))
    result = chord([split.s(3), double.s(1)], total.s()).apply_async()
    drain(app)
    assert result.get(timeout=1) == 100 + 2 + (0 + 2 + 4)


@pytest.mark.parametrize("way", ["apply_async", "enqueue_many", "replace", "add_to_chord"])
def test_the_errbacks_of_a_chord_are_its_headers_where_the_setting_says_so(app, way):
    app.conf.task_allow_error_cb_on_chord_header = True
    total, told = app.tasks["total"], []

    @app.task(name="fail")
    def fail():
        raise ValueError

    @app.task(name="note")
    def note(id_):
        told.append(id_)

    def canvas():
        return chord([fail.s()], total.s()).set(link_error=[note.s()])

    @app.task(name="send", bind=True)
    def send(self):
        if way == "replace":
            raise self.replace(canvas())
        self.add_to_chord(canvas())

    match way:
        case "apply_async":
            canvas().apply_async()
        case "enqueue_many":
            app.enqueue_many([canvas()])
        case _:
            chord([send.s()], total.s()).apply_async()
    drain(app)
    assert len(told) == 2  # of the header's task, and of the body


def test_a_canvas_among_many_is_of_the_family_of_the_task_that_sends_it(app):
    double = app.tasks["double"]

    @app.task(name="send", bind=True)
    def send(self):
        return app.enqueue_many([double.s(1) | double.s(), double.s(2)])

    result = send.delay()
    drain(app)
    assert {app.storage.reader.find(id_).root_id for id_ in result.get(timeout=1)} == {result.id}


def test_a_chord_that_is_evaluated_here_takes_what_is_added(app):
    double, split, total = (app.tasks[name] for name in ("double", "split", "total"))
    calls = chord([split.s(3), double.s(1) | split.s()], total.s())
    assert calls.apply().get() == 100 + (0 + 2 + 4) + 100 + (0 + 2)
    app.conf.task_always_eager = True
    assert calls.delay().get() == 100 + (0 + 2 + 4) + 100 + (0 + 2)


def test_what_is_added_later_is_added_here_too(app):
    double, total = (app.tasks[name] for name in ("double", "total"))

    @app.task(name="later", bind=True)
    def later(self, n):
        self.add_to_chord(double.s(n), lazy=True).apply_async()
        return n

    assert chord([later.s(1), later.s(2)], total.s()).apply().get() == 1 + 2 + 2 + 4
    with pytest.raises(ValueError, match="member of a group"):
        later.apply((1,), throw=True)


def test_a_whole_canvas_may_be_added(app):
    @app.task(name="widen", bind=True)
    def widen(self):
        self.add_to_chord(group(app.tasks["double"].s(n) for n in (1, 2)) | app.tasks["total"].s())
        return 1

    result = chord([widen.s()], app.tasks["total"].s()).apply_async()
    drain(app)
    assert result.get(timeout=1) == 1 + 6


@pytest.mark.parametrize("lazy", [False, True])
def test_a_canvas_without_a_task_is_no_member(app, lazy):
    @app.task(name="nothing", bind=True)
    def nothing(self):
        for empty in (group([]), group([group([])], countdown=1), chord([group([])], group([]))):
            added = self.add_to_chord(empty, lazy=lazy)
            assert (added.apply_async() if lazy else added).results == []
        return 1

    result = chord([nothing.s(), app.tasks["double"].s(1)], app.tasks["total"].s()).apply_async()
    drain(app)
    assert result.get(timeout=1) == 3


def test_lazily_nothing_is_sent_before_it_is_called(app):
    @app.task(name="lazy", bind=True)
    def lazy(self):
        later = self.add_to_chord(app.tasks["double"].s(5), lazy=True)
        later.delay()
        return 1

    result = chord([lazy.s()], app.tasks["total"].s()).apply_async()
    drain(app)
    assert result.get(timeout=1) == 11


def test_outside_of_a_group_there_is_nothing_to_add_to(app):
    result = app.tasks["split"].delay(1)
    drain(app)
    with pytest.raises(ValueError, match="member of a group"):
        result.get(timeout=1)


def test_a_group_that_is_done_takes_no_more(app):
    done = group(app.tasks["double"].s(1)).apply_async()
    drain(app)
    with pytest.raises(ValueError, match="has finished"):
        app.send_as_member(app.tasks["double"].s(2), done.id)


# -- saved groups ----------------------------------------------------------------------------------------------------


def test_a_group_put_together_by_hand_can_be_saved_and_restored(app):
    results = [app.tasks["double"].delay(n) for n in range(3)]
    GroupResult("by-hand", results, app=app).save()
    drain(app)
    restored = app.backend.restore_group("by-hand")
    assert restored.get(timeout=1) == [0, 2, 4]
    restored.delete()
    assert GroupResult.restore("by-hand", app=app) is None
    assert [app.AsyncResult(result.id).get(timeout=1) for result in results] == [0, 2, 4]  # they stay


def test_a_group_that_was_sent_and_deleted_is_none_of_its_sender_s_children(app):
    @app.task(name="sender")
    def sender():
        return group(app.tasks["double"].s(n) for n in range(2)).apply_async().save().id

    sent = sender.delay()
    drain(app)
    made = GroupResult.restore(sent.get(timeout=1), app=app)
    assert sent.children == [made]
    made.delete()
    assert sent.children == []
    assert GroupResult.restore(made.id, app=app) is None
    assert [app.AsyncResult(result.id).get(timeout=1) for result in made] == [0, 2]
    made.save()
    assert GroupResult.restore(made.id, app=app) == made


def test_a_group_that_was_sent_needs_no_saving(app):
    sent = group(app.tasks["double"].s(n) for n in range(3)).apply_async()
    drain(app)
    assert GroupResult.restore(sent.id, app=app).get(timeout=1) == [0, 2, 4]


# -- callbacks and graphs of results ---------------------------------------------------------------------------------


def test_then(app):
    called, seen = threading.Event(), []

    def note(result):
        seen.append(result.get())
        called.set()

    result = app.tasks["double"].delay(4)
    assert result.then(note) is result
    drain(app)
    assert called.wait(60)
    assert seen == [8]


def test_then_on_error(app):
    called, seen = threading.Event(), []

    def note(result):
        seen.append(result.state)
        called.set()

    app.tasks["double"].delay(None).then(lambda _: None, on_error=note)
    drain(app)
    assert called.wait(60)
    assert seen == ["FAILURE"]


def test_then_of_a_result_that_is_ignored_calls_neither(app, caplog):
    seen = []
    result = app.tasks["double"].apply_async((4,), ignore_result=True).then(seen.append, on_error=seen.append)
    for thread in threading.enumerate():
        if thread.name == f"liteq-then-{result.id}":
            thread.join(60)
    assert seen == []
    assert "send it with ignore_result=False" in caplog.text


def test_the_graph_of_a_result(app):
    double = app.tasks["double"]
    last = (double.s(1) | double.s() | double.s()).apply_async()
    first = last.parent.parent
    with pytest.raises(IncompleteStream):
        _ = first.graph
    drain(app)
    assert list(first.graph) == [first, last.parent, last]
    assert first.graph.topsort() == [last, last.parent, first]
    assert [value for _, value in first.collect()] == [2, 4, 8]


# -- a retry may change its message ----------------------------------------------------------------------------------


def test_a_retry_in_another_queue(app, clock):
    @app.task(name="move", bind=True)
    def move(self):
        if self.request.retries == 0:
            raise self.retry(countdown=1, queue="slow", priority=7, time_limit=30, headers={"tried": 1})
        return self.request.delivery_info["queue"], self.request.headers, self.request.timelimit

    result = move.delay()
    drain(app)
    [waiting] = app.storage.reader.messages(State.SCHEDULED)
    assert (waiting.queue, waiting.priority) == ("slow", 7)
    drain(app, until_ms=clock.now_ms() + 2_000)
    assert result.get(timeout=1) == ["slow", {"tried": 1}, [30, None]]
