"""The commands on one queue: what they print, their JSON, their exit codes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime

import pytest

from liteq.storage.sqlite.migrate import migrations


@pytest.fixture
def call(liteq):
    """Send a task; its id."""

    def send(name, args="[]", *more):
        done = liteq("-A", "shop", "call", name, "-a", args, *more)
        assert done.code == 0, done.err
        return done.out.strip()

    return send


@pytest.fixture
def shop(liteq):
    """`liteq -A shop ...`"""
    return lambda *args, **options: liteq("-A", "shop", *args, **options)


# -- call and result ------------------------------------------------------------------------------------------------


def test_a_task_is_sent_and_its_result_read(shop, call, work):
    id_ = call("shop.add", "[2, 3]")
    assert (shop("result", id_).out, shop("result", id_).code) == ("PENDING\n", 75)
    work()
    assert (shop("result", id_).out, shop("result", id_).code) == ("5\n", 0)
    found = shop("result", id_, "--json").json
    assert found | {"date_done": None} == {
        "id": id_, "task": "shop.add", "state": "SUCCESS", "result": 5, "progress": None, "error": None,
        "traceback": None,
        "date_done": None,
    }  # fmt: skip
    assert datetime.fromisoformat(found["date_done"])


def test_named_arguments_and_options(shop, call):
    call("shop.add", "[1]", "-k", '{"y": 2}', "--queue", "sums", "--priority", "7", "--countdown", "60")
    call("shop.add", "[1, 1]", "--eta", "2100-01-01T00:00:00", "--expires", "2101-01-01T00:00:00")
    by_priority, by_eta = shop("inspect", "messages", "--state", "scheduled", "--json", "--args").json
    assert (by_priority["queue"], by_priority["priority"], by_priority["kwargs"]) == ("sums", 7, {"y": 2})
    assert (by_eta["due"], by_eta["expires"]) == ("2100-01-01T00:00:00.000+00:00", "2101-01-01T00:00:00.000+00:00")


def test_a_number_of_many_digits_is_sent_as_it_is_written(shop, call, work):
    id_ = call("shop.add", f"[{10**30}, 1]")
    again = shop("act", "resend", id_, "--args", f"[{10**30}, 2]", "--json").json
    work()
    assert [shop("result", one).out for one in (id_, again[0]["id"])] == [f'"{10**30 + 1}"\n', f'"{10**30 + 2}"\n']


def test_without_an_app_any_name_may_be_sent(liteq):
    assert liteq("-b", "sqlite:///shop.db", "call", "elsewhere.task").code == 0


def test_a_failure_is_told(shop, call, work):
    id_ = call("shop.broken", '["7"]')
    work()
    done = shop("result", id_)
    assert (done.code, done.out) == (1, "FAILURE: ValueError: no such order: 7\n")
    assert "shop.py" in shop("result", id_, "--traceback").out
    assert shop("result", id_, "--json").json["error"] == {"type": "ValueError", "message": "no such order: 7"}


def test_an_unknown_id(shop, call):
    call("shop.add", "[1, 2]")
    done = shop("result", "nobody-sent-this")
    assert done.code == 1
    assert "no such message 'nobody-sent-this'" in done.err


def test_waiting_ends_when_told(shop, call):
    id_ = call("shop.add", "[1, 2]")
    assert shop("result", id_, "--wait", "--timeout", "0.05").code == 75


# -- purge ----------------------------------------------------------------------------------------------------------


def test_purge_asks_a_person_and_nobody_else(shop, call):
    call("shop.add", "[1, 2]")
    refused = shop("purge")
    assert refused.code == 2
    assert "--force" in refused.err
    assert shop("purge", "-f").out == "Purged 1 message from 1 queue.\n"


def test_purge_chooses_queues(shop, call):
    for queue in ("a", "b", "c"):
        call("shop.add", "[1, 2]", "--queue", queue)
    assert shop("purge", "-f", "-Q", "a", "--json").json == {"purged": 1, "queues": ["a"]}
    assert shop("purge", "-f", "-X", "b", "--json").json["purged"] == 1
    assert shop("inspect", "queues", "--json").json == {"b": {"pending": 1}}


# -- dead letters ---------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_shown_replayed_dropped(shop, call, work):
    one, two = call("shop.broken", "[1]"), call("shop.broken", "[2]", "--queue", "other")
    assert work() == 2
    listed = shop("dead", "list", "--json").json
    assert {letter["id"] for letter in listed} == {one, two}
    assert "args" not in listed[0]
    assert [letter["id"] for letter in shop("dead", "list", "-Q", "other", "-j").json] == [two]
    assert "no dead letter fits" in shop("dead", "list", "-Q", "empty").err
    shown = shop("dead", "show", one, "--json").json
    assert (shown["args"], shown["kwargs"]) == ([1], {})
    assert "ValueError" in shown["traceback"]

    assert shop("dead", "requeue", one, "--json").json == {"requeued": [one], "replayed": [one], "refused": []}
    assert shop("dead", "replay", one).code == 1
    work()
    assert shop("dead", "replay", "--task", "shop.broken", "--json").json["replayed"] == [two, one]
    work()
    assert shop("dead", "drop", "--all", "--yes", "--json").json == {"dropped": 2}
    assert shop("dead", "list", "--json").json == []


@pytest.mark.parametrize("command", [("replay",), ("drop",), ("drop", "an-id", "--all")])
def test_which_dead_letters_has_to_be_said(shop, call, command):
    call("shop.add", "[1, 2]")
    assert shop("dead", *command).code == 2


def test_what_tasks_say_does_not_drive_the_terminal(shop, call, work):
    id_ = call("shop.broken", '["\\u001b[31mred\\r"]')
    work()
    written = shop("dead", "list").out + shop("dead", "show", id_).out + shop("result", id_, "--traceback").out
    assert "\\x1b[31mred" in written
    assert not {"\x1b", "\r"} & set(written)


# -- looking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("status",), ("inspect", "ping"), ("inspect", "stats"), ("inspect", "workers")])
def test_without_a_worker_the_code_is_69(shop, call, command):
    call("shop.add", "[1, 2]")
    assert shop(*command).code == 69


def test_arguments_are_shown_only_when_asked_for(shop, call):
    call("shop.broken", '["open sesame"]')
    assert "sesame" not in shop("inspect", "messages").out + shop("inspect", "messages", "--json").out
    assert "sesame" in shop("inspect", "messages", "--args").out


def test_into_a_pipe_a_row_is_a_line_and_a_cell_ends_at_a_tab(shop, call):
    id_ = call("shop.add", "[1, 2]")
    head, row = shop("inspect", "messages").out.splitlines()
    assert dict(zip(head.split("\t"), row.split("\t"), strict=True))["id"] == id_


def test_inspect_lists_its_subjects(liteq):
    assert {"queues", "active", "reserved", "scheduled", "registered", "stats", "ping"} <= {
        line.split()[0] for line in liteq("inspect", "--list").out.splitlines()
    }


def test_messages_by_id_and_by_state(shop, call, work):
    id_ = call("shop.add", "[1, 2]")
    assert shop("inspect", "messages", id_, "--json").json[0]["state"] == "pending"
    assert shop("inspect", "messages", id_, "another").code == 1
    work()
    assert [m["id"] for m in shop("inspect", "messages", "--state", "succeeded", "--json").json] == [id_]
    assert shop("inspect", "messages", "--state", "leased", "--json").json == []


@pytest.mark.parametrize("subject", "registered conf report reserved clock active scheduled revoked".split())
def test_what_only_workers_know_is_69_without_one(shop, subject):
    shop("call", "shop.add", "-a", "[1, 2]")
    assert shop("inspect", subject).code == 69


def test_control_without_a_worker(shop):
    id_ = shop("call", "shop.add", "-a", "[1, 2]").out.strip()
    assert shop("control", "pool_grow", "2").code == 69
    assert shop("control", "revoke", id_).code == 0
    assert shop("result", id_).code == 1
    assert shop("control", "revoke").code == shop("control", "pool_grow", "many").code == 2
    assert shop("control", "rate_limit", "shop.add").code == shop("control", "no_such").code == 2
    assert shop("control", "global_rate_limit", "shop.add", "10/m").code == 0
    assert shop("control", "global_rate_limit", "shop.add", "often").code == 2
    assert "shutdown" in shop("control", "--list").out


def test_looking_makes_no_file(shop, project):
    for command in (["status"], ["inspect", "queues"], ["dead", "list"], ["purge", "-f"], ["result", "x"], ["doctor"]):
        done = shop(*command)
        assert done.code == 69
        assert "there is no file" in done.err
    assert not (project / "shop.db").exists()


# -- the file -------------------------------------------------------------------------------------------------------


def test_migrate_makes_the_file(shop, project):
    assert shop("migrate", "--json").json == {"version": max(migrations()), "path": str(project / "shop.db")}


def test_a_backup_is_whole_and_never_overwrites(shop, call, project):
    call("shop.add", "[1, 2]")
    assert shop("backup", "copy.db", "--json").json["path"] == str(project / "copy.db")
    copy = sqlite3.connect(project / "copy.db")
    assert copy.execute("SELECT count(*) FROM liteq_messages").fetchone() == (1,)
    copy.close()
    assert shop("backup", "copy.db").code == 73
    assert shop("backup", "nowhere/copy.db").code == 73


def test_a_backup_is_put_back_and_what_was_there_is_kept(shop, call, project):
    call("shop.add", "[1, 2]")
    assert shop("backup", "copy.db").code == 0
    call("shop.add", "[3, 4]")
    told = shop("restore", "copy.db", "--json").json
    assert told["path"] == str(project / "shop.db")
    count = "SELECT count(*) FROM liteq_messages"
    for path, rows in ((project / "shop.db", 1), (told["kept"], 2)):
        with closing(sqlite3.connect(path)) as file:
            assert file.execute(count).fetchone() == (rows,)
    refused = shop("restore", "nowhere.db")
    assert (refused.code, "is not there" in refused.err) == (69, True)


def test_a_sound_file(shop, call):
    call("shop.add", "[1, 2]")
    found = shop("doctor", "--json")
    assert (found.code, found.json["ok"], found.json["storage"]["integrity"]) == (0, True, "ok")
    assert {check["name"]: check["status"] for check in found.json["checks"]}["known bugs"] == "ok"


def test_a_damaged_file(shop, call, project):
    for _ in range(50):
        call("shop.add", "[1, 2]")
    copy = sqlite3.connect(project / "shop.db")
    copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    page = copy.execute("SELECT rootpage FROM sqlite_master WHERE name = 'liteq_messages_ready'").fetchone()[0]
    size = copy.execute("PRAGMA page_size").fetchone()[0]
    copy.close()
    import shop as module

    module.app.close()
    with (project / "shop.db").open("r+b") as file:
        file.seek((page - 1) * size + size // 2)  # where its cells are
        file.write(b"\xff" * (size // 4))
    done = shop("doctor", "--json")
    assert done.code in {1, 65}
    assert "damaged" in done.out + done.err


def test_versions_and_report(shop, liteq):
    assert {"liteq", "python", "apsw"} <= liteq("version", "--json").json.keys()
    report = shop("report", "--json").json
    assert "shop.add" in report["tasks"]
    assert report["settings"]["broker_url"] == "'sqlite:///shop.db'"


# -- on a terminal --------------------------------------------------------------------------------------------------


def test_on_a_terminal_there_are_tables(shop, call, monkeypatch):
    from liteq.cli.parts.session import Session

    call("shop.add", "[1, 2]")
    monkeypatch.setattr(Session, "on_terminal", True)
    written = shop("inspect", "queues").out
    assert "\t" not in written
    assert "─" in written
    assert "celery" in written
