"""Time limits, and the limits of a child: tasks and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from liteq.states import State

from .worker_process import Site, children_of, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.mark.celery("Workers: limits", "`soft_time_limit`: SoftTimeLimitExceeded in the task")
def test_a_soft_limit_is_an_exception_inside_the_task(site):
    site.worker("-c", "2")
    assert isinstance(site.error(site.send("soft_by_option")), SoftTimeLimitExceeded)
    assert isinstance(site.error(site.send("nap", 30, soft_time_limit=0.1)), SoftTimeLimitExceeded)
    assert site.get(site.send("soft", 30, soft_time_limit=0.1)) == "caught"
    assert site.get(site.send("async_soft", 30, soft_time_limit=0.1)) == "caught"
    assert isinstance(site.error(site.send("async_nap", 30, soft_time_limit=0.1)), SoftTimeLimitExceeded)
    # It does not hit whoever comes after.
    assert site.get(site.send("soft", 0.3, soft_time_limit=60)) == "undisturbed"
    assert site.get(site.send("async_nap", 0.3)) == "rested"


@pytest.mark.celery("Workers: limits", "`time_limit`: the process is killed, the task fails with TimeLimitExceeded")
def test_a_hard_limit_kills_the_process_and_the_task_is_a_dead_letter(site):
    site.worker("-c", "2")
    ids = [
        site.send("hard_by_option"),
        site.send("stubborn", time_limit=0.4, soft_time_limit=0.1),
        site.send("async_nap", 30, time_limit=0.2),
    ]
    others = site.send_many("add", [(i, 0) for i in range(20)])
    for id_ in ids:
        assert isinstance(site.error(id_), TimeLimitExceeded)
        assert (site.state(id_), site.record(id_).crashes) == (State.DEAD, 0)
    assert len(site.notes("hint", ids[1])) <= 1, "both limits are over for a child that stood still: it is killed"
    assert len(site.notes("started", ids[1])) == 1
    assert [site.get(id_) for id_ in others] == list(range(20))
    hinted = site.send("stubborn", time_limit=120, soft_time_limit=0.1)
    wait_for(lambda: site.notes("hint", hinted), what="the soft limit came first")
    assert site.state(hinted) is State.LEASED


@pytest.mark.celery("Workers: limits", "`--time-limit` and `--soft-time-limit`")
def test_limits_from_the_command_line_count_where_the_task_has_none(site):
    site.worker("-c", "1", "--time-limit", "0.5", "--soft-time-limit", "0.2")
    assert isinstance(site.error(site.send("nap", 30, time_limit=60)), SoftTimeLimitExceeded)
    assert isinstance(site.error(site.send("stubborn")), TimeLimitExceeded)
    assert site.get(site.send("nap", 0.7, soft_time_limit=60, time_limit=60)) == "rested"


@pytest.mark.celery("Workers: limits", "`worker_max_tasks_per_child`")
def test_a_child_leaves_after_its_tasks_and_nothing_is_lost_or_waits(site):
    late = "liteq.worker.loop:SAFETY_POLL_S=600"  # until the loop looks at what nothing has told it of
    site.worker("-c", "2", "--max-tasks-per-child", "5", WORKER_TEST_HURRY=late)
    ids = site.send_many("pid", [()] * 100)
    pids = [site.get(id_) for id_ in ids]  # no lease waits for the loop's next look
    assert all(pids.count(pid) <= 5 for pid in pids)
    assert {site.record(id_).crashes for id_ in ids} == {0}


@pytest.mark.celery("Workers: limits", "`worker_max_memory_per_child`")
def test_a_child_leaves_when_it_has_grown_and_nothing_is_lost(site):
    site.worker("-c", "1", "--max-memory-per-child", str(150 << 10))
    ids = site.send_many("grow", [(60,)] * 6)
    pids = [site.get(id_) for id_ in ids]
    assert 2 <= len(set(pids)) <= 3
    assert {site.record(id_).crashes for id_ in ids} == {0}


def test_a_peak_of_long_ago_ends_no_child(tmp_path):
    site = Site(tmp_path, "pool_tasks")
    try:
        site.worker("-c", "1", "--max-memory-per-child", str(150 << 10))
        pids = {site.get(str(site.app.send_task("pool_tasks.a_peak", args=(300,)).id)) for _ in range(4)}
        assert len(pids) == 1
    finally:
        site.close()


@pytest.mark.nightly
def test_two_hundred_replaced_children_leave_nothing_behind(site):
    worker = site.worker("-c", "2", "--max-tasks-per-child", "1")
    for id_ in site.send_many("pid", [()] * 10):  # by now the parent's connections to the file are open, too
        site.get(id_)
    wait_for(lambda: len(children_of(worker.pid)) == 2)
    before = len(os.listdir(f"/proc/{worker.pid}/fd"))
    ids = site.send_many("pid", [()] * 200)
    assert len({site.get(id_, 60) for id_ in ids}) == 200
    wait_for(lambda: len(children_of(worker.pid)) == 2)
    wait_for(lambda: len(os.listdir(f"/proc/{worker.pid}/fd")) <= before + 8)


def test_a_child_that_cannot_start_is_not_replaced_in_a_circle(site):
    """After each that died at its start the worker waits longer, from 0.1 s on; and it goes on as soon as it can."""
    (site.folder / "sick.py").write_text(
        "import os, time\nfrom liteq import signals\n"
        "@signals.worker_process_init.connect(weak=False)\n"
        "def init(**_):\n"
        "    open('births', 'a').write(f'{time.monotonic()}\\n')\n"
        "    if not os.path.exists('well'):\n        os._exit(1)\n"
    )
    began = time.monotonic()
    site.worker("-c", "1", "-I", "sick")
    task = site.send("add", 1, 2)
    births = site.folder / "births"
    wait_for(lambda: births.exists() and births.read_text().count("\n") >= 6, what="children were born and died")
    assert float(births.read_text().split()[5]) - began >= 0.1 + 0.2 + 0.4 + 0.8 + 1.6
    (site.folder / "well").touch()
    assert site.get(task) == 3
    assert site.record(task).crashes == 0


def test_a_message_that_waits_for_slow_processes_is_received_once(site):
    """It goes back to the queue, for other workers, and comes again: that is one delivery all the same."""
    (site.folder / "slow.py").write_text(
        "import os, time\nfrom liteq import signals\n"
        "@signals.worker_process_init.connect(weak=False)\n"
        "def init(**_):\n    time.sleep(0.3)\n"
        "@signals.task_received.connect(weak=False)\n"
        "def received(request, **_):\n    open('received', 'a').write(request.id + '\\n')\n"
    )
    site.worker("-c", "1", "-I", "slow", "--max-tasks-per-child", "1")
    ids = site.send_many("pid", [()] * 3)
    assert all(site.get(id_) for id_ in ids)
    assert sorted((site.folder / "received").read_text().split()) == sorted(ids)
