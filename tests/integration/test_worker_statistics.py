"""The traces that real workers leave of their tasks in the file; and a pause reaches them while they wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.states import State

from .worker_process import Site, wait_for


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.close()


def counted(site: Site, task: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in site.app.storage.stats.totals():
        if row.task == f"worker_tasks.{task}":
            found[row.outcome] = found.get(row.outcome, 0) + row.tally.n
    return found


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_the_sums_are_exact_and_an_idle_worker_writes_them(site: Site, pool: str) -> None:
    worker = site.worker("-c", "2", "-P", pool)
    ids = site.send_many("add", [(n, 1) for n in range(300)])
    bad = site.send("never_works")
    for id_ in ids:
        site.get(id_)
    site.error(bad)
    wait_for(
        lambda: counted(site, "never_works").get("failed") and counted(site, "add").get("succeeded", 0) >= 300,
        what="the rest is written while the worker is idle",
    )
    assert counted(site, "add") == {"sent": 300, "succeeded": 300}
    assert counted(site, "never_works") == {"sent": 1, "retried": 2, "failed": 1}
    site.end(worker)
    assert counted(site, "add") == {"sent": 300, "succeeded": 300}


def test_a_worker_that_ends_writes_the_rest(site: Site) -> None:
    worker = site.worker("-c", "1")
    site.get(site.send("add", 1, 2))
    site.end(worker)
    assert counted(site, "add") == {"sent": 1, "succeeded": 1}


def test_a_worker_that_is_killed_loses_no_sums_of_before(site: Site) -> None:
    worker = site.worker("-c", "1")
    site.get(site.send("add", 1, 2))
    wait_for(lambda: counted(site, "add").get("succeeded"), what="the sums are in the file")
    ids = site.send_many("add", [(n, 1) for n in range(50)])
    site.get(ids[-1])
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    before = counted(site, "add")["succeeded"]
    assert 1 <= before <= 51
    site.worker("-c", "1")
    site.get(site.send("add", 1, 2))
    wait_for(lambda: counted(site, "add")["succeeded"] == before + 1, what="the next worker goes on from there")


def test_a_finished_row_says_how_long_it_ran_and_waited(site: Site) -> None:
    site.worker("-c", "1")
    site.get(site.send("nap", 0.4))
    id_ = site.send("nap", 0.2)
    site.get(id_)
    record = site.record(id_)
    assert record.started_ms is not None
    assert record.finished_ms is not None
    assert 190 <= record.finished_ms - record.started_ms < 60_000
    rows = wait_for(
        lambda: [row for row in site.app.storage.stats.totals() if row.outcome == "succeeded" and row.tally.n == 2]
    )
    assert 600_000 <= rows[0].tally.run_us < 60_000_000


def test_a_failure_is_grouped_by_the_code_of_the_app(site: Site) -> None:
    site.worker("-c", "2", LITEQ_RELEASE="v7")
    ids = [site.send("never_works") for _ in range(3)]
    for id_ in ids:
        site.error(id_)
    (cause,) = site.app.storage.causes.list()
    assert cause.frame.startswith("worker_tasks.py:")
    assert cause.frame.endswith(" never_works")
    assert (cause.exception, cause.release, cause.n) == ("ValueError", "v7", 9)
    assert {row[2] for row in site.app.storage.causes.tasks_of(cause.id)} == set(ids)
    assert [attempt.outcome for attempt in site.app.storage.attempts(ids[0])] == ["retried", "retried", "failed"]
    marks = wait_for(lambda: site.app.storage.audit.marks(0, 1 << 60), what="the release has a mark")
    assert [mark.label for mark in marks] == ["v7"]


def test_a_process_that_dies_is_an_attempt_with_its_time(site: Site) -> None:
    site.worker("-c", "1")
    id_ = site.send("die")
    site.error(id_)
    found = site.app.storage.attempts(id_)
    assert [one.outcome for one in found] == ["crashed"] * 3
    assert all(one.started_ms is not None and one.started_ms <= one.ended_ms for one in found)
    wait_for(lambda: counted(site, "die") == {"sent": 1, "crashed": 2, "failed": 1}, what="each crash is counted")


def test_a_minute_is_measured(site: Site) -> None:
    site.worker("-c", "1")
    wait_for(lambda: site.app.storage.stats.samples("file_bytes", 600), what="a worker has measured")
    assert site.app.storage.stats.samples("running", 600)


# -- pauses ------------------------------------------------------------------------------------------------------------


def test_a_pause_reaches_a_worker_that_waits(site: Site) -> None:
    site.worker("-c", "1")
    site.get(site.send("add", 1, 2))
    site.app.control.pause_queue("celery", reason="the database is moved", actor="ann")
    ids = site.send_many("add", [(n, 1) for n in range(20)])
    other = site.send("add", 1, 2, queue="other")
    site.worker("-c", "1", "-Q", "celery,other")
    assert site.get(other) == 3
    assert {site.state(id_) for id_ in ids} == {State.PENDING}
    assert site.app.control.resume_queue("celery")
    assert site.get(ids[-1]) == 20


def test_a_pause_ends_by_itself_in_a_worker_that_waits(site: Site) -> None:
    site.worker("-c", "1")
    pause = site.app.control.pause_queue("celery", 1.0)
    id_ = site.send("add", 1, 2)
    assert site.get(id_) == 3
    assert site.record(id_).started_ms >= pause.until.timestamp() * 1000
