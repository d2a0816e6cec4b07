"""Several machines on one PostgreSQL server: who is gone is known where it can be asked, and one clock counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq.clock import SystemClock
from liteq.context import identity
from liteq.message import Batch, Lease, Message, WorkerIdentity, new_id
from liteq.states import State
from liteq.storage.storage import Storage, open_storage
from liteq.worker.chores.heartbeat import Heartbeat

from .engines import fresh
from .worker_process import Site, lives, wait_for

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks for processes by Linux's /proc"),
]
SKEW_S = 5


class Off(SystemClock):
    """The clock of a machine that is `off_s` ahead."""

    def __init__(self, off_s: float) -> None:
        self._off_ms = int(off_s * 1000)

    def now_ms(self) -> int:
        return super().now_ms() + self._off_ms


@pytest.fixture
def machine(postgresql_server: str) -> Iterator[Callable[..., Storage]]:
    """Open the queue on a machine whose clock is so many seconds off."""
    url, opened = fresh(postgresql_server), []

    def open_(off_s: float = 0) -> Storage:
        opened.append(open_storage(url, clock=Off(off_s)))
        opened[-1].migrate()
        return opened[-1]

    yield open_
    for storage in opened:
        storage.close()


def enter(storage: Storage, **other: object) -> int:
    me = identity.me("w")
    for name, value in other.items():
        setattr(me, name, value)
    return storage.register_worker(me)


def claimed(storage: Storage, worker: int, visibility_s: float = 60) -> Lease:
    storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]", queue="q")]))
    (lease,) = storage.claim(["q"], worker=worker, limit=1, visibility_s=visibility_s)
    return lease


def state(storage: Storage, lease: Lease) -> State:
    record = storage.reader.find(lease.id)
    assert record is not None
    return record.state


def look(storage: Storage) -> None:
    """Look after the others, as a worker that was just started here."""
    me = WorkerIdentity(new_id(), "me", "here", identity.boot_id(), os.getpid(), identity.start_time(os.getpid()))
    beat = Heartbeat(storage, me, visibility_s=60, result_expires_s=None, dead_expires_s=None, info=dict)
    beat.look_after_others()


def test_of_another_machine_with_this_ones_name_the_deadline_alone_decides(machine: Callable[..., Storage]) -> None:
    storage = machine()
    far = enter(storage, boot="another/pid:[1]")
    lease, over = claimed(storage, far), claimed(storage, far, visibility_s=-1)
    look(storage)
    assert (state(storage, lease), state(storage, over)) == (State.LEASED, State.PENDING)
    assert far in [worker.id for worker in storage.reader.workers()]


def test_of_this_machine_a_process_that_has_ended_is_known_at_once(machine: Callable[..., Storage]) -> None:
    storage = machine()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    lease = claimed(storage, enter(storage, pid=ended.pid, started="1"))
    look(storage)
    assert state(storage, lease) is State.PENDING


@pytest.mark.parametrize("off_s", [-SKEW_S, SKEW_S])
def test_a_lease_lasts_as_long_as_it_was_given_whatever_the_clocks_say(
    machine: Callable[..., Storage], off_s: float
) -> None:
    one, other = machine(off_s), machine(-off_s)
    lease = claimed(one, enter(one, boot="another/pid:[1]"), visibility_s=2 * SKEW_S - 1)
    assert other.reap() == 0
    assert state(other, lease) is State.LEASED
    over = claimed(one, enter(one, boot="another/pid:[1]"), visibility_s=-1)
    assert other.reap() == 1
    assert state(other, over) is State.PENDING


def test_all_machines_have_one_time(machine: Callable[..., Storage]) -> None:
    ahead, behind = machine(SKEW_S), machine(-SKEW_S)
    assert abs(ahead.clock.now_ms() - behind.clock.now_ms()) < SKEW_S * 1000, "without the server's they are 10 s apart"


def test_a_killed_worker_is_followed_by_another_that_has_its_task_at_once(
    tmp_path: Path, postgresql_server: str
) -> None:
    site = Site(tmp_path, broker=fresh(postgresql_server))
    try:
        worker = site.worker("-c", "1")
        go = tmp_path / "go"
        task = site.send("until", str(go))
        child = site.wait_started(task)
        os.kill(worker.pid, signal.SIGKILL)
        wait_for(lambda: not lives(child), what="its child has died with it")
        site.worker("-c", "1")
        again = site.wait_started(task, times=2, within_s=50)  # its lease is one of a minute
        go.touch()
        assert site.get(task) == again
        assert (site.record(task).crashes, site.record(task).reaps) == (0, 1)
    finally:
        site.close()
