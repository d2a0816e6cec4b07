"""The log of a task is kept in the file, and `liteq logs` shows it: while it runs, and after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.utils.names import LOG_STREAM

from .worker_process import HERE, Site, wait_for

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="uses the prefork pool")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, "kept_tasks")
    yield made
    made.close()


def send(site: Site, task: str, *args: object, **options: object) -> str:
    return str(site.app.send_task(f"kept_tasks.{task}", args=args, **options).id)


def finish(site: Site, task: str, *args: object, **options: object) -> str:
    """Send it; its id, once it has ended."""
    id_ = send(site, task, *args, **options)
    site.app.AsyncResult(id_).get(timeout=60, propagate=False)
    return id_


def liteq(site: Site, *args: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "WORKER_TEST_BROKER": site.broker,
        "WORKER_TEST_LEDGER": str(site.ledger),
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "liteq", "-A", "kept_tasks", *args], env=environment, cwd=site.folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def logs(site: Site, id_: str, *options: str) -> list[dict[str, object]]:
    out, err = liteq(site, "logs", id_, "--json", *options).communicate(timeout=60)
    assert "error" not in err, err
    return [json.loads(line) for line in out.splitlines()]


def messages(site: Site, id_: str, *options: str) -> list[str]:
    return [str(line["message"]) for line in logs(site, id_, *options)]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "asyncio"])
def test_what_a_task_logs_and_prints_is_kept(site, pool):
    site.worker("-P", pool, "-c", "1", "-n", "w1")
    id_ = finish(site, "speaks", "there")
    lines = logs(site, id_)
    assert [(one["level"], one["message"]) for one in lines[:3]] == [
        ("INFO", "hello there"), ("WARNING", "of a library"), ("WARNING", "printed"),
    ]  # fmt: skip
    assert str(lines[3]["message"]).startswith(f"Task kept_tasks.speaks[{id_}] succeeded")
    assert {(one["attempt"], str(one["worker"]).partition("@")[0]) for one in lines} == {(1, "w1")}


def test_coroutines_of_one_child_have_a_log_each(site):
    ids = {send(site, "aspeaks", n, log_keep="2h"): n for n in range(20)}
    site.worker("-P", "asyncio", "-c", "1")
    for id_, n in ids.items():
        site.app.AsyncResult(id_).get(timeout=60)
        chunks, _ = site.app.storage.streams.chunks(id_, LOG_STREAM)
        found = [json.loads(chunk.data)["message"] for chunk in chunks]
        assert found[:2] == [f"hello {n}", f"bye {n}"]
        assert len(found) == 3


def test_the_lines_of_a_retry_and_its_traceback_are_told_apart(site):
    site.worker("-c", "1")
    lines = logs(site, finish(site, "stumbles"))
    assert [(one["attempt"], one["message"]) for one in lines if one["level"] == "WARNING"] == [
        (1, "try 0"), (2, "try 1"),
    ]  # fmt: skip
    assert "ValueError: no good" in str(lines[-1]["exception"])
    out, _ = liteq(site, "logs", str(site.app.storage.views.page("all", limit=1)[0].id)).communicate(timeout=60)
    assert "-- attempt 2 --" in out


def test_lines_are_followed_as_they_come(site):
    site.worker("-c", "1")
    id_ = send(site, "talks")
    follower = liteq(site, "logs", id_, "-f")
    assert follower.stdout is not None
    for n in range(3):
        line = follower.stdout.readline()
        assert f"line {n}" in line
        (site.folder / f"read {n}").touch()
    rest, _ = follower.communicate(timeout=60)
    assert "succeeded" in rest
    assert follower.returncode == 0


def test_of_a_long_log_the_beginning_and_the_end_are_kept(site):
    site.worker("-c", "1", LITEQ_TASK_LOG_LINES="100")
    found = messages(site, finish(site, "floods", 10_000))
    assert found[:100] == [f"line {n}" for n in range(100)]
    assert found[100].startswith("... 9,851 lines are left out")
    assert found[101:-1] == [f"line {n}" for n in range(9_951, 10_000)]
    assert len(found) == 151


def test_a_long_log_is_bounded_in_bytes_too(site):
    site.worker("-c", "1", LITEQ_TASK_LOG_BYTES="2000")
    found = messages(site, finish(site, "floods", 1_000))
    assert 60 < len(found) < 90


def test_a_call_says_whether_its_log_is_kept(site):
    site.worker("-c", "1")
    assert messages(site, finish(site, "silent", "a", log_keep="2h"))[0] == "hello a"
    assert messages(site, finish(site, "silent", "b")) == []
    assert messages(site, finish(site, "speaks", "c", log_keep=0)) == []


def test_the_setting_keeps_the_log_of_each_task(site):
    site.worker("-c", "1", LITEQ_TASK_LOG_KEEP="3600")
    assert messages(site, finish(site, "silent", "a"))[0] == "hello a"


def test_each_message_of_a_batch_has_its_log(site):
    ids = [send(site, "together", n) for n in range(3)]
    site.worker("-c", "1")
    for id_ in ids:
        site.app.AsyncResult(id_).get(timeout=60)
        assert messages(site, id_)[0] == "3 at once"


def test_sensitive_arguments_are_not_in_the_kept_log(site):
    site.worker("-c", "1")
    id_ = finish(site, "logs_in", "ann", "hunter2secret")
    assert "ann" in str(logs(site, id_))
    chunks, _ = site.app.storage.streams.chunks(id_, LOG_STREAM)
    assert chunks
    assert not any(b"hunter2secret" in chunk.data for chunk in chunks)


def test_a_task_has_no_stream_of_the_name_of_its_log(site):
    from liteq import LiteQ

    app = LiteQ("own", broker=site.broker, task_always_eager=True)

    @app.task(bind=True)
    def emits(self):
        self.emit(LOG_STREAM, 1)

    with pytest.raises(ValueError, match="the task's log"):
        emits.apply(throw=True)


def test_a_message_without_lines_says_why(site):
    id_ = send(site, "silent", "a")
    out, err = liteq(site, "logs", id_).communicate(timeout=60)
    assert (out, "it has not begun" in err) == ("", True)
    unknown = liteq(site, "logs", "nobody")
    unknown.communicate(timeout=60)
    assert unknown.returncode == 1


def test_the_last_lines_and_one_attempt_alone(site):
    site.worker("-c", "1")
    id_ = finish(site, "stumbles")
    assert len(messages(site, id_, "-n", "1")) == 1
    assert {line["attempt"] for line in logs(site, id_, "--attempt", "2")} == {2}
    assert logs(site, id_, "--attempt", "1", "-n", "1") == logs(site, id_, "--attempt", "1")[-1:]


def test_the_worker_log_is_pretty_or_json_with_what_a_task_is_bound_to(site):
    for form in ("pretty", "json"):
        worker = site.worker("-c", "1", "--log-format", form)
        finish(site, "silent", "a")
        n = len(site.workers) - 1
        wait_for(lambda: "hello a" in site.log(n).read_text())
        site.end(worker)
    pretty = next(line for line in site.log(0).read_text().splitlines() if "hello a" in line)
    assert "[warning ] hello a" in pretty
    assert "task=kept_tasks.silent task_id=" in pretty
    assert "queue=celery" in pretty
    lines = [json.loads(line) for line in site.log(1).read_text().splitlines()]
    said = next(line for line in lines if line["message"] == "hello a")
    assert (said["task"], said["queue"], said["attempt"]) == ("kept_tasks.silent", "celery", 1)
