"""The disk is full: what runs is acknowledged from the ballast, nothing is claimed, and it goes on by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.exceptions import StorageFull
from liteq.message import Message, new_id
from liteq.states import State
from liteq.storage.sqlite.keeping.ballast import BALLAST, Ballast
from liteq.storage.storage import Storage, open_storage

from .harness import Drill, integrity, wait_for
from .sizes import size

CYCLES = size("DISK_FULL", 2, 50)
DISK = 40 * 1024 * 1024

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="a small disk is a tmpfs, which Linux has"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of DISK bytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "liteq-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def drill(tmp_path: Path, disk: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path, disk)
    drill.storage().close()
    yield drill
    drill.close()


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    path = disk / "filler"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for n in (1 << 20, 4096, 1):
            try:
                while True:
                    os.write(fd, b"x" * n)
            except OSError:
                continue
    finally:
        os.close(fd)
    return path


@pytest.mark.parametrize("driver", ["apsw", "stdlib"])
def test_a_backup_without_room_names_its_own_disk(tmp_path: Path, disk: Path, driver: str) -> None:
    """The queue is on another one: whoever is told of that one makes room where none is needed."""
    storage = open_storage(f"sqlite:///{tmp_path}/queue.db?driver={driver}")
    storage.migrate()
    storage.enqueue_many([Message(new_id(), "t", b'[["%b"],{}]' % (b"x" * 500)) for _ in range(500)])
    filler = fill(disk)
    with pytest.raises(StorageFull) as refused:
        storage.backup(disk / "copy.db")
    assert (f"{disk}: the disk is full" in str(refused.value), "queue.db" in str(refused.value)) == (True, False)
    assert list(disk.iterdir()) == [filler]
    storage.close()


def send_for_ever(drill: Drill, storage: Storage) -> None:
    while True:
        drill.send(storage, "work", 0)


def test_acks_finish_from_the_ballast_and_the_worker_resumes_alone(drill: Drill, disk: Path, tmp_path: Path) -> None:
    ballast = Ballast(f"{drill.db}-ballast")
    worker = drill.worker(children=2)
    wait_for(lambda: os.path.exists(ballast.path) and os.stat(ballast.path).st_size == BALLAST)
    storage = drill.storage()
    for cycle in range(CYCLES):
        go = tmp_path / f"go-{cycle}"
        running = [drill.send(storage, "until", str(go)) for _ in range(2)]
        wait_for(lambda: all(drill.ledger()[id_] for id_ in running))
        waiting = [drill.send(storage, "work", n) for n in range(50)]
        filler = fill(disk)
        with pytest.raises(StorageFull):
            send_for_ever(drill, storage)
        go.touch()
        wait_for(lambda: {storage.reader.find(id_).state for id_ in running} == {State.SUCCEEDED})  # type: ignore[union-attr]
        assert ballast.in_use()
        # The acknowledgements made room at the executors, and for longer than a safety poll nothing is claimed.
        quiet_until = time.monotonic() + (1.5 if cycle == 0 else 0.0)
        while True:
            assert sum(r.state is State.PENDING for r in storage.reader.find_many(waiting).values()) > 40
            if time.monotonic() > quiet_until:
                break
            time.sleep(0.05)
        filler.unlink()
        wait_for(lambda: {r.state for r in storage.reader.find_many(waiting).values()} == {State.SUCCEEDED})
        wait_for(lambda: not ballast.in_use())
        assert worker.poll() is None
    storage.close()
    assert drill.stop(worker) == 0
    assert max(drill.ledger().values()) == 1, "something ran twice"
    log = drill.log()
    assert log.count("\n") < 100 * CYCLES + 200, "the log was flooded"
    assert integrity(drill.db) == "ok"


def test_nothing_new_is_accepted_into_the_space_that_is_kept_for_acknowledgements(drill: Drill, disk: Path) -> None:
    storage = drill.storage()
    assert storage.driver.reserve()
    filler = fill(disk)
    assert storage.driver.relieve()
    with pytest.raises(StorageFull, match="nothing new is accepted"):
        drill.send(storage, "work", 1)
    other = drill.storage()  # another process's view: it learns of it by the file
    with pytest.raises(StorageFull):
        drill.send(other, "work", 1)
    assert storage.purge() == 0, "what makes room is allowed"
    (found,) = [one for one in storage.driver.checks(storage.driver.describe(whole=False)) if one.name == "disk"]
    assert (found.status, "workers claim nothing" in found.detail) == ("error", True)
    filler.unlink()
    wait_for(lambda: is_accepted(drill, storage))  # also without a worker, which would see to the reserve
    wait_for(lambda: is_accepted(drill, other))
    storage.close()
    other.close()


def is_accepted(drill: Drill, storage: Storage) -> bool:
    try:
        drill.send(storage, "work", 1)
    except StorageFull:
        return False
    return True


def test_a_worker_that_comes_while_the_disk_is_full_claims_nothing(drill: Drill, disk: Path) -> None:
    """It has space itself, the one that another has given up; what it claimed would come back, and run again."""
    storage = drill.storage()
    assert storage.driver.reserve()
    waiting = drill.send(storage, "work", 1)
    filler = fill(disk)
    assert storage.driver.relieve()
    worker = drill.worker(children=1)
    wait_for(lambda: "claiming nothing until there is space" in drill.log())
    assert storage.reader.find(waiting).state is State.PENDING  # type: ignore[union-attr]
    assert drill.executions() == 0
    filler.unlink()
    wait_for(lambda: storage.reader.find(waiting).state is State.SUCCEEDED)  # type: ignore[union-attr]
    assert "there is space again" in drill.log()
    storage.close()
    assert drill.stop(worker) == 0


def test_a_log_that_has_grown_gives_its_space_back(drill: Drill) -> None:
    """On a small disk the log may be what there is no space beside: nothing would be claimed for ever."""
    storage = drill.storage()
    log = Path(f"{drill.db}-wal")
    with storage.driver.read() as reader:
        reader.execute("SELECT count(*) FROM liteq_messages")  # its snapshot keeps the log from starting anew
        while log.stat().st_size < DISK - 2 * BALLAST:
            storage.enqueue_many([Message(new_id(), "t", b'[["%b"],{}]' % (b"x" * 500)) for _ in range(500)])
            storage.purge()
    assert log.stat().st_size >= DISK - 2 * BALLAST
    assert storage.driver.reserve()
    assert log.stat().st_size == 0
    drill.send(storage, "work", 1)
    storage.close()
