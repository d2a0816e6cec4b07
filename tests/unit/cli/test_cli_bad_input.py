"""Each mistake that a user can make: one clear line, the right code, nothing written."""

from __future__ import annotations

import os
import sqlite3

import pytest


def refused(done, code, *says):
    """It is one line on stderr."""
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("liteq: error: ")
    assert done.err.count("\n") == 1
    assert all(text in done.err for text in says), done.err


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (("shop.ad",), 2, "'shop.add'"),
        (("shop.add", "-a", "[1, 2"), 2, "not JSON"),
        (("shop.add", "-a", '{"x": 1}'), 2, "not a JSON array"),
        (("shop.add", "-k", "[1]"), 2, "not a JSON object"),
        (("shop.add", "-a", "[1, 2, 3]"), 2, "shop.add()"),
        (("shop.add", "-a", "[1, 2]", "--eta", "soon"), 2, "is not a time"),
        (("shop.add", "-a", "[1, 2]", "--expires", "soon"), 2, "is not a span, as 90 or 2h, or a time"),
        (("shop.add", "-a", "[1, 2]", "--timeout", "5s"), 2, "--timeout goes with --wait"),
        (("shop.broken", "-a", "[" * 101 + "]" * 101), 65, "100"),
        (("shop.broken", "-a", '["' + "x" * 1_100_000 + '"]'), 65, "max_payload_bytes"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_a_call_that_cannot_be(liteq, command, code, says):
    liteq("-A", "shop", "migrate")
    refused(liteq("-A", "shop", "call", *command), code, says)
    assert liteq("-A", "shop", "inspect", "queues", "--json").json == {}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://localhost", "write broker='sqlite:///tasks.db'"),
        ("sqlite://tasks.db", "names a host"),
        ("sqlite:///:memory:", "in memory"),
        ("tasks.db", "sqlite:///"),
        ("sqlite:///x.db?driver=other", "other"),
    ],
)
def test_a_url_that_is_none(liteq, project, url, says):
    refused(liteq("-b", url, "call", "x"), 78, says)
    assert sorted(path.name for path in project.iterdir()) == ["shop.py"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("worker", "-c", "many"), "'many' is not a whole number."),
        (("alert", "--every", "0"), "--every must be longer than 0: write 30s, 5m or 1h"),
        (("alert", "--every", "soon"), "--every is a number with a unit"),
    ],
)
def test_an_option_that_is_no_number(liteq, command, says):
    refused(liteq("-A", "shop", *command), 2, says)


def test_a_folder_as_the_file(liteq, project):
    (project / "folder").mkdir()
    refused(liteq("-b", "sqlite:///folder", "call", "x"), 69, "is a folder")


def test_a_file_in_no_folder(liteq):
    refused(liteq("-b", "sqlite:///nowhere/x.db", "call", "x"), 69, "does not exist")


def test_a_file_that_is_no_database(liteq, project):
    (project / "letter.txt").write_text("Dear reader, " * 500)
    refused(liteq("-b", "sqlite:///letter.txt", "call", "x"), 65, "is not a SQLite database")
    assert (project / "letter.txt").read_text() == "Dear reader, " * 500


def test_a_file_of_a_newer_liteq(liteq, project):
    liteq("-b", "sqlite:///new.db", "migrate")
    newer = sqlite3.connect(project / "new.db")
    newer.execute("UPDATE liteq_meta SET value = 99 WHERE key IN ('version', 'min_reader', 'min_writer')")
    newer.execute("PRAGMA user_version = 99")
    newer.commit()
    newer.close()
    refused(liteq("-b", "sqlite:///new.db", "call", "x"), 78, "version 99", "upgrade")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to what is read-only")
def test_a_file_that_is_read_only(liteq, project):
    liteq("-b", "sqlite:///locked.db", "migrate")
    (project / "locked.db").chmod(0o400)
    refused(liteq("-b", "sqlite:///locked.db", "call", "x"), 69, "read-only")


def test_a_bad_setting_in_the_environment(liteq, project, monkeypatch):
    monkeypatch.setenv("LITEQ_DURABILITY", "fast")
    refused(liteq("-A", "shop", "call", "shop.add", "-a", "[1, 2]"), 78, "LITEQ_DURABILITY", "'fast'", "'durable'")
    assert not (project / "shop.db").exists()


def test_no_app_and_no_file(liteq):
    refused(liteq("status"), 78, "-A", "-b")


def test_a_missing_module(liteq):
    refused(liteq("-A", "shoppe", "status"), 78, "there is no module 'shoppe'")


def test_with_debug_the_traceback_is_there(liteq, monkeypatch):
    monkeypatch.setenv("LITEQ_DEBUG", "1")
    from liteq.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured):
        liteq("-A", "shoppe", "status")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-Q", "mail=0"), "NAME=WEIGHT"),
        (("-Q", "mail=often,celery"), "'mail=often'"),
        (("-Q", "mail", "-X", "m*"), "no queue is left to take from"),
        (("-Q", "mail=3,celery", "--strict"), "'mail=3': a weight has no effect"),
        (("-Q", "mail.*", "--purge", "--yes"), "name its queues one by one, in place of 'mail.*'"),
    ],
    ids=" ".join,
)
def test_queues_that_a_worker_cannot_take_from(liteq, options, says):
    liteq("-A", "shop", "migrate")
    refused(liteq("-A", "shop", "worker", "--pool", "solo", *options), 2, says)


@pytest.mark.parametrize(
    "command",
    [
        ("purge", "--force", "-Q", ""), ("purge", "--force", "-Q", ","), ("purge", "--force", "-X", ""),
        ("dead", "drop", "--yes", "-Q", "celery", "--task", ""), ("dead", "requeue", "--task", "shop.add", "-Q", ""),
        ("workflow", "cancel", "--yes", "--status", "queued", "--name", ""), ("memo", "clear", "--yes", ""),
        ("mcp", "--queues", ""), ("mcp", "--workflows", ""),
        ("worker", "--pool", "solo", "--purge", "--yes", "-Q", ""), ("worker", "--pool", "solo", "-X", ","),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_name_that_is_empty_does_not_mean_all(liteq, command):
    liteq("-A", "shop", "call", "shop.add", "-a", "[1, 2]")
    refused(liteq("-A", "shop", *command), 2, "there is no name in it")
    assert liteq("-A", "shop", "inspect", "queues", "--json").json == {"celery": {"pending": 1}}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("queues", "--task", "shop.add"), "--task: with `liteq inspect messages`, not with queues"),
        (("workers", "-Q", "mail"), "--queue: with `liteq inspect messages`"),
        (("active", "--state", "dead", "--where", "since:1h"), "--state, --where: with `liteq inspect messages`"),
        (("queues", "mail"), "takes no arguments, and 'mail' is one"),
        (("messages", "--state", "dead", "--where", "state:pending"), "give --state or state: in --where"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_filter_that_a_look_has_no_use_for(liteq, words, says):
    liteq("-A", "shop", "migrate")
    refused(liteq("-A", "shop", "inspect", *words), 2, says)
