"""Schedules, workers and the file as documents for people: liteq.monitor."""

from __future__ import annotations

import itertools
import os

import pytest

from liteq import LiteQ
from liteq.clock import FakeClock
from liteq.context.identity import boot_id, start_time
from liteq.message import WorkerIdentity, new_id
from liteq.monitor.access.sight import Sight
from liteq.monitor.file import file
from liteq.monitor.schedules import queue_of_call, schedule, schedules
from liteq.monitor.workers import worker, workers
from liteq.schedules import crontab
from liteq.testing import drain

MAIL = Sight(("mail*",))


@pytest.fixture
def app(tmp_path):
    app = LiteQ("people", broker=f"sqlite:///{tmp_path / 'q.db'}", clock=FakeClock())
    app.conf.task_routes = {"write": {"queue": "mail"}}
    app.task(name="write", sensitive=["to"])(lambda to, subject="": subject)
    app.task(name="count")(lambda n=0: n)
    return app


def beat(app):
    """Send what is due, as a beat does."""
    from liteq.beat import Beat

    Beat(app).tick()


# -- schedules


def test_a_schedule_tells_its_next_times_in_ms(app):
    app.schedules.add("hourly", 3600, "write", ["ann"])
    found = schedule(app, "hourly")
    now_ms = app.clock.now_ms()
    assert [ms - now_ms for ms in found["times"]] == [3_600_000 * n for n in range(1, 6)]
    assert (found["schedule"], found["queue"], found["enabled"], found["runs"]) == ("every 3600 s", "mail", True, [])


def test_its_last_runs_are_found_by_the_ids_that_beat_gives(app):
    app.schedules.add("often", 60, "count", [1])
    for _ in range(3):
        app.clock.advance(seconds=60)
        beat(app)
    drain(app, ["celery"])
    runs = schedule(app, "often")["runs"]
    assert [run["state"] for run in runs] == ["succeeded"] * 3
    assert [b["at"] - a["at"] for a, b in itertools.pairwise(runs)] == [60_000, 60_000]


def test_one_that_is_overdue_is_late(app):
    app.schedules.add("often", 60, "count", [1])
    app.clock.advance(seconds=90)
    assert schedule(app, "often")["late_s"] == pytest.approx(30)


def test_one_that_is_paused_has_no_next_time(app):
    app.schedules.add("often", 60, "count", [1])
    app.schedules.pause("often")
    found = schedule(app, "often")
    assert (found["enabled"], found["next"], found["times"], found["late_s"]) == (False, None, [], None)


def test_a_run_out_of_turn_is_among_the_last_ones(app):
    app.schedules.add("yearly", crontab(minute=0, hour=0, day_of_month=1, month_of_year=1), "count", [1])
    id_ = app.schedules.run_now("yearly").id
    assert [run["id"] for run in schedule(app, "yearly")["runs"]] == [id_]


def test_sensitive_arguments_of_a_schedule_are_hidden(app):
    app.schedules.add("letters", 60, "write", ["ann@example.org"], {"subject": "hello"})
    found = schedule(app, "letters")
    assert (found["args"], found["kwargs"]) == (["***"], {"subject": "hello"})
    assert "args" not in schedule(app, "letters", Sight(payloads=False))


def test_a_viewer_of_one_queue_sees_its_schedules_alone(app):
    app.schedules.add("letters", 60, "write", ["ann"])
    app.schedules.add("numbers", 60, "count", [1])
    app.schedules.add("both", 60, app.tasks["write"].si("ann") | app.tasks["count"].si(1))
    assert [one["name"] for one in schedules(app, MAIL)["items"]] == ["letters"]
    assert schedule(app, "numbers", MAIL) is None
    assert schedule(app, "both", MAIL) is None  # a canvas may go to any queue
    assert len(schedules(app)["items"]) == 3


def test_only_the_first_schedules_of_a_long_list_have_their_runs(app):
    for n in range(42):
        app.schedules.add(f"{n:03}", 60, "count", [n])
    found = schedules(app)
    assert [one["runs"] is None for one in found["items"]] == [False] * 40 + [True] * 2
    assert "40" in found["note"]


def test_the_queue_of_a_call_is_that_of_its_route(app):
    assert queue_of_call(app, "write") == "mail"
    assert queue_of_call(app, "count") == app.conf.task_default_queue
    assert queue_of_call(app, "count", {"queue": "other"}) == "other"


def test_the_queue_that_a_task_declares_is_that_of_its_schedule(app):
    app.task(name="print", queue="paper")(lambda: None)
    app.schedules.add("prints", 60, "print")
    assert schedule(app, "prints")["queue"] == "paper"
    assert schedule(app, "prints", Sight(("celery",))) is None
    assert schedule(app, "prints", Sight(("paper",))) is not None


def test_a_route_that_looks_at_the_arguments_gets_those_of_the_schedule(tmp_path):
    def by_tenant(name, args, kwargs, options, task=None, **_more):
        return {"queue": f"of-{kwargs['tenant']}"}

    app = LiteQ("people", broker=f"sqlite:///{tmp_path / 'q.db'}", task_routes=by_tenant)
    app.task(name="bill")(lambda tenant="": None)
    app.schedules.add("bills", 60, "bill", kwargs={"tenant": "acme"})
    app.schedules.add("wrong", 60, "bill")
    assert {one["name"]: one["queue"] for one in schedules(app)["items"]} == {"bills": "of-acme", "wrong": None}
    assert [one["name"] for one in schedules(app, Sight(("*",)))["items"]] == ["bills"]


# -- workers


def enter(app, name, queues, *, pid=None):
    me = WorkerIdentity(new_id(), name, "here", "", os.getpid() if pid is None else pid, "")
    info = str(
        {"queues": queues, "weights": {"mail": 3, "celery": 2}, "concurrency": 4, "tasks": ["write"], "pids": [1]}
    ).replace("'", '"')
    return app.storage.register_worker(me, info.encode())


def test_a_worker_whose_heartbeat_is_late_is_silent(app):
    enter(app, "old", ["mail"])
    app.clock.advance(seconds=3600)
    enter(app, "new", ["mail"])
    found = {one["name"]: one["state"] for one in workers(app)["items"]}
    assert found == {"old": "silent", "new": "up"}


def test_a_viewer_of_one_queue_sees_its_workers_without_their_other_work(app):
    enter(app, "w1", ["mail", "celery"])
    enter(app, "w2", ["celery"])
    (found,) = workers(app, MAIL)["items"]
    assert (found["name"], found["queues"], found["busy"]) == ("w1", ["mail"], None)
    assert found["weights"] == {"mail": 3}
    alone = worker(app, "w1", MAIL)
    assert (alone["tasks"], alone["facts"]) == (None, {})
    assert worker(app, "w2", MAIL) is None
    assert worker(app, "w1")["tasks"] == ["write"]


@pytest.mark.skipif(not boot_id(), reason="the kernel does not tell which boot a process is of")
def test_the_memory_of_children_is_told_of_this_machine_alone(app):
    info = f'{{"queues": ["mail"], "pids": [{os.getpid()}, 999999999]}}'.encode()
    for name, boot in (("here", boot_id()), ("there", "another")):
        app.storage.register_worker(
            WorkerIdentity(new_id(), name, name, boot, os.getpid(), start_time(os.getpid())), info
        )
    found = {one["name"]: one["memory"] for one in workers(app)["items"]}
    assert found["here"] > 1_000_000
    assert found["there"] is None


# -- the file


def test_the_file_tells_its_size_without_reading_all_of_it(app):
    app.tasks["count"].delay(1)
    app.conf.pickle_key = "a secret of some length"
    found = file(app)
    assert found["size"] >= 0
    assert found["wal"] > 0
    assert found["disk_free"] > 0
    (integrity,) = [one for one in found["checks"] if one["name"] == "integrity"]
    assert "liteq doctor" in integrity["detail"]
    assert "a secret of some length" not in str(found)


def test_the_integrity_is_doctors(app):
    driver = app.storage.driver
    assert driver.describe(whole=False)["integrity"] is None
    assert driver.describe()["integrity"] == "ok"


@pytest.mark.parametrize(
    ("queues", "glob", "within"),
    [
        (("*",), "mail*", True),
        (("mail*",), "mail.?", True),
        (("mail*",), "mail*", True),
        (("mail?",), "mail?", True),
        (("mail",), "mail*", False),
        (("mail*",), "ma*", False),
        (("?ail",), "*ail", False),
        (("[m]ail*",), "mail*", False),
    ],
)
def test_a_glob_is_within_a_viewers_queues_where_all_that_fits_it_is(queues, glob, within):
    assert Sight(queues).covers(glob) is within
