"""The disk fails, is full, writes half, or loses its power: what was accepted is there, and the file is whole."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from liteq.exceptions import StorageError, StorageFull
from liteq.message import Ack, Batch, Flag, Group, Message, WorkerIdentity, new_id
from liteq.states import State
from liteq.storage.driver import Durability
from liteq.storage.sqlite.apsw_driver import ApswDriver, ApswSession
from liteq.storage.sqlite.session import Session
from liteq.storage.storage import Storage, open_storage

from .ledger import Ledger, present
from .sizes import size
from .vfs import FAULTS, FaultyVFS, PowerVFS, storage_on

OPERATIONS = size("FAULT_OPERATIONS", 60, 500)
POWER_LOSSES = size("POWER_LOSSES", 300, 20_000)
PER_RUN = 25  # power losses that are looked at in one run

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A new queue whose log is folded."""
    path = tmp_path / "disk" / "queue.db"
    path.parent.mkdir()
    storage = open_storage(f"sqlite:///{path}")
    storage.migrate()
    storage.driver.fold_log()
    storage.close()
    return path


def message(**fields: object) -> Message:
    return Message(**{"id": new_id(), "task": "t", "payload": b"[[],{}]", **fields})  # type: ignore[arg-type]


def chord() -> Batch:
    """Two members and a body."""
    group = new_id()
    members = [message(group_id=group, position=i, flags=Flag.LINKED) for i in range(2)]
    return Batch([*members, message(awaits=group, flags=Flag.TAKES_INPUT)], [Group(group, 2)])


def me() -> WorkerIdentity:
    return WorkerIdentity(new_id(), "w", "host", "boot", 1, "1")


def check_whole(path: Path) -> dict[str, State]:
    """SQLite's own check, on a fresh connection of the ordinary VFS; the messages that are there."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {id_: State(state) for id_, state in connection.execute("SELECT id, state FROM liteq_messages")}
    finally:
        connection.close()


# -- an operation fails ----------------------------------------------------------------------------------------------


@pytest.fixture
def faulty() -> Iterator[FaultyVFS]:
    vfs = FaultyVFS("faulty")
    yield vfs
    vfs.unregister()


@pytest.mark.parametrize("fault", FAULTS)
def test_an_operation_that_fails_raises_and_a_repeated_call_makes_one_row(
    file: Path, tmp_path: Path, faulty: FaultyVFS, fault: str
) -> None:
    fired = 0
    for k in range(1, OPERATIONS + 1):
        folder = tmp_path / f"k{k}"
        shutil.copytree(file.parent, folder)
        fired += run_with_fault(folder / file.name, faulty, fault, k)
        shutil.rmtree(folder)
    assert fired > 5, "the fault was never met: the test shows nothing"


def run_with_fault(path: Path, vfs: FaultyVFS, fault: str, k: int) -> int:
    """Send, claim and acknowledge over a disk whose k-th operation fails; how often it did."""
    ledger = Ledger()
    storage = storage_on(vfs.name, path, busy_timeout_s=1)
    worker = storage.register_worker(me())
    vfs.arm(fault, k)
    for _ in range(4):
        send(storage, ledger, chord())
        work(storage, ledger, worker)
        try:
            storage.driver.fold_log()
        except StorageError:
            pass
    fired = vfs.fired
    vfs.disarm()
    while work(storage, ledger, worker):
        pass
    verdict = ledger.verdict(present(storage))
    storage.close()
    assert verdict.sound, verdict
    assert set(check_whole(path).values()) == {State.SUCCEEDED}
    return fired


def send(storage: Storage, ledger: Ledger, batch: Batch) -> None:
    """As a careful caller does: what raised is sent again, with the same ids."""
    ids = [m.id for m in batch.messages]
    for _ in range(3):
        try:
            storage.enqueue(batch)
        except StorageError:
            ledger.fail(ids)
        else:
            ledger.accept(ids)
            return
    raise AssertionError("a disk that failed once must not fail for ever")


def work(storage: Storage, ledger: Ledger, worker: int) -> int:
    """Claim what there is and acknowledge it, as the consumer does: an outcome that was not stored is kept."""
    try:
        leases = storage.claim(["celery"], worker=worker, limit=10, visibility_s=60)
    except StorageError:
        storage.reap([worker], expired=False)  # it may have committed; then nobody holds them
        return 1
    settled = [(lease, Ack(b"1")) for lease in leases]
    ledger.executed.update(lease.id for lease in leases)
    for _ in range(3):
        try:
            lost = storage.settle(settled)
        except StorageError:
            continue
        ledger.acknowledged.update(lease.id for lease in leases if lease not in lost)
        return len(leases)
    raise AssertionError("a disk that failed once must not fail for ever")


def test_a_full_disk_is_told_as_such(file: Path, faulty: FaultyVFS) -> None:
    storage = storage_on("faulty", file)
    faulty.arm("ENOSPC", 1)
    with pytest.raises(StorageFull, match="free some space"):
        storage.enqueue(Batch([message()]))
    storage.close()


# -- the power fails -------------------------------------------------------------------------------------------------


class CarelessSession(ApswSession):
    """The control: never waits for the disk, which liteq has no setting for."""

    def open(self) -> None:
        super().open()
        self.script("PRAGMA synchronous=OFF")


class CarelessDriver(ApswDriver):
    def sync_log(self) -> None:
        pass

    def new_session(self, *, reader: bool) -> Session:
        return CarelessSession(self.path, reader=reader, busy_timeout_s=self.busy_timeout_s, vfs=self.vfs)


class Run:
    """One life of a queue, and what was known at each moment at which its power might have failed."""

    def __init__(self, file: Path, folder: Path, seed: int, driver: type[ApswDriver], durability: Durability) -> None:
        self.rng = random.Random(seed)
        self.file = folder / file.name
        shutil.copytree(file.parent, folder)
        self.vfs = PowerVFS(f"power-{seed}", folder)
        self.vfs.on_operation = self.maybe_lose_power
        self.storage = storage_on(self.vfs.name, self.file, driver, durability=durability)
        self.ledger = Ledger()
        self.copies: list[tuple[Path, int, set[str]]] = []  # the copy, how many were accepted, the acknowledged

    def go(self) -> None:
        worker = self.storage.register_worker(me())
        while len(self.copies) < PER_RUN:
            what = self.rng.random()
            if what < 0.6:
                batch = Batch([message(payload=b'[["%b"],{}]' % (b"x" * self.rng.randrange(3000)))])
                send(self.storage, self.ledger, batch)
            elif what < 0.9:
                work(self.storage, self.ledger, worker)
            else:
                self.storage.driver.fold_log()
        self.storage.close()
        self.vfs.unregister()

    def maybe_lose_power(self) -> None:
        if self.rng.random() < 0.06 and len(self.copies) < PER_RUN:
            copy = self.file.parent / f"copy-{len(self.copies)}"
            self.vfs.power_loss(copy, self.rng)
            self.copies.append((copy, len(self.ledger.accepted), set(self.ledger.acknowledged)))


def lose_power(
    file: Path, tmp_path: Path, durability: Durability, driver: type[ApswDriver] = ApswDriver
) -> Iterator[tuple[Path, Ledger, int, set[str]]]:
    """Copies of files that lost power: the file, the ledger, how many were accepted by then, the acknowledged."""
    for seed in range(max(1, POWER_LOSSES // PER_RUN)):
        run = Run(file, tmp_path / f"run-{seed}", seed, driver, durability)
        run.go()
        assert run.copies, f"run {seed} lost no power"
        for copy, accepted, acknowledged in run.copies:
            yield copy / file.name, run.ledger, accepted, acknowledged
        shutil.rmtree(run.file.parent)


def test_durable_loses_nothing_that_was_accepted(file: Path, tmp_path: Path) -> None:
    for copy, ledger, accepted, _ in lose_power(file, tmp_path, Durability.DURABLE):
        there = check_whole(copy)
        assert there.keys() >= set(ledger.accepted[:accepted])


def test_strict_loses_no_acknowledgement_either(file: Path, tmp_path: Path) -> None:
    for copy, ledger, accepted, acknowledged in lose_power(file, tmp_path, Durability.STRICT):
        there = check_whole(copy)
        assert there.keys() >= set(ledger.accepted[:accepted])
        assert {there[id_] for id_ in acknowledged} <= {State.SUCCEEDED}


def test_relaxed_loses_the_newest_and_nothing_from_between(file: Path, tmp_path: Path) -> None:
    lost = 0
    for copy, ledger, accepted, _ in lose_power(file, tmp_path, Durability.RELAXED):
        there = check_whole(copy)
        kept = [id_ in there for id_ in ledger.accepted[:accepted]]
        assert kept == sorted(kept, reverse=True), "something is missing before something that is there"
        lost += kept.count(False)
    assert lost, "nothing was lost: the simulation of power losses does not bite"


def test_the_control_that_never_syncs_is_damaged(file: Path, tmp_path: Path) -> None:
    damaged = 0
    for n, (copy, ledger, accepted, _) in enumerate(lose_power(file, tmp_path, Durability.DURABLE, CarelessDriver)):
        try:
            damaged += not check_whole(copy).keys() >= set(ledger.accepted[:accepted])
        except (AssertionError, apsw.Error):
            damaged += 1
        if n > 100:
            break
    assert damaged > 20
