"""The order and the place of execution: no task waits behind a long one; priorities, queues, times, retries."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from liteq.exceptions import TaskRevokedError
from liteq.states import State

from .engines import on_both_engines
from .worker_process import Site, wait_for


@pytest.fixture
def site(tmp_path: Path, broker: str) -> Iterator[Site]:
    site = Site(tmp_path, broker=broker)
    yield site
    site.close()


def test_short_tasks_do_not_wait_behind_a_long_one(site):
    site.worker("-c", "2")
    long = site.send("nap", 120)
    short = site.send_many("add", [(i, i) for i in range(50)])
    began = time.monotonic()
    assert [site.get(id_) for id_ in short] == [2 * i for i in range(50)]
    assert time.monotonic() - began < 60, "of the 120 s that the long one takes"
    assert site.state(long) is State.LEASED


def test_nor_behind_one_that_was_expected_to_be_short(site):
    """The estimate says microseconds, for all of them: the rest is taken from the child that got the long one."""
    site.worker("-c", "2")
    for id_ in site.send_many("nap", [(0,)] * 300):
        site.get(id_)
    ids = site.send_many("nap", [(0,)] * 20 + [(120,)] + [(0,)] * 200)
    long = ids.pop(20)
    began = time.monotonic()
    for id_ in ids:
        assert site.get(id_) == "rested"
    assert time.monotonic() - began < 60, "of the 120 s that the long one takes"
    assert site.state(long) is State.LEASED
    assert {site.record(id_).crashes for id_ in ids} == {0}


def test_nor_in_a_worker_while_another_is_idle(site):
    site.worker("-c", "1", "-n", "one")
    for id_ in site.send_many("nap", [(0,)] * 200):
        site.get(id_)
    ids = site.send_many("nap", [(120,)] + [(0,)] * 30)
    site.wait_started(ids[0])
    site.worker("-c", "1", "-n", "two")
    for id_ in ids[1:]:
        assert site.get(id_) == "rested"
    assert site.state(ids[0]) is State.LEASED


def test_the_higher_priority_first(site):
    low = site.send_many("order", [(f"low{i}",) for i in range(3)])
    high = site.send_many("order", [(f"high{i}",) for i in range(3)], priority=9)
    site.worker("-c", "1")
    for id_ in low + high:
        site.get(id_)
    order = [line.split()[0].split(":")[1] for line in site.ledger.read_text().splitlines() if line.startswith("order")]
    assert order == ["high0", "high1", "high2", "low0", "low1", "low2"]


def test_no_queue_starves_behind_another(site):
    a = site.send_many("nap", [(0.002,)] * 200, queue="a")
    b = site.send_many("nap", [(0.002,)] * 10, queue="b")
    unheard = site.send("add", 1, 1, queue="c")
    site.worker("-c", "1", "-Q", "a,b,c", "-X", "c")
    for id_ in a + b:
        site.get(id_)
    order = [line[1] for line in site.notes("started")]
    assert max(map(order.index, b)) < 100, "the ten of b run beside those of a, not behind them"
    assert site.state(unheard) is State.PENDING


def test_a_scheduled_task_wakes_an_idle_worker_on_time(site):
    site.worker("-c", "1", WORKER_TEST_HURRY="liteq.worker.loop:SAFETY_POLL_S=600")  # nothing else wakes its loop
    assert site.get(site.send("add", 1, 1)) == 2
    for options in ({"countdown": 0.3}, {"eta": datetime.now(UTC) + timedelta(seconds=0.3)}, {"countdown": 1.2}):
        task = site.send("add", 1, 1, **options)
        assert site.get(task) == 2
        record = site.record(task)
        assert record.finished_ms >= record.due_ms, "never too early"


def test_a_due_task_that_nobody_can_take_costs_no_processor(site):
    """Both children are busy when it comes due: the parent waits, it does not spin."""
    worker = site.worker("-c", "1")
    long = site.send("nap", 2.5)
    site.wait_started(long)
    due = site.send("add", 1, 1, countdown=0.2)
    time.sleep(0.5)
    before = _cpu_s(worker.pid)
    time.sleep(1.0)
    assert _cpu_s(worker.pid) - before < 0.1
    assert site.get(due) == 2


def test_an_expired_task_does_not_run(site):
    late = site.send("nap", 0, expires=0.01)
    wait_for(lambda: site.app.clock.now_ms() > site.record(late).expires_ms)
    site.worker("-c", "1")
    assert isinstance(site.error(late), TaskRevokedError)
    assert site.state(late) is State.CANCELLED
    assert site.notes("started") == []


@on_both_engines
def test_retries_come_after_their_delay(site):
    site.worker("-c", "1")
    assert site.get(site.send("fails_twice")) == 2
    began = time.monotonic()
    never = site.send("never_works")
    assert isinstance(site.error(never), ValueError)
    assert time.monotonic() - began >= 0.05 + 0.05
    assert (len(site.notes("started", never)), site.record(never).retries) == (3, 2)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
def test_an_idle_worker_costs_next_to_nothing(site):
    worker = site.worker("-c", "2")
    site.get(site.send("add", 1, 1))
    before, began = _cpu_s(worker.pid), time.monotonic()
    time.sleep(2.5)
    assert (_cpu_s(worker.pid) - before) / (time.monotonic() - began) < 0.02


@pytest.mark.nightly
def test_its_memory_does_not_grow_with_the_tasks_done(site):
    worker = site.worker("-c", "2")
    for id_ in site.send_many("add", [(1, 1)] * 3000)[-1:]:
        site.get(id_)
    before = _rss_kib(worker.pid)
    ids = site.send_many("add", [(1, 1)] * 20_000)
    wait_for(lambda: site.waiting() == 0)
    assert site.get(ids[-1]) == 2
    assert _rss_kib(worker.pid) - before < 6 << 10


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_kib(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])
