"""A bulk action whose process is killed, stopped, and killed again: each message is acted upon exactly once."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq.message import DeadLetter, Message, WorkerIdentity, new_id
from liteq.serialization import encode_error
from liteq.storage.operating.audit import Actor
from liteq.storage.operating.operations import Operation
from liteq.storage.storage import Storage

from .harness import Drill, kill_group, wait_for
from .nursery import Process
from .sizes import size

DEAD = size("OPERATION", 2_000, 100_000)
ERROR = encode_error(ValueError("declined"))
# The command line, which tells how long each of its chunks had the write lock.
TIMED = """
from time import thread_time
from liteq.cli import main
from liteq.storage.facades.operators.operations import Operations
step = Operations.step
def timed(*args):
    cpu = thread_time()
    did = step(*args)
    if did is not None:
        with open("held", "a") as report:
            report.write(f"{did.held_s} {thread_time() - cpu}\\n")
    return did
Operations.step = timed
main()
"""

Record = Callable[[str, object], None]

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path)
    yield drill
    drill.close()


class Failing(threading.Thread):
    """A worker in which every task fails: what is requeued is dead again at once. Counts how often each id ran."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(daemon=True)
        self.storage = storage
        self.number = storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", os.getpid(), "1"))
        self.ran: Counter[str] = Counter()
        self.stopped = threading.Event()

    def turn(self) -> int:
        leases = self.storage.claim(["celery"], worker=self.number, limit=100, visibility_s=600)
        self.storage.settle([(lease, DeadLetter(ERROR)) for lease in leases])
        self.ran.update(lease.id for lease in leases)
        return len(leases)

    def run(self) -> None:
        with self.storage.hearing() as ear:
            while not self.stopped.is_set():
                if not self.turn():
                    ear.wait(0.05)


def the_only(storage: Storage) -> Operation:
    (found,) = storage.operations.page()
    return found


def test_each_dead_letter_is_requeued_once_although_its_operation_is_killed(
    drill: Drill, record_property: Record
) -> None:
    storage = drill.storage()
    storage.enqueue_many(Message(new_id(), "t", b"[[],{}]") for _ in range(DEAD))
    failing = Failing(storage)
    while failing.turn():
        pass
    failing.ran.clear()
    failing.start()

    def liteq(*args: str) -> Process:
        return drill.start("-c", TIMED, "-b", f"sqlite:///{drill.db}", *args, name="operation")

    def wait_for_share(share: float) -> None:
        wait_for(lambda: storage.operations.page() and the_only(storage).done >= share * DEAD, within_s=600)

    process = liteq("operations", "start", "requeue", "--where", "state:dead", "--yes", "--rate", f"{DEAD // 2}/s")
    wait_for_share(0.2)
    kill_group(process)
    id_ = the_only(storage).id
    assert 0.2 * DEAD <= the_only(storage).done < DEAD
    assert the_only(storage).state == "running"  # nobody has said that it ended

    process = liteq("operations", "continue", id_)
    wait_for_share(0.4)
    assert storage.operations.stop(id_, by=Actor("ann", "page"))  # at once: a process of its own would come too late
    wait_for(lambda: the_only(storage).state == "stopped", within_s=60)
    assert process.wait(timeout=60) == 0
    stopped_at = the_only(storage).done
    assert stopped_at < DEAD

    process = liteq("operations", "continue", id_)
    wait_for_share(max(0.6, stopped_at / DEAD + 0.1))
    kill_group(process)
    assert the_only(storage).done < DEAD

    process = liteq("operations", "continue", id_)
    assert process.wait(timeout=1_200) == 0
    ended = the_only(storage)
    assert (ended.state, ended.done, ended.skipped) == ("done", DEAD, 0)
    wait_for(lambda: failing.ran.total() >= DEAD, within_s=60)
    failing.stopped.set()
    failing.join()
    assert failing.turn() == 0
    assert (len(failing.ran), set(failing.ran.values())) == (DEAD, {1})
    requeued = [one for one in storage.audit.of_target(id_) if one.action == "requeue"]
    assert [one.n for one in requeued] == [DEAD]
    report(drill, record_property)
    storage.close()


def report(drill: Drill, record_property: Record) -> None:
    """Say how long the chunks had the write lock, in ms: facts for a person who reads the drill's report.

    Their CPU time is what they took of a machine that others load as well.
    """
    lines = [tuple(map(float, line.split())) for line in (drill.folder / "held").read_text().splitlines()]
    facts: dict[str, object] = {"chunks": len(lines)}
    for name, column in (("held", 0), ("cpu", 1)):
        values = sorted(line[column] * 1000 for line in lines)
        shares = {"median": values[len(values) // 2], "p99": values[len(values) * 99 // 100], "longest": values[-1]}
        facts |= {f"{name}_{share}_ms": round(value, 1) for share, value in shares.items()}
    for name, value in facts.items():
        record_property(name, value)
    print(facts)
    assert facts["cpu_longest_ms"] < 50
