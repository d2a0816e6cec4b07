"""Work that does not go on is told of: by its queue, its age, its task, its schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from liteq import LiteQ
from liteq.alerts import alerts
from liteq.beat import Beat
from liteq.context import identity
from liteq.message import Ack
from liteq.metrics.reading import read
from liteq.monitor import documents
from liteq.monitor.findings import findings
from liteq.monitor.overview import overview
from liteq.monitor.workers import PUBLISHED, published
from liteq.storage.reading.backlog import COUNTED
from liteq.testing import FakeClock, drain
from liteq.workflow import ctx


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", clock=FakeClock())

    @app.task(name="shop.add")
    def add(x: int, y: int) -> int:
        return x + y

    yield app
    app.close()


@pytest.fixture
def live(app) -> Callable[..., int]:
    """A living worker of this process, by what it tells of itself."""

    def enter(name: str = "liteq@here", **facts: Any) -> int:
        told = {"queues": ["celery"], "tasks": ["shop.add"], **facts}
        return app.storage.register_worker(identity.me(name), orjson.dumps(told))

    return enter


def kinds(app: LiteQ) -> dict[str, str]:
    return {one.kind: one.status for one in findings(app)}


def test_nothing_is_wrong_with_an_empty_queue(app, live):
    app.storage.migrate()
    assert findings(app) == []
    live()
    assert findings(app) == []


def test_messages_without_a_worker_are_a_warning_at_first_and_then_an_error(app):
    app.tasks["shop.add"].delay(1, 2)
    assert kinds(app) == {"no worker": "warning"}
    app.clock.advance(seconds=61)
    assert kinds(app) == {"no worker": "error"}
    assert "1 message waits in queue 'celery', for 1 min 1 s, and no worker lives" in findings(app)[0].detail


def test_a_full_disk_is_told_wherever_somebody_looks(app, live, monkeypatch):
    """Nothing is late yet, and the workers live: it said 'working', and all is well."""
    live()
    app.tasks["shop.add"].delay(1, 2)
    monkeypatch.setattr(app.storage.driver, "in_reserve", lambda: True)
    assert kinds(app) == {"disk": "error"}
    shown = overview(app)
    assert (shown["well"], shown["verdict"].startswith("Not well: the disk is full")) == (False, True)
    assert [one.rule for one in alerts(app)] == ["storage"]
    assert documents.status(app).document["status"] == "stuck"


def test_a_queue_that_nobody_takes_from(app, live):
    live()
    app.tasks["shop.add"].apply_async((1, 2), queue="mail")
    assert "liteq worker -Q mail" in findings(app)[0].detail
    assert kinds(app) == {"idle queue": "warning"}
    live("liteq@there", queues=["mail"])
    assert findings(app) == []


def test_a_paused_queue_is_no_trouble(app, live):
    app.conf.stuck_after = 20
    live()
    for queue in ("celery", "mail"):
        app.tasks["shop.add"].apply_async((1, 2), queue=queue)
    app.storage.queues.pause("*", actor="ann", reason="deploy")
    app.clock.advance(seconds=40)
    live("liteq@there")
    assert findings(app) == []
    app.storage.queues.resume("*", actor="ann")
    assert sorted(kinds(app)) == ["idle queue", "old messages"]


def test_a_message_that_came_due_in_a_queue_without_a_worker(app, live):
    live()
    app.tasks["shop.add"].apply_async((1, 2), queue="mail", countdown=10)
    assert findings(app) == []
    app.clock.advance(seconds=25)
    live()  # the first one's heartbeat may be late by now
    assert "1 message waits in queue 'mail', for 15 s" in findings(app)[0].detail


def test_a_task_that_no_worker_of_its_queue_knows(app, live):
    app.send_task("shop.old")
    app.tasks["shop.add"].delay(1, 2)
    live()
    [found] = findings(app)
    assert found.kind == "unknown tasks"
    assert "'shop.old' in queue 'celery': no living worker of it knows this task" in found.detail
    live("liteq@new", tasks=["shop.old"])
    assert findings(app) == []


def test_a_worker_that_does_not_tell_its_tasks_may_know_any(app, live):
    app.send_task("shop.old")
    live(tasks=None)
    assert findings(app) == []


def test_a_worker_publishes_no_more_names_than_it_may():
    assert published(["b", "a", "celery.chord"]) == ["a", "b"]
    assert published(map(str, range(PUBLISHED + 1))) is None


def test_the_oldest_message_of_a_queue_is_found_below_higher_priorities(app, live):
    app.conf.stuck_after = 20
    app.tasks["shop.add"].apply_async((1, 2), priority=1)
    app.clock.advance(seconds=25)
    app.tasks["shop.add"].apply_async((1, 2), priority=200)
    live()
    [found] = findings(app)
    assert (found.kind, found.status) == ("old messages", "warning")
    assert "2 messages wait in queue 'celery', the oldest for 25 s" in found.detail


def test_dead_letters_are_a_warning(app, live):
    from liteq.testing import drain

    @app.task(name="shop.broken")
    def broken() -> None:
        raise ValueError("no such order")

    broken.delay()
    drain(app)
    app.clock.advance(seconds=130)
    assert (
        findings(app)[0].detail
        == "1 dead letter, the newest 2 min 10 s ago: see `liteq dead list`; requeue or drop them"
    )
    assert kinds(app) == {"dead letters": "warning"}


def test_schedules_that_no_beat_sends(app):
    app.schedules.add("nightly", 30.0, "shop.add", (1, 2))
    app.clock.advance(seconds=80)
    assert findings(app) == []
    app.clock.advance(seconds=20)
    assert kinds(app) == {"overdue schedules": "error"}
    assert "'nightly': due for 1 min 10 s, and not sent, so no beat runs" in findings(app)[0].detail
    app.schedules.pause("nightly")
    assert findings(app) == []


def test_a_schedule_that_waits_for_its_last_run_is_not_late(app):
    """With overlap="queue" a run of an hour is nobody's fault: no finding, no alert and no measure says "no beat"."""
    app.schedules.add("nightly", 30.0, "shop.add", (1, 2), overlap="queue")
    app.clock.advance(seconds=30)
    beat = Beat(app)
    beat.tick()
    (lease,) = app.storage.claim(["celery"], worker=1, limit=1, visibility_s=3600)
    app.clock.advance(seconds=100)
    beat.tick()
    assert [one.name for one in app.storage.schedules.due()[0]] == ["nightly"]
    told = [one.rule for one in alerts(app) if one.rule == "schedule_late"]
    assert (findings(app), told, read(app).schedules) == ([], [], {"nightly": 0.0})
    app.storage.settle([(lease, Ack())])
    assert kinds(app) == {"overdue schedules": "error"}, "it is to be sent now"


@pytest.mark.parametrize("signature", [b"\x01sealed;k1\0...", b"\xff", b"[]"], ids=["sealed", "no JSON", "no call"])
def test_a_late_schedule_that_cannot_be_read_here_is_told_as_any_other(app, signature):
    app.schedules.add("nightly", 30.0, "shop.add", (1, 2))
    with app.storage.driver.write() as tx:
        tx.execute("UPDATE liteq_schedules SET signature = ?, last_id = 'its last run'", (signature,))
    app.clock.advance(seconds=130)
    assert kinds(app) == {"overdue schedules": "error"}
    assert "schedule_late" in [one.rule for one in alerts(app)]
    assert read(app).schedules == {"nightly": 100.0}


def test_two_workers_of_one_name(app, live):
    live("w@here")
    live("w@here")
    live("other@here")
    [found] = findings(app)
    assert (found.kind, found.status) == ("one name", "warning")
    assert "several workers are called 'w@here'" in found.detail


def test_a_dead_worker_takes_nothing(app, live):
    me = identity.me("liteq@here")
    app.storage.register_worker(replace(me, started="0"), b'{"queues": ["celery"]}')
    app.tasks["shop.add"].delay(1, 2)
    if identity.boot_id():  # the kernel tells
        assert kinds(app) == {"no worker": "warning"}


def test_many_messages_cost_index_look_ups(app, live):
    """No statement of the backlog scans: each searches an index, or counts no further than it must."""
    from liteq.storage.reading import backlog

    app.storage.migrate()
    params = {"queue": "celery", "priority": 1, "limit": 5, "now_ms": 0}
    for sql in (backlog.NEXT_PRIORITY, backlog.OLDEST, backlog.WAITING, backlog.TASKS, backlog.LATE, backlog.DEAD):
        with app.storage.driver.read() as tx:
            plan = [row[3] for row in tx.execute("EXPLAIN QUERY PLAN " + sql, params)]
        assert all("INDEX liteq_messages_" in step for step in plan if "liteq_messages" in step), plan
        assert not any("TEMP B-TREE FOR ORDER" in step for step in plan), plan
    with app.storage.driver.read() as tx:
        plan = [row[3] for row in tx.execute("EXPLAIN QUERY PLAN " + backlog.NEXT_QUEUE, ("",))]
    assert all("INDEX liteq_messages_ready" in step for step in plan if "liteq_messages" in step), plan


def test_more_than_can_be_counted_are_said_so(app, live):
    for _ in range(COUNTED + 5):
        app.tasks["shop.add"].delay(1, 2)
    live(queues=["other"])
    assert f"{COUNTED:,} or more messages wait" in findings(app)[0].detail


# -- the documents of status routes ----------------------------------------------------------------------------------


def test_the_health_of_stuck_work(app, live):
    live(queues=["other"])
    app.tasks["shop.add"].delay(1, 2)
    assert documents.health(app).document["status"] == "warning"
    app.clock.advance(seconds=61)
    live(queues=["other"])
    stuck = documents.health(app)
    assert (stuck.code, stuck.document["status"]) == (200, "stuck")
    assert "no worker takes from it" in stuck.document["warnings"][0]
    assert documents.health(app, None, "1").code == 503
    assert documents.health(app, None, "0").code == 200


def test_the_status_tells_what_is_wrong(app, live):
    live()
    assert documents.status(app).document["status"] == "ok"
    app.tasks["shop.add"].apply_async((1, 2), queue="mail")
    found = documents.status(app).document
    assert found["status"] == "warning"
    assert found["findings"][0]["kind"] == "idle queue"
    assert found["warnings"] == [found["findings"][0]["detail"]]


# -- runs of workflows -----------------------------------------------------------------------------------------------


def flow_of(app: LiteQ, code: str) -> Any:
    @app.workflow(name="shop.flow")
    def flow() -> None:
        ctx.wait_event(code)

    return flow


def test_a_stuck_run_is_an_error_and_one_that_waits_or_is_paused_is_none(app, live):
    live()
    flow = flow_of(app, "go")
    waits, stuck, paused = (flow.options(id=id_).start() for id_ in ("waits", "stuck", "paused"))
    drain(app)
    paused.pause()
    assert kinds(app) == {}
    flow_of(app, "gone")
    stuck.send("go")
    drain(app)
    assert (waits.status, stuck.status, paused.status) == ("waiting", "stuck", "paused")
    assert kinds(app) == {"stuck runs": "error"}
    (finding,) = findings(app)
    assert "1 run is stuck, the newest shop.flow stuck: NonDeterminism: at shop.flow[stuck] call 1" in finding.detail
    assert "`liteq workflow list --status stuck`" in finding.detail
    assert documents.health(app, None, "1").code == 503
