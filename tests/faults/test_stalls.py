"""A stall is not a death: nobody can write, everybody is stopped, nobody can be seen: a living one keeps its leases."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from liteq.context import identity
from liteq.context.identity import Presence, presence
from liteq.exceptions import StorageBusy
from liteq.message import Ack, Lease, WorkerIdentity, new_id
from liteq.states import State
from liteq.storage.storage import Storage
from liteq.worker.chores import heartbeat as heartbeat_module

from .clocks import VISIBILITY_S, TwoClocks, lease_one, worker_of
from .harness import STRANGER, Drill, Hold, Process, stop_outside_transactions, wait_for
from .sizes import size

LEASE_S = 2.0
WORKERS = 3
IDLE = size("IDLE_WORKERS", 40, 400)

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="whether a process lives is read from /proc"),
]


# -- real workers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path, settings={"LITEQ_VISIBILITY_TIMEOUT": f"{LEASE_S}", "LITEQ_BUSY_TIMEOUT": "0.05"})
    drill.storage().close()
    yield drill
    drill.close()


@pytest.fixture
def busy(drill: Drill) -> list[Process]:
    """Workers that execute a long task in each of their children."""
    workers = [drill.worker(name=f"worker-{n}") for n in range(WORKERS)]
    storage = drill.storage()
    for _ in range(2 * WORKERS):
        drill.send(storage, "until", str(drill.folder / "go"))
    storage.close()
    wait_for(lambda: drill.executions() == 2 * WORKERS, within_s=60)
    return workers


def let_pass(seconds: float) -> None:
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > seconds, within_s=seconds + 10)


def check_each_ran_once(drill: Drill) -> None:
    let_pass(2 * LEASE_S)  # those that were to judge wrongly would have done so
    (drill.folder / "go").touch()
    drill.wait_until_settled()
    storage = drill.storage()
    assert {c.state for c in storage.reader.counts()} == {State.SUCCEEDED}
    storage.close()
    assert drill.executions() == 2 * WORKERS, "a living worker's task was given to another"


def test_a_lock_that_outlasts_the_leases_ends_none(drill: Drill, busy: list[Process], hold: Hold) -> None:
    stranger = hold(STRANGER, str(drill.db), "PRAGMA busy_timeout=30000", "BEGIN IMMEDIATE")
    let_pass(2 * LEASE_S)
    stranger.communicate("go on\n")
    check_each_ran_once(drill)


def test_all_are_stopped_and_go_on_one_after_the_other(drill: Drill, busy: list[Process]) -> None:
    stop_outside_transactions(drill, {worker.pid for worker in busy})
    let_pass(2 * LEASE_S)
    for worker in busy:
        os.killpg(worker.pid, signal.SIGCONT)
        let_pass(LEASE_S / 4)
    check_each_ran_once(drill)


# -- what is known of a process --------------------------------------------------------------------------------------


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def identity_of(pid: int) -> WorkerIdentity:
    return WorkerIdentity(new_id(), "other", "host", identity.boot_id(), pid, identity.start_time(pid))


def test_a_process_that_cannot_be_read_is_not_dead(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = identity_of(process.pid)
    assert presence(other) is Presence.ALIVE
    monkeypatch.setattr(identity, "_state", lambda _pid: ("", ""))  # as with hidepid=2
    assert presence(other) is Presence.UNKNOWN
    process.kill()
    process.wait()
    assert presence(other) is Presence.GONE


SEEN_BY_NOBODY = """
import os, sys
from liteq.message import WorkerIdentity
from liteq.context.identity import boot_id, me, presence
assert presence(me("self")).name == "ALIVE"  # imports all that it takes, as another user could not
os.setgroups([]); os.setgid(65534); os.setuid(65534)
pid, started = sys.argv[1:]
assert not os.path.exists(f"/proc/{pid}/stat"), "it is not hidden"
print(presence(WorkerIdentity("", "other", "host", boot_id(), int(pid), started)).name)
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts a /proc of its own: needs root")
def test_another_users_process_behind_hidepid_is_not_dead(process: subprocess.Popen[bytes]) -> None:
    other = identity_of(process.pid)
    command = ["unshare", "-m", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
    command += [sys.executable, "-c", SEEN_BY_NOBODY, str(other.pid), other.started]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "mount" in done.stderr and "denied" in done.stderr:
        pytest.skip("a container without the right to mount")
    assert done.stdout == "UNKNOWN\n", done.stderr


def test_in_another_time_namespace_a_start_time_means_nothing(process: subprocess.Popen[bytes]) -> None:
    *place, clocks = identity.boot_id().split("/")
    assert clocks == str(Path("/proc/self/ns/time").readlink())
    other = identity_of(process.pid)
    other.boot, other.started = "/".join([*place, "time:[1]"]), "1"
    assert presence(other) is Presence.UNKNOWN


# -- who is judged, and when -----------------------------------------------------------------------------------------


def state_of(storage: Storage, lease: Lease) -> State:
    record = storage.reader.find(lease.id)
    assert record is not None
    return record.state


def test_a_worker_that_lives_here_is_not_judged_by_the_clock_alone(
    storage: Storage,
    clock: TwoClocks,
    process: subprocess.Popen[bytes],
) -> None:
    other = worker_of(storage, "other", me=identity_of(process.pid))
    lease = lease_one(storage, other)
    here = worker_of(storage, "here")
    for _ in range(20):
        clock.advance(10)
        here.beat([])
        assert not here.look_after_others()
    assert state_of(storage, lease) is State.LEASED
    process.send_signal(signal.SIGSTOP)  # the clock, and the kernel's word that it does nothing
    wait_for(lambda: presence(other.me) is Presence.STOPPED)
    assert here.look_after_others()
    assert state_of(storage, lease) is State.PENDING


def test_a_lease_that_its_living_worker_knows_nothing_of_ends(
    storage: Storage,
    clock: TwoClocks,
    process: subprocess.Popen[bytes],
) -> None:
    """The commit of its claim was reported as failed, so it is nobody's."""
    other = worker_of(storage, "other", me=identity_of(process.pid))
    known, lost_sight_of = lease_one(storage, other), lease_one(storage, other)
    here = worker_of(storage, "here")
    for _ in range(8):
        clock.advance(10)
        other.beat([known])
        here.beat([])
        here.look_after_others()
    assert [state_of(storage, lease) for lease in (known, lost_sight_of)] == [State.LEASED, State.PENDING]


def test_whoever_stood_still_waits_a_lease_before_it_judges(storage: Storage, clock: TwoClocks) -> None:
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    b.look_after_others()
    clock.advance(2 * VISIBILITY_S)  # all were paused; b wakes first
    b.beat([])
    assert not b.look_after_others()
    assert a.beat([lease]) == []
    for _ in range(10):
        clock.advance(10)
        b.beat([])
        b.look_after_others()
        assert a.beat([lease]) == []
    assert storage.settle([(lease, Ack(b"1"))]) == []


def test_a_beat_that_was_asked_for_is_no_stall(
    storage: Storage, clock: TwoClocks, caplog: pytest.LogCaptureFixture
) -> None:
    worker = worker_of(storage, "a")
    clock.advance(1)
    worker.soon()
    assert worker.due_at <= worker.monotonic()
    worker.beat([])
    assert "stood still" not in caplog.text


def test_whoever_was_stopped_between_its_beat_and_its_look_waits_too(storage: Storage, clock: TwoClocks) -> None:
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    b.look_after_others()
    clock.advance(10)
    b.beat([])
    clock.advance(2 * VISIBILITY_S)
    assert not b.look_after_others()
    assert a.beat([lease]) == []


def test_whoever_could_not_beat_waits_a_lease_before_it_judges(
    storage: Storage,
    clock: TwoClocks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    b.look_after_others()
    clock.advance(15)

    def refused(*_: object, **__: object) -> None:
        raise StorageBusy(1.0)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "heartbeat", refused)
        for _ in range(100):
            clock.advance(0.5)
            with pytest.raises(StorageBusy):
                b.beat([])
    b.beat([])
    assert not b.look_after_others()
    assert a.beat([lease]) == []


def test_whoever_is_refused_its_beats_does_not_say_that_it_stood_still(
    storage: Storage, clock: TwoClocks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop looks after others each second: a file that is locked for a night would fill the log with it."""
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    b.look_after_others()

    def refused(*_: object, **__: object) -> None:
        raise StorageBusy(1.0)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "heartbeat", refused)
        for _ in range(100):
            clock.advance(1)
            with pytest.raises(StorageBusy):
                b.beat([])
            b.look_after_others()
        clock.advance(2 * VISIBILITY_S)  # and it was stopped after a beat that was refused
        assert not b.look_after_others()
    assert "stood still" not in caplog.text
    assert a.beat([lease]) == []


def test_what_is_done_on_a_return_is_done_also_where_the_first_try_is_refused(storage: Storage) -> None:
    """A file that was made anew would have none of the limits of the code, as another one wrote at that moment."""
    worker, refusals = worker_of(storage, "a"), [StorageBusy(1.0)]
    done: list[int] = []

    def declare() -> None:
        if refusals:
            raise refusals.pop()
        done.append(worker.worker)

    worker.on_return = declare
    storage.unregister_worker(worker.worker)
    with pytest.raises(StorageBusy):
        worker.beat([])
    for _ in range(2):
        worker.beat([])
    assert done == [one.id for one in storage.reader.workers()]


def test_what_beats_beside_a_busy_loop_tells_of_a_refusal_once(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = worker_of(storage, "a")
    refusals: list[float] = []

    def refused(*_: object, **__: object) -> None:
        refusals.append(worker.monotonic())
        raise StorageBusy(1.0)

    monkeypatch.setattr(storage, "heartbeat", refused)
    monkeypatch.setattr(heartbeat_module, "LOOK_S", 0.01)
    monkeypatch.setattr(heartbeat_module, "AGAIN_S", -1.0)
    worker.due_at = 0.0
    with heartbeat_module.KeepAlive(worker, list, lambda _now: None):
        wait_for(lambda: len(refusals) > 5)
    assert caplog.text.count("the heartbeat failed, trying again") == 1


def test_a_dead_workers_leases_end_after_a_stall_too(storage: Storage, clock: TwoClocks) -> None:
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    clock.advance(2 * VISIBILITY_S)
    for _ in range(7):
        b.beat([])
        b.look_after_others()
        clock.advance(10)
    assert state_of(storage, lease) is State.PENDING


# -- what looking costs ----------------------------------------------------------------------------------------------


def test_idle_workers_look_at_few_others(
    storage: Storage,
    clock: TwoClocks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = identity.me("worker")
    workers = [worker_of(storage, f"w{n}", me=replace(here, uuid=new_id())) for n in range(IDLE)]
    for worker in workers:
        worker.look_after_others()
    looks = 0

    def counted(other: WorkerIdentity, **of: bool) -> Presence:
        nonlocal looks
        looks += 1
        return presence(other, **of)

    monkeypatch.setattr(heartbeat_module, "presence", counted)
    for worker in workers:
        worker.look_after_others()
    assert looks <= 2 * IDLE, "the cost of idle workers grows with the square of their number"


def test_of_many_that_die_together_each_is_found_by_the_next(storage: Storage, clock: TwoClocks) -> None:
    """Those in the middle and those at the end: by the worker behind them, or by the first."""
    dead = [subprocess.Popen(["sleep", "600"]) for _ in range(4)]
    first = worker_of(storage, "first", me=identity.me("first"))
    gone = [worker_of(storage, f"gone-{n}", me=identity_of(p.pid)) for n, p in enumerate(dead[:2])]
    middle = worker_of(storage, "middle", me=identity.me("middle"))
    gone += [worker_of(storage, f"gone-{n}", me=identity_of(p.pid)) for n, p in enumerate(dead[2:])]
    leases = [lease_one(storage, worker) for worker in gone]
    first.look_after_others()
    middle.look_after_others()
    for process in dead:
        process.kill()
        process.wait()
    middle.look_after_others()
    assert [state_of(storage, lease) for lease in leases[:2]] == [State.PENDING] * 2
    assert first.look_after_others()
    assert [state_of(storage, lease) for lease in leases] == [State.PENDING] * 4


def test_when_the_first_has_gone_another_looks_at_all(storage: Storage, clock: TwoClocks) -> None:
    """Also where nobody can tell that it has gone: its heartbeat is not fresh any more."""
    first, second, third = (worker_of(storage, name) for name in ("first", "second", "third"))
    lease = lease_one(storage, first)
    for _ in range(14):
        clock.advance(10)
        for worker in (third, second):
            worker.beat([])
            worker.look_after_others()
    assert state_of(storage, lease) is State.PENDING
