"""Events of a worker that runs, as a monitor reads them."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from liteq import LiteQ
from liteq.events.snapshot import Polaroid
from liteq.exceptions import Reject
from liteq.testing import FakeClock, start_worker


@pytest.fixture
def app(tmp_path):
    app = LiteQ("events", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)

    @app.task(name="add")
    def add(x, y):
        return x + y

    @app.task(name="fail")
    def fail():
        raise ValueError("no")

    @app.task(name="again", bind=True, max_retries=1)
    def again(self):
        if not self.request.retries:
            raise self.retry(countdown=0)

    @app.task(name="reject")
    def reject():
        raise Reject("no", requeue=False)

    @app.task(name="tell", bind=True)
    def tell(self):
        self.send_event("task-progress", percent=40)

    yield app
    app.close()


def captured(app, until, within_s=60.0):
    """All events from now on until `until(events)`, captured in a thread; a function that waits for them."""
    events, done = [], threading.Event()
    receiver = app.events.Receiver(handlers={"*": events.append})

    def run():
        for _ in receiver.itercapture(wakeup=False):
            if until(events):
                done.set()
                return

    threading.Thread(target=run, daemon=True).start()

    def wait():
        assert done.wait(within_s), [event["type"] for event in events]
        return events

    return wait


def of(events, uuid):
    return [event for event in events if event.get("uuid") == uuid]


def ends(type_):
    return lambda events: any(event["type"] == type_ for event in events)


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_the_life_of_a_task(app, pool):
    wait = captured(app, ends("task-succeeded"))
    with start_worker(app, pool=pool, hostname="w@here", task_events=True):
        result = app.tasks["add"].delay(1, y=2)
        events = of(wait(), result.id)
    assert [event["type"] for event in events] == ["task-received", "task-started", "task-succeeded"]
    received, started, succeeded = events
    assert (received["name"], received["args"], received["kwargs"]) == ("add", "(1,)", "{'y': 2}")
    assert (received["retries"], received["root_id"], received["parent_id"]) == (0, result.id, None)
    assert (succeeded["result"], succeeded["hostname"]) == ("3", "w@here")
    assert succeeded["runtime"] >= 0
    assert started["timestamp"] <= succeeded["timestamp"]
    assert {"timestamp", "clock", "pid", "utcoffset", "local_received"} <= succeeded.keys()


def test_logs_and_events_name_a_call_by_its_shadow(app, caplog):
    caplog.set_level(logging.INFO)
    wait = captured(app, ends("task-succeeded"))
    with start_worker(app, pool="solo", task_events=True):
        result = app.tasks["add"].apply_async((1, 2), shadow="add of the day")
        [received] = [one for one in wait() if one["type"] == "task-received" and one["uuid"] == result.id]
    assert received["name"] == "add of the day"
    told = [text for text in caplog.messages if result.id in text]
    assert told[0].startswith("Task add of the day[")
    assert any(text.startswith(f"Task add of the day[{result.id}] succeeded") for text in told)


@pytest.mark.parametrize(
    ("task", "type_", "fields"),
    [
        ("fail", "task-failed", {"exception": "ValueError('no')"}),
        ("again", "task-retried", {}),
        ("reject", "task-rejected", {"requeue": False}),
        ("tell", "task-progress", {"percent": 40}),
    ],
)
def test_how_it_may_end(app, task, type_, fields):
    wait = captured(app, ends(type_))
    with start_worker(app, task_events=True):
        app.tasks[task].delay()
        [event] = [event for event in wait() if event["type"] == type_]
    assert fields.items() <= event.items()
    if type_ in {"task-failed", "task-retried"}:
        assert "Traceback" in event["traceback"]


def test_a_revoked_one(app):
    wait = captured(app, ends("task-revoked"))
    with start_worker(app, task_events=True):
        app.control.revoke("to-come", reply=True, timeout=60)
        app.tasks["add"].apply_async((1, 2), task_id="to-come")
        [event] = [event for event in wait() if event["type"] == "task-revoked"]
    assert (event["uuid"], event["terminated"], event["expired"]) == ("to-come", False, False)


def test_off_nothing_is_written(app):
    with start_worker(app):
        app.tasks["add"].delay(1, 2).get(timeout=60)
    assert app.storage.events.last() == 0


def test_they_are_switched_on_and_off_while_it_runs(app):
    with start_worker(app, hostname="w@here"):
        assert app.control.enable_events(reply=True, timeout=60) == [{"w@here": {"ok": "task events enabled"}}]
        assert app.control.enable_events(reply=True, timeout=60) == [{"w@here": {"ok": "task events already enabled"}}]
        wait = captured(app, ends("task-succeeded"))
        app.tasks["add"].delay(1, 2)
        wait()
        assert app.control.disable_events(reply=True, timeout=60) == [{"w@here": {"ok": "task events disabled"}}]
        last = app.storage.events.last()
        app.tasks["add"].delay(1, 2).get(timeout=60)
        assert app.storage.events.last() == last


def test_a_task_may_stay_silent(app):
    app.tasks["add"].send_events = False
    wait = captured(app, ends("task-failed"))
    with start_worker(app, task_events=True):
        silent = app.tasks["add"].delay(1, 2)
        silent.get(timeout=60)
        app.tasks["fail"].delay()
        assert of(wait(), silent.id) == []


def test_producers_tell_what_they_send(app):
    app.conf.task_send_sent_event = True
    wait = captured(app, ends("task-sent"))
    result = app.tasks["add"].apply_async((1, 2), queue="sums")
    [event] = wait()
    assert (event["uuid"], event["name"], event["queue"], event["args"]) == (result.id, "add", "sums", "(1, 2)")


def test_workers_come_and_go(app):
    there = captured(app, ends("worker-online"))
    with start_worker(app, hostname="w@here"):
        online = there()[-1]
        here = threading.Event()
        gone = captured(app, lambda events: here.set() or ends("worker-offline")(events))
        assert here.wait(60)  # a capture tells of the end of those workers that it saw, and looks once a second
        assert {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys", "pid"} <= online.keys()
    events = gone()
    assert [(event["type"], event["hostname"]) for event in events][-1] == ("worker-offline", "w@here")


def test_a_worker_that_starts_before_the_first_look_is_told_of_as_new(app):
    told = []
    receiver = app.events.Receiver(handlers={"*": told.append})
    with start_worker(app, hostname="w@here"):
        receiver.capture(limit=1, timeout=60, wakeup=False)
    assert [(event["type"], event["hostname"]) for event in told] == [("worker-online", "w@here")]


def test_a_capture_ends(app):
    with pytest.raises(TimeoutError):
        app.events.Receiver(handlers={}).capture(timeout=0.05)
    app.events.Receiver()
    with start_worker(app):
        app.events.Receiver().capture(limit=1, timeout=60)


def test_a_receiver_does_not_sleep_while_there_is_more(app, monkeypatch):
    @contextmanager
    def hearing():
        yield SimpleNamespace(wait=lambda _s: pytest.fail("it sleeps, and there are more events"))

    got = []
    receiver = app.events.Receiver(handlers={"*": got.append})
    app.storage.events.put([b'{"type":"task-sent"}'] * 1_100)
    monkeypatch.setattr(app.storage, "hearing", hearing)
    receiver.capture(limit=1_100, wakeup=False)
    assert len(got) == 1_100


def test_what_is_old_goes(app):
    storage = app.storage
    storage.events.put([b'{"type":"x"}'] * 5)
    assert storage.events.trim(3600) == 0
    assert storage.events.trim(-1) == 5
    assert storage.events.last() == 0 or storage.events.after(0, 10) == []


def test_the_picture(app):
    state = app.events.State()
    receiver = app.events.Receiver(handlers={"*": state.event})
    with start_worker(app, hostname="w@here", task_events=True):
        ok, bad = app.tasks["add"].delay(1, 2), app.tasks["fail"].delay()
        for event in receiver.itercapture(timeout=60):
            if event["type"] in {"task-failed", "task-succeeded"} and all(
                uuid in state.tasks and state.tasks[uuid].ready for uuid in (ok.id, bad.id)
            ):
                break
        task = state.tasks[ok.id]
        assert (task.name, task.state, task.result, task.worker.hostname) == ("add", "SUCCESS", "3", "w@here")
        assert task.received <= task.succeeded
        assert state.tasks[bad.id].exception == "ValueError('no')"
        assert state.task_types() == ["add", "fail"]
        assert [uuid for uuid, _ in state.tasks_by_type("add")] == [ok.id]
        assert state.tasks_by_type["fail"] == {state.tasks[bad.id]}
        assert state.tasks_by_worker["w@here"] == {task, state.tasks[bad.id]}
        assert task.info()["args"] == "(1, 2)"
        assert "w@here" in state.workers


def test_a_task_whose_parent_is_not_there_leaves_with_its_last_trace(app):
    state = app.events.State(max_tasks_in_memory=2)

    def sent(uuid, parent_id):
        state.event({"type": "task-succeeded", "uuid": uuid, "parent_id": parent_id, "hostname": "w", "clock": 1})
        return weakref.ref(state.tasks[uuid])

    def left(ref):
        gc.collect()
        return ref() is None

    orphan = sent("child", "forgotten long ago")
    first, second = sent("parent", None), sent("second", "parent")  # there is room for two
    assert left(orphan)
    assert [task.uuid for task in first().children] == ["second"]
    for ref, uuid in ((first, "third"), (second, "fourth")):
        sent(uuid, "parent")
        assert left(ref)
    sent("parent", None)
    assert {task.uuid for task in state.tasks["parent"].children} == {"fourth"}  # the parent took the third's place
    state.clear()
    orphan = sent("fifth", "cleared")
    state.clear()
    assert left(orphan)


def test_a_camera(app):
    taken = []

    class Camera(Polaroid):
        clear_after = True

        def on_shutter(self, state):
            taken.append(dict(state.tasks))

    state = app.events.State()
    state.event({"type": "task-succeeded", "uuid": "a", "hostname": "w", "timestamp": 1.0, "clock": 1})
    with Camera(state, freq=3600, app=app):
        pass
    assert list(taken[0]) == ["a"]
    assert not state.tasks, "what has come to its end is forgotten"


def test_events_are_heard_in_a_file_that_was_made_anew(app, monkeypatch):
    """Their numbers begin again there."""
    monkeypatch.setattr("liteq.events.receiver.LOOK_S", 0.01)
    got = []
    receiver = app.events.Receiver(handlers={"*": got.append})
    app.storage.events.put([b'{"type":"task-sent"}'] * 10)
    receiver.capture(limit=10, timeout=60, wakeup=False)
    with app.storage.driver.write() as tx:
        tx.execute("DELETE FROM liteq_events")
        tx.execute("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'liteq_events'")
    with pytest.raises(TimeoutError):
        receiver.capture(timeout=0.1, wakeup=False)
    app.storage.events.put([b'{"type":"task-received"}'])
    receiver.capture(limit=1, timeout=10, wakeup=False)
    assert got[-1]["type"] == "task-received"


def test_a_camera_without_an_app_keeps_to_its_rate(app, monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr("liteq.events.snapshot.time", clock)
    taken = []

    class Camera(Polaroid):
        def on_shutter(self, state):
            taken.append(clock.monotonic())

    camera = Camera(app.events.State(), maxrate="1/m")
    for _ in range(4):
        camera.shutter()
        clock.advance(seconds=30)
    assert [at - taken[0] for at in taken] == [0, 60]
