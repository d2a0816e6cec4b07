"""Runs between processes: one start of many, wake-ups that race with suspensions, one computation for all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq.message import Batch, Flag, Hold, Lease, Message, StepRow, Suspend, WorkerIdentity, new_id
from liteq.storage.storage import Storage, open_storage

HEAD = """
import sys, time
from liteq.exceptions import RunConflict
from liteq.message import *
from liteq.storage.runs.records import Memo
from liteq.storage.storage import open_storage
storage = open_storage(sys.argv[1], durability="relaxed")
def work(name):
    return storage.register_worker(WorkerIdentity(new_id(), name, "host", "boot", 1, "1"))
print("ready", flush=True)
sys.stdin.readline()
"""
RACES = 1_000


@pytest.fixture(params=["apsw", "stdlib"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db?driver={request.param}"


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    opened = open_storage(url, durability="relaxed")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def start(url: str) -> Iterator[Callable[[str, int], list[subprocess.Popen[str]]]]:
    """Start so many processes that run a program at the same moment."""
    started: list[subprocess.Popen[str]] = []

    def start_all(code: str, n: int) -> list[subprocess.Popen[str]]:
        command = [sys.executable, "-c", HEAD + code, url]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        mine = [subprocess.Popen(command, text=True, **pipes) for _ in range(n)]  # type: ignore[call-overload]
        started.extend(mine)
        for process in mine:
            assert process.stdout.readline() == "ready\n"
        for process in mine:
            process.stdin.write("\n")
            process.stdin.flush()
        return mine

    yield start_all
    for process in started:
        process.kill()
        process.communicate()


Start = Callable[[str, int], "list[subprocess.Popen[str]]"]


def claim(storage: Storage, worker: int, queue: str = "celery") -> Lease:
    """The next lease; waits for it."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        for lease in storage.claim([queue], worker=worker, limit=1, visibility_s=60):
            return lease
        time.sleep(0.0002)
    raise AssertionError(f"nothing comes: {storage.runs.list()}")


def worker_of(storage: Storage) -> int:
    return storage.register_worker(WorkerIdentity(new_id(), "main", "host", "boot", os.getpid(), "1"))


def test_eight_starts_at_once_are_one_run(storage: Storage, start: Start) -> None:
    code = """
message = Message("same", "flow", b"[[],{}]", flags=Flag.RUN)
print(storage.runs.start(message).new)
try:
    storage.runs.start(Message("same", "flow", b"[[1],{}]", flags=Flag.RUN))
except RunConflict:
    print("conflict")
"""
    said = [process.communicate()[0].split() for process in start(code, 8)]
    assert sorted(said) == [["False", "conflict"]] * 7 + [["True", "conflict"]]
    assert [run.id for run in storage.runs.list()] == ["same"]


def test_no_event_is_lost_that_races_with_a_suspension(storage: Storage, start: Start) -> None:
    storage.runs.start(Message("r", "flow", b"[[],{}]", flags=Flag.RUN))
    worker = worker_of(storage)
    lease = claim(storage, worker)
    code = f"""
for n in range({RACES}):
    storage.runs.send("r", "go", str(n).encode())
"""
    start(code, 1)
    for n in range(RACES):
        waits = StepRow("", n, "event", "go", waited="event go", started_ms=n)
        storage.settle([(lease, Suspend([waits]))])
        lease = claim(storage, worker)
    rows = storage.runs.history(lease.seq).steps
    assert [row.output for row in rows] == [str(n).encode() for n in range(RACES)]


def test_no_end_of_a_child_is_lost_that_races_with_a_suspension(storage: Storage, start: Start) -> None:
    run = Message("r", "flow", b"[[],{}]", queue="runs", flags=Flag.RUN)
    storage.runs.start(run)
    worker = worker_of(storage)
    code = f"""
worker, ended = work("children"), 0
while ended < {RACES}:
    leases = storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    storage.settle([(lease, Ack(b"1")) for lease in leases])
    ended += len(leases)
"""
    start(code, 1)
    for n in range(RACES):
        lease = claim(storage, worker, "runs")
        history = storage.runs.history(lease.seq)
        if n:  # what it waited for has ended
            assert history.steps[-1].ended_ms is not None
        hold, child = Hold(lease.seq, lease.token), f"r/{n}"
        step = StepRow("", n, "call", "t", child=child, started_ms=n)
        message = Message(child, "t", b"[[],{}]", flags=Flag.CHILD | Flag.LINKED)
        storage.runs.spawn(hold, [step], Batch([message]))
        storage.settle([(lease, Suspend([], need=1, seen=(history.facts.ends, history.facts.fails)))])
    lease = claim(storage, worker, "runs")
    assert storage.runs.history(lease.seq).facts.ends == RACES


def test_one_process_computes_for_all(storage: Storage, start: Start) -> None:
    for n in range(20):
        storage.runs.start(Message(f"r{n}", "flow", b"[[],{}]", flags=Flag.RUN))
    code = """
worker, paid = work("w"), 0
row = StepRow("", 1, "step", "llm", started_ms=1)
end = time.monotonic() + 90
while time.monotonic() < end:
    for lease in storage.claim(["celery"], worker=worker, limit=1, visibility_s=60):
        hold = Hold(lease.seq, lease.token)
        output, mine, _ = storage.runs.memo(hold, "k", "llm")
        if mine:
            paid += 1
            time.sleep(0.05)
            storage.runs.checkpoint(hold, row._replace(output=b"42", ended_ms=2), memo=Memo("k"))
            output = b"42"
        if output is None:
            due_ms = int(time.time() * 1000) + 30_000
            waits = row._replace(waited="memo k", due_ms=due_ms)
            storage.settle([(lease, Suspend([waits], due_ms=due_ms))])
        else:
            storage.settle([(lease, Ack(output))])
    if not storage.runs.list(status="queued") and not storage.runs.list(status="waiting"):
        break
print(paid)
"""
    processes = start(code, 4)
    assert sum(int(process.communicate()[0]) for process in processes) == 1
    assert {run.status for run in storage.runs.list()} == {"succeeded"}
