"""Tasks that change the process they run in, and the reports between it and its parent."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.exceptions import NotSerializable, RemoteError, WorkerLostError
from liteq.states import State

from .engines import on_both_engines
from .worker_process import Site, children_of, wait_for


@pytest.fixture
def site(tmp_path: Path, broker: str) -> Iterator[Site]:
    site = Site(tmp_path, broker=broker)
    yield site
    site.close()


def test_processes_inside_tasks(site):
    site.worker("-c", "2")
    assert site.get(site.send("async_nap", 0.01)) == "rested"
    assert site.get(site.send("uses_multiprocessing", 21)) == 42
    assert site.get(site.send("uses_subprocess")) == "42"
    assert site.get(site.send("uses_fork")) == 7
    assert site.get(site.send("reaps_anything")) == "none"
    assert site.get(site.send("terminates_a_process")) == -signal.SIGTERM, "what a task forks does end by SIGTERM"


@on_both_engines
def test_tasks_that_send_tasks_and_say_where_they_are(site):
    site.worker("-c", "2")
    ids = site.get(site.send("fan_out", 50))
    assert [site.get(id_) for id_ in ids] == [2 * i for i in range(50)]
    gate = site.folder / "gate"
    waiting = site.send("reports_progress", str(gate))
    result = site.app.AsyncResult(waiting)
    wait_for(lambda: (result.state, result.info) == ("PROGRESS", {"done": 1}))
    gate.touch()
    assert site.get(waiting) == "done"


def test_results_and_arguments_larger_than_any_buffer_both_ways_at_once(site):
    """Parent and children write 900 KB at each other: neither may wait for the other to read."""
    site.worker("-c", "2")
    size = 900_000
    text = "x" * size
    out = site.send_many("blob", [(size,)] * 12)
    both = site.send_many("echo", [(text,)] * 12)
    assert [len(site.get(id_)) for id_ in out] == [size] * 12
    assert [site.get(id_) == text for id_ in both] == [True] * 12


def test_exits_inside_a_task(site):
    site.worker("-c", "2")
    for how in ("sys.exit", "SystemExit"):
        task = site.send("leave", how)
        site.error(task)
        assert (site.state(task), site.record(task).crashes) == (State.DEAD, 0), "it fails; its process goes on"
    for how in ("os._exit", "KeyboardInterrupt"):
        task = site.send("leave", how)
        error = site.error(task)
        assert isinstance(error, WorkerLostError)
        assert (how == "os._exit") == (how not in str(error)), "what it was is said, where Python knows it"
        assert len(site.notes("started", task)) == 3
    assert site.get(site.send("add", 1, 2)) == 3


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_forked_copy_that_comes_back_out_of_its_task_ends_there(site, pool):
    """It would report an outcome of its own, and go on as a second worker under the first one's name."""
    worker = site.worker("-c", "1", "-P", pool)
    for raising in (False, True):
        task = site.send("comes_back_from_a_fork", raising)
        assert site.get(task) == 1, "the copy has ended, and the outcome is the task's own"
        assert len(site.notes("started", task)) == 1
    assert "forked a process that did not end in it" in site.log().read_text()
    assert site.end(worker) == 0


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_task_of_which_no_outcome_can_be_made_has_failed(site, pool):
    site.worker("-c", "1", "-P", pool)
    task = site.send("retries_at_no_time")
    assert isinstance(site.error(task), ValueError)
    assert len(site.notes("started", task)) == 1, "its process did not die of it"
    assert site.get(site.send("add", 1, 2)) == 3


def test_what_cannot_be_written_down_fails_its_task_alone(site):
    site.worker("-c", "1", LITEQ_UNKNOWN_TASK_PATIENCE="0")
    error = site.error(site.send("raises_unspeakable"))
    assert isinstance(error, RemoteError) or type(error).__name__ == "Unspeakable"
    assert isinstance(site.error(site.send("returns_an_object")), NotSerializable)
    assert isinstance(site.error(site.send("blob", 2 << 20)), Exception)
    unknown = str(site.app.send_task("worker_tasks.nothing_such").id)
    assert "nothing_such" in str(site.error(unknown))
    assert site.get(site.send("add", 1, 2)) == 3


def test_a_locked_file_is_waited_for(site):
    """Another process holds the write lock: the worker goes on by itself, and what it did meanwhile is stored."""
    worker = site.worker("-c", "2", LITEQ_BUSY_TIMEOUT="0.3")
    go = site.folder / "go"
    ids = [site.send("until", str(go)) for _ in range(2)]
    for id_ in ids:
        site.wait_started(id_)
    stranger = sqlite3.connect(site.folder / "queue.db", isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    go.touch()
    try:
        wait_for(lambda: "trying again" in site.log().read_text(), what="it could not store them")
        assert worker.poll() is None
    finally:
        stranger.execute("ROLLBACK")
        stranger.close()
    assert {site.get(id_) for id_ in ids} == set(children_of(worker.pid))
    assert all(len(site.notes("started", id_)) == 1 for id_ in ids)
    assert site.get(site.send("add", 1, 2)) == 3
    assert site.end(worker) == 0


def test_a_worker_that_cannot_leave_says_for_what_it_waits(site):
    """It keeps what has ended, so that it does not run again; but an operator sees a worker without a task."""
    worker = site.worker("-c", "1", LITEQ_BUSY_TIMEOUT="0.3")
    go = site.folder / "go"
    id_ = site.send("until", str(go))
    site.wait_started(id_)
    stranger = sqlite3.connect(site.folder / "queue.db", isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    go.touch()
    try:
        wait_for(lambda: "trying again" in site.log().read_text(), what="it could not store it")
        worker.send_signal(signal.SIGTERM)
        says = "SIGQUIT ends it at once, and what has ended runs again; 1 outcome waits: the queue cannot be used"
        wait_for(lambda: says in site.log().read_text(), what="it tells why it stays")
        assert worker.poll() is None
    finally:
        stranger.execute("ROLLBACK")
        stranger.close()
    assert worker.wait(30) == 0
    assert site.get(id_)
    assert len(site.notes("started", id_)) == 1


def test_deleted_bells_ring_again(site):
    site.worker("-c", "1", WORKER_TEST_HURRY="liteq.worker.loop:SAFETY_POLL_S=50")
    assert site.get(site.send("add", 1, 1)) == 2
    bells = [path for path in site.folder.iterdir() if "bell" in path.name or path.name.endswith(("-work", "-done"))]
    assert bells
    for path in bells:
        path.unlink()
    assert site.get(site.send("add", 1, 1)) == 2
    took = []
    for _ in range(5):
        began = time.monotonic()
        assert site.get(site.send("add", 1, 1)) == 2
        took.append(time.monotonic() - began)
    assert sorted(took)[2] < 40, f"woken up again, not by the safety net: {took}"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc")
def test_a_stopped_child_keeps_no_work_from_the_others(site):
    worker = site.worker("-c", "2")
    for id_ in site.send_many("add", [(1, 1)] * 50):
        site.get(id_)
    stopped = children_of(worker.pid)[0]
    os.kill(stopped, signal.SIGSTOP)
    for id_ in site.send_many("add", [(i, 0) for i in range(20)]):
        site.get(id_)
    os.kill(stopped, signal.SIGCONT)
    assert site.get(site.send("add", 1, 1)) == 2


def test_more_and_fewer_children_by_signal(site):
    worker = site.worker("-c", "1")
    worker.send_signal(signal.SIGTTIN)
    wait_for(lambda: len(children_of(worker.pid)) == 2)
    both = [site.send("nap", 0.3), site.send("nap", 0.3)]
    for id_ in both:
        site.wait_started(id_)
    worker.send_signal(signal.SIGTTOU)
    assert [site.get(id_) for id_ in both] == ["rested", "rested"]
    wait_for(lambda: len(children_of(worker.pid)) == 1, what="the retired child leaves")
    assert site.get(site.send("add", 1, 1)) == 2
    assert site.end(worker) == 0
