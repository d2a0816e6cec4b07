"""Tasks that go on at their cursor, with real workers: after a warm stop, a crash and a retry."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.states import State

from .worker_process import Site, wait_for

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="uses the prefork pool")
POOLS = {
    "prefork": ("-P", "prefork"),
    "forkserver": ("--pool-start-method", "forkserver"),
    "threads": ("-P", "threads"),
    "solo": ("-P", "solo"),
    "asyncio": ("-P", "asyncio"),
}
TOTAL = 300


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, "kept_tasks")
    yield made
    made.close()


def send(site: Site, task: str, *args: object, **options: object) -> str:
    return str(site.app.send_task(f"kept_tasks.{task}", args=args, **options).id)


def rows(site: Site) -> list[int]:
    return [int(line) for line in notes(site) if line.isdigit()]


def notes(site: Site) -> list[str]:
    return site.ledger.read_text().split("\n")[:-1] if site.ledger.exists() else []


def slowly(site: Site, on: bool) -> None:
    place = site.folder / "slowly"
    place.touch() if on else place.unlink()


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("task", ["export", "aexport"])
def test_a_warm_stop_leaves_a_task_at_its_cursor_and_it_goes_on_elsewhere(site, pool, task):
    """At the very row, each row once; no attempt is counted, and no except-clause for errors meets it."""
    slowly(site, True)
    first = site.worker(*POOLS[pool], "-c", "1")
    id_ = send(site, task, TOTAL)
    wait_for(lambda: len(rows(site)) > 10)
    assert site.end(first) == 0
    record = site.record(id_)
    assert (record.state, record.retries, record.crashes, record.reaps) == (State.PENDING, 0, 0, 0)
    assert len(rows(site)) < TOTAL
    slowly(site, False)
    site.worker(*POOLS[pool], "-c", "1")
    assert site.get(id_) == "done"
    assert rows(site) == list(range(TOTAL))
    assert "an error" not in notes(site)
    assert notes(site).count("left") == (2 if task == "export" else 0)
    assert "left at its cursor" in site.log().read_text()
    seq = site.app.storage.views.begins_with(id_)[0].seq
    assert site.app.storage.kept.cursor(seq) is None


def test_a_task_in_a_process_of_its_own_leaves_at_its_cursor(site):
    slowly(site, True)
    first = site.worker("-c", "1")
    id_ = send(site, "isolated", TOTAL)
    wait_for(lambda: len(rows(site)) > 10)
    assert site.end(first) == 0
    assert site.record(id_).crashes == 0
    slowly(site, False)
    site.worker("-c", "1")
    assert site.get(id_) == "done"
    assert rows(site) == list(range(TOTAL))


def test_a_task_that_was_stopped_often_counts_no_attempt(site):
    slowly(site, True)
    id_ = send(site, "export", 10_000)
    for _ in range(4):
        before = len(rows(site))
        worker = site.worker("-c", "1")
        wait_for(lambda: len(rows(site)) > before + 3)
        assert site.end(worker) == 0
    record = site.record(id_)
    assert (record.state, record.retries, record.crashes) == (State.PENDING, 0, 0)
    assert rows(site) == list(range(len(rows(site))))


def test_a_task_that_goes_on_after_its_latest_start_has_begun_before(site):
    slowly(site, True)
    first = site.worker("-c", "1")
    id_ = send(site, "export", 1_000, expires=600)
    wait_for(lambda: len(rows(site)) > 3)
    site.end(first)
    slowly(site, False)
    with site.app.storage.driver.write() as tx:
        tx.execute("UPDATE liteq_messages SET expires_ms = ? WHERE id = ?", (site.app.clock.now_ms() - 1, id_))
    site.worker("-c", "1")
    assert site.get(id_) == "done"


def test_a_crash_repeats_no_more_than_a_second_of_it(site):
    site.worker("-c", "1")
    assert site.get(send(site, "dies", 60)) == "done"
    assert sorted(set(rows(site))) == list(range(60))
    repeated = len(rows(site)) - 60
    assert repeated <= 22  # a row takes 50 ms


def test_a_retry_goes_on_behind_the_last_row(site):
    site.worker("-c", "1")
    assert site.get(send(site, "fails_once", 8)) == [4, 8]
    assert rows(site) == list(range(8))


def test_a_child_that_is_to_be_replaced_is_left_at_the_cursor_too(site):
    """A smaller pool, or another set of code: the task goes on in another child, at once."""
    slowly(site, True)
    worker = site.worker("-c", "2")
    id_ = send(site, "export", TOTAL)
    wait_for(lambda: len(rows(site)) > 3)
    (running,) = {
        one["worker_pid"] for found in site.app.control.inspect(timeout=60).active().values() for one in found
    }
    site.app.control.pool_restart(reply=True, timeout=60)
    wait_for(lambda: not os.path.exists(f"/proc/{running}"))
    slowly(site, False)
    assert site.get(id_) == "done"
    assert rows(site) == list(range(TOTAL))
    assert site.record(id_).crashes == 0
    assert site.end(worker, signal.SIGTERM) == 0
