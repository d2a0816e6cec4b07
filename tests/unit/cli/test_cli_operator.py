"""The commands of people who look after a queue: stuck work, schedules, questions before deletions, pidfiles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from liteq.cli.processes import daemon
from liteq.storage.sqlite.disk.log_check import check_log

SCHEDULED = """

@app.task(bind=True)
def halfway(self):
    self.update_state(state="PROGRESS", meta={"done": 5, "of": 10})
    raise self.retry(countdown=60)

app.conf.beat_schedule = {
    "nightly": {"task": "shop.add", "schedule": 3600.0, "args": (1, 2)},
    "often": {"task": "shop.add", "schedule": 30.0, "args": (1, 2)},
}
"""


@pytest.fixture
def shop(liteq, project) -> Callable[..., object]:
    with (project / "shop.py").open("a") as module:
        module.write(SCHEDULED)
    return lambda *args, **options: liteq("-A", "shop", *args, **options)


@pytest.fixture
def call(shop) -> Callable[..., str]:
    return lambda task, args="[]": shop("call", task, "-a", args).out.strip()


@pytest.fixture
def scheduled(shop) -> Callable[..., object]:
    """The command, on a file to which beat has written the schedules."""
    from liteq.beat import Beat

    shop("migrate")
    import shop as module

    Beat(module.app).start()
    return shop


# -- schedules -------------------------------------------------------------------------------------------------------


def test_schedules_are_listed(scheduled):
    listed = scheduled("schedules", "list").out.splitlines()
    assert listed[0].split("\t") == ["name", "task", "schedule", "next", "last", "runs"]
    assert [line.split("\t")[:3] for line in listed[1:]] == [
        ["nightly", "shop.add", "every 3600 s"], ["often", "shop.add", "every 30 s"]
    ]  # fmt: skip
    first = scheduled("schedules", "list", "--json").json[0]
    assert (first["name"], first["owner"], first["enabled"], first["runs"]) == ("nightly", "shop", True, 0)


def test_a_schedule_is_paused_and_resumed(scheduled):
    assert scheduled("schedules", "pause", "often").out == "1 schedule paused: often\n"
    assert "paused" in scheduled("schedules", "list").out
    assert scheduled("schedules", "next", "often", "--json").json == {"name": "often", "enabled": False, "next": []}
    assert scheduled("schedules", "resume", "often", "--json").json == {"resumed": ["often"]}
    assert len(scheduled("schedules", "next", "often", "-n", "3").out.splitlines()) == 3


def test_a_misspelt_schedule_changes_none(scheduled):
    done = scheduled("schedules", "pause", "often", "nihgtly")
    assert done.code == 2
    assert "nearest: 'nightly'" in done.err
    assert all(one["enabled"] for one in scheduled("schedules", "list", "-j").json)


def test_a_schedule_is_run_out_of_turn(scheduled, work):
    before = scheduled("schedules", "next", "nightly", "-n", "1").out
    id_ = scheduled("schedules", "run", "nightly").out.strip()
    assert work() == 1
    assert scheduled("result", id_).out == "3\n"
    assert scheduled("schedules", "next", "nightly", "-n", "1").out == before


def test_what_is_done_to_a_schedule_is_in_the_audit(scheduled):
    scheduled("schedules", "pause", "often")
    scheduled("schedules", "run", "often")
    told = [(one["action"], one["target"], one["source"]) for one in scheduled("activity", "--json").json]
    assert told == [("schedule run", "often", "cli"), ("schedule pause", "often", "cli")]


def test_no_schedules(shop):
    shop("migrate")
    assert "`liteq beat` writes those of beat_schedule there" in shop("schedules", "list").err


# -- questions -------------------------------------------------------------------------------------------------------


def test_dropping_all_dead_letters_asks(shop, call, work):
    id_ = call("shop.broken", "[7]")
    work()
    for chosen in (["--all"], ["--task", "shop.broken"], ["-Q", "celery"]):
        done = shop("dead", "drop", *chosen)
        assert (done.code, "add --yes" in done.err) == (2, True)
    assert len(shop("dead", "list", "--json").json) == 1
    assert shop("dead", "drop", "--all", "--yes", "--json").json == {"dropped": 1}
    assert id_


def test_dropping_one_by_its_id_does_not_ask(shop, call, work):
    id_ = call("shop.broken", "[7]")
    work()
    done = shop("dead", "drop", id_, id_, "--json")
    assert (done.code, done.json) == (0, {"dropped": 1}), "named twice, it is one"


def test_a_worker_asks_before_it_purges(shop, call):
    call("shop.add", "[1, 2]")
    done = shop("worker", "--purge")
    assert (done.code, "add --yes" in done.err) == (2, True)
    assert shop("inspect", "queues", "--json").json == {"celery": {"pending": 1}}


def test_purge_takes_yes_too(shop, call):
    call("shop.add", "[1, 2]")
    assert shop("purge", "--yes", "--json").json["purged"] == 1


# -- looking ---------------------------------------------------------------------------------------------------------


def test_messages_come_in_the_order_in_which_they_are_claimed_in_pages(shop, call):
    ids = [call("shop.add", f"[{n}, 0]") for n in range(5)]
    first = shop("inspect", "messages", "--limit", "2")
    assert [line.split("\t")[0] for line in first.out.splitlines()[1:]] == [ids[0], ids[1]]
    assert f"--after {ids[1]} shows the next page" in first.err
    following = shop("inspect", "messages", "--limit", "2", "--after", ids[1], "--json").json
    assert [one["id"] for one in following] == ids[2:4]
    wrong = shop("inspect", "messages", "--after", "nothing")
    assert (wrong.code, "no message of this list has the id 'nothing'" in wrong.err) == (2, True)
    last = shop("inspect", "messages", "--limit", "2", "--offset", "4", "--json").json
    assert [one["id"] for one in last] == [ids[4]]
    assert shop("inspect", "messages", "--task", "shop.ad", "--json").json == []


def test_no_worker_is_said(shop):
    shop("migrate")
    done = shop("inspect", "workers")
    assert done.code == 69
    assert done.out.startswith("No worker lives on ")
    assert done.out.rstrip().endswith("shop.db.")
    assert shop("inspect", "workers", "--json").json == []


def test_a_result_shows_progress(shop, call, work):
    id_ = call("shop.halfway")
    work()
    import shop as module

    module.app.backend.store_result(id_, {"done": 5, "of": 10}, "PROGRESS")
    done = shop("result", id_)
    assert (done.code, done.out) == (75, 'PROGRESS {"done":5,"of":10}\n')
    assert shop("result", id_, "--json").json["progress"] == {"done": 5, "of": 10}


def test_status_and_doctor_tell_of_stuck_work(shop, call, work):
    call("shop.broken", "[7]")
    work()
    call("shop.add", "[1, 2]")
    assert "and no worker lives: start one with `liteq worker`" in shop("status").err
    assert "dead letter" not in shop("status", "-q").err
    checks = {one["name"]: one["status"] for one in shop("doctor", "--json").json["checks"]}
    assert (checks["no worker"], checks["dead letters"]) == ("warning", "warning")


def test_events_say_how_to_switch_them_on(shop, monkeypatch):
    from liteq.cli.watching import events

    shop("migrate")
    monkeypatch.setattr(events, "_dump", lambda _session: None)
    assert "start one with -E" in shop("events", "--dump").err


def test_the_doctor_reads_the_log_too(shop, call, project, liteq):
    for _ in range(30):
        call("shop.add", "[1, 2]")
    for suffix in ("", "-wal"):
        shutil.copy(project / f"shop.db{suffix}", project / f"copy.db{suffix}")
    log = project / "copy.db-wal"
    page, frames = int.from_bytes(log.read_bytes()[8:12]), check_log(str(log)).frames
    with log.open("r+b") as file:
        file.seek(32 + (24 + page) * (frames * 3 // 4) + 100)  # in a frame behind the schema, which is in the log too
        file.write(b"\xff" * 8)
    done = liteq("-b", "sqlite:///copy.db", "doctor", "--json")
    (found,) = [one for one in done.json["checks"] if one["name"] == "integrity"]
    assert (done.code, found["status"]) == (1, "error")
    assert f"frame {frames * 3 // 4 + 1} is damaged, and what was committed behind it is lost" in found["detail"]
    assert shop("doctor", "--json").json["ok"]


# -- pidfiles, reload ------------------------------------------------------------------------------------------------


def test_a_pidfile_with_a_number_that_no_process_can_have(tmp_path: Path):
    path = tmp_path / "worker.pid"
    path.write_text("9" * 40)
    assert daemon.holder(path) is None
    daemon.claim_pidfile(path)
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_pidfile_of_a_living_program_says_how_to_go_on(tmp_path: Path, capsys, monkeypatch):
    path = tmp_path / "worker.pid"
    path.write_text(str(os.getppid()))
    monkeypatch.setattr(daemon, "_has_open", lambda _pid, _path: True)
    with pytest.raises(SystemExit):
        daemon.claim_pidfile(path)
    said = capsys.readouterr().err
    assert f"kill {os.getppid()}" in said
    assert f"delete {path}" in said


def test_reload_is_for_the_foreground(shop):
    assert "--detach" in shop("worker", "--reload", "--detach").err
