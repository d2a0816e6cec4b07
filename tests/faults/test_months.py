"""Months of a worker, compressed: a task that leaks, children that are replaced, and a worker that stays as it was.

`tox -e faults-months` runs a million tasks by fork: eight hours at 35 a second.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.message import Message, new_id
from liteq.serialization import encode
from liteq.states import UNFINISHED, State
from liteq.storage.storage import Storage

from .harness import Drill, children_of, integrity, wait_for
from .nursery import Process
from .sizes import size
from .soak import rss_mib

TASKS = size("MONTHS", 4_000, 1_000_000)
AFRESH = size("MONTHS_AFRESH", 2_000, 100_000)  # each child imports the app: ten times the work
A_CHILD = 100  # tasks
LEAK_KIB = 200  # by each task: without replacement 100 GiB in the end, with it 20 MiB in a child
CHUNK = 1_000
CHILDREN = 2
GROWN_MIB = 8.0  # that the worker may take more at the end than after its first tenth
SPARE = 4  # descriptors more than then: of a child that is about to be replaced

pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into processes by /proc"),
]


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path)
    drill.storage().close()
    yield drill
    drill.close()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def with_children(pid: int) -> list[int]:
    """All processes below `pid`."""
    return [one for child in children_of(pid) for one in (child, *with_children(child))]


def executors(worker: Process) -> list[int]:
    """The processes of `worker` that execute tasks: those without children of their own."""
    return [pid for pid in with_children(worker.pid) if b" child " in title(pid)]


def title(pid: int) -> bytes:
    """The title of `pid`; nothing where it has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def send(storage: Storage, n: int) -> None:
    payload = encode([[LEAK_KIB], {}], what="arguments")
    storage.enqueue_many([Message(new_id(), "drill_app.leak", payload) for _ in range(n)])


def unfinished(storage: Storage) -> int:
    return sum(count.n for count in storage.reader.counts() if count.state in UNFINISHED)


@pytest.mark.parametrize(("method", "tasks"), [("fork", TASKS), ("forkserver", AFRESH)])
def test_a_worker_stays_as_it_was_while_its_children_come_and_go(drill: Drill, method: str, tasks: int) -> None:
    storage = drill.storage()
    worker = drill.start(
        "-m", "liteq", "-A", "drill_app", "worker", "-l", "warning", "-c", str(CHILDREN),
        "--max-tasks-per-child", str(A_CHILD), "--pool-start-method", method, name="worker",
    )  # fmt: skip
    sent, series, largest = 0, [], 0.0
    while sent < tasks:
        n = min(CHUNK, tasks - sent)
        send(storage, n)
        sent += n
        half = sent - n // 2  # the next come before these have ended
        wait_for(lambda due=half: drill.executions() >= due, within_s=60)
        series.append((rss_mib(worker.pid), descriptors(worker.pid)))
        largest = max([largest, *map(rss_mib, executors(worker))])
    wait_for(lambda: not unfinished(storage), within_s=60)
    wait_for(lambda: len(executors(worker)) == CHILDREN)
    early, late = series[len(series) // 10], (rss_mib(worker.pid), descriptors(worker.pid))
    print(f"\n{method}: {tasks} tasks, largest child {largest:.0f} MiB")
    print("worker: {:.1f} MiB, {} descriptors -> {:.1f} MiB, {} descriptors".format(*early, *late))
    assert late[0] < early[0] + GROWN_MIB, "the memory of the worker is flat"
    assert late[1] <= early[1] + SPARE, "no descriptor is leaked"
    assert largest < early[0] + A_CHILD * LEAK_KIB / 1024 + 32, "no child grows beyond what its tasks may leak"
    check_each_ran_once(drill, storage, tasks)
    storage.close()
    assert drill.stop(worker) == 0
    assert integrity(drill.db) == "ok"


def check_each_ran_once(drill: Drill, storage: Storage, tasks: int) -> None:
    """Nothing is lost, nothing is run twice, and no child ended but as it should."""
    with storage.driver.read() as tx:  # `counts()` counts to ten thousand
        states = tx.execute("SELECT state, count(*) FROM liteq_messages GROUP BY state")
    assert [tuple(row) for row in states] == [(State.SUCCEEDED, tasks)]
    ran = drill.ledger()
    assert len(ran) == tasks
    assert set(ran.values()) == {1}
    assert "ended with" not in drill.log(), "no child died of anything"
