"""A backup is put back: whoever holds a lease of before cannot acknowledge it, and all that the copy has is done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from liteq.exceptions import StorageError, StorageInUse
from liteq.message import Ack, Batch, Message, WorkerIdentity, new_id
from liteq.states import State
from liteq.storage.sqlite.base import FILE_CHECK_S
from liteq.storage.sqlite.disk import parts
from liteq.storage.storage import Storage, open_storage

from .harness import Drill, check_nothing_lost, integrity, stop_outside_transactions, told_of_its_loss, wait_for
from .sizes import size

RESTORES = size("RESTORES", 3, 200)

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform == "win32", reason="workers need fork"),
]
libraries = pytest.mark.parametrize("library", ["apsw", "stdlib"])


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path, forked=True)
    drill.storage().close()
    yield drill
    drill.close()


def queue(path: Path, library: str) -> Storage:
    storage = open_storage(f"sqlite:///{path}?driver={library}")
    storage.migrate()
    return storage


def worker_of(storage: Storage, name: str) -> int:
    return storage.register_worker(WorkerIdentity(new_id(), name, "elsewhere", "", 1, "1"))


@libraries
def test_a_lease_given_out_after_the_backup_is_void(tmp_path: Path, library: str) -> None:
    """Both lives of the queue lease the same rows, one by one; without an epoch they would come to the same tokens."""
    storage = queue(tmp_path / "queue.db", library)
    for _ in range(RESTORES):
        ids = [storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))[0] for _ in range(3)]
        before = storage.claim(["celery"], worker=worker_of(storage, "before"), limit=1, visibility_s=600)
        copy = tmp_path / "copy.db"
        storage.backup(copy)
        before += storage.claim(["celery"], worker=worker_of(storage, "late"), limit=2, visibility_s=600)
        kept = storage.driver.restore(copy)
        assert kept is not None
        storage.migrate()
        assert storage.reader.workers() == [], "who works on it enters anew"
        assert storage.reap() == 1, "what was leased in the copy is nobody's"
        after = storage.claim(["celery"], worker=worker_of(storage, "after"), limit=3, visibility_s=600)
        assert sorted(lease.id for lease in after) == sorted(ids)
        assert min(lease.token for lease in after) > max(lease.token for lease in before)
        assert storage.settle([(lease, Ack(b'"of before"')) for lease in before]) == before
        assert storage.settle([(lease, Ack(b'"of now"')) for lease in after]) == []
        assert {storage.reader.find(id_).result for id_ in ids} == {b'"of now"'}  # type: ignore[union-attr]
        kept.unlink()
        copy.unlink()
    storage.close()
    assert integrity(tmp_path / "queue.db") == "ok"


def test_a_worker_that_slept_through_the_restore_changes_nothing(drill: Drill, tmp_path: Path) -> None:
    """SIGSTOP, and the copy put in place by hand: the worker's connection is to the old file, its path to the new."""
    storage = drill.storage()
    go = tmp_path / "go"
    zombie = drill.worker(children=1, name="zombie")
    copy = tmp_path / "copy.db"
    storage.backup(copy)
    lost = drill.send(storage, "until", str(go))
    wait_for(lambda: drill.executions() == 1)
    stop_outside_transactions(drill, {zombie.pid})
    looks_again_at = time.monotonic() + FILE_CHECK_S
    storage.close()
    for suffix in ("-wal", "-shm", ""):
        os.rename(f"{drill.db}{suffix}", f"{drill.db}.old{suffix}")
    shutil.copy(copy, drill.db)
    storage = drill.storage()
    again = drill.send(storage, "until", str(go))  # the same row number as the one that the zombie runs
    heir = drill.worker(children=1, name="heir")
    wait_for(lambda: drill.executions() == 2)
    stop_outside_transactions(drill, {heir.pid})
    go.touch()
    wait_for(lambda: time.monotonic() > looks_again_at)  # until then it would write into the old file, which harms none
    os.killpg(zombie.pid, signal.SIGCONT)
    wait_for(lambda: told_of_its_loss(drill, "zombie"))
    assert storage.reader.find(again).state is State.LEASED  # type: ignore[union-attr]
    assert storage.reader.find(lost) is None, "it was accepted after the backup"
    os.killpg(heir.pid, signal.SIGCONT)
    wait_for(lambda: storage.reader.find(again).state is State.SUCCEEDED)  # type: ignore[union-attr]
    # The zombie works on the restored queue.
    assert drill.stop(heir) == 0
    more = [drill.send(storage, "work", n) for n in range(5)]
    wait_for(lambda: {r.state for r in storage.reader.find_many(more).values()} == {State.SUCCEEDED})
    assert drill.stop(zombie) == 0
    storage.close()
    assert integrity(drill.db) == "ok"


def test_all_that_the_copy_has_is_done(drill: Drill, tmp_path: Path) -> None:
    worker, producer = drill.worker(), drill.producer(0)
    wait_for(lambda: drill.executions() > 50)
    known = drill.accepted()
    storage = drill.storage()
    storage.backup(tmp_path / "copy.db")
    with pytest.raises(StorageInUse, match=f"PID {worker.pid} .*Stop all workers"):
        storage.driver.restore(tmp_path / "copy.db")
    for process in (producer, worker):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for path in drill.folder.glob("producer-*"):
        path.unlink()  # what came after the backup is not in it
    storage.driver.restore(tmp_path / "copy.db")
    (drill.folder / "producer-0").write_text("".join(f"{a.kind} {a.id} {a.expected}\n" for a in known))
    worker = drill.worker()
    # The copy may have nothing left to do: then a signal would come before the worker has a handler for it.
    wait_for(lambda: worker.pid in {one.pid for one in storage.reader.workers()})
    drill.wait_until_settled()
    assert drill.stop(worker) == 0
    storage.close()
    assert check_nothing_lost(drill)["accepted"] == len(known)


@libraries
@pytest.mark.parametrize("killed_at", ["os.link", "os.rename", "os.replace"])
def test_killed_at_any_moment_there_is_the_old_queue_or_the_copy(
    tmp_path: Path, library: str, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file were left, the next process would begin an empty queue, and nobody would know."""
    storage = queue(tmp_path / "queue.db", library)
    storage.enqueue(Batch([Message("in both", "t", b"[[],{}]")]))
    storage.backup(tmp_path / "copy.db")
    call = getattr(os, killed_at.removeprefix("os."))

    def kill(*args: object, **options: object) -> None:
        call(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(killed_at, kill)
    with suppress(KeyboardInterrupt):
        storage.driver.restore(tmp_path / "copy.db")
    monkeypatch.undo()
    assert (tmp_path / "queue.db").exists()
    storage.migrate()
    assert storage.reader.find("in both") is not None
    storage.close()


KILLED = """
import os, signal, sys
from liteq.storage.sqlite.keeping import backup
from liteq.storage.storage import open_storage
write = backup.write
def killed(session, part):
    write(session, part)
    open(f"{part}-journal", "w").close()
    if sys.argv[3] == "stays":
        print(part, flush=True)
        sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
backup.write = killed
open_storage(sys.argv[1]).driver.restore(__import__("pathlib").Path(sys.argv[2]))
"""


@libraries
def test_what_a_killed_restore_leaves_is_cleared_by_the_next_and_told_by_doctor(tmp_path: Path, library: str) -> None:
    storage = queue(tmp_path / "queue.db", library)
    storage.backup(tmp_path / "copy.db")
    storage.close()
    url = f"sqlite:///{tmp_path}/queue.db?driver={library}"
    restore = [sys.executable, "-c", KILLED, url, str(tmp_path / "copy.db")]
    assert subprocess.run([*restore, "dies"], check=False).returncode == -signal.SIGKILL
    (part,) = [path for path in tmp_path.glob("queue.db.part*") if path.name[-1].isdecimal()]
    with subprocess.Popen([*restore, "stays"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as busy:
        assert busy.stdout is not None
        living = Path(busy.stdout.readline().strip())
        assert not part.exists()
        assert living.exists()
        # As in a container, where the same number is another process's: the lock tells, not the number.
        assert parts.left(tmp_path / "queue.db") == []
        renamed = living.rename(tmp_path / f"queue.db.part{os.getpid()}")
        assert parts.left(tmp_path / "queue.db") == []
        renamed.rename(living)
        busy.kill()
    storage = queue(tmp_path / "queue.db", library)
    assert storage.driver.describe()["unfinished"] == [str(living)]
    assert storage.driver.restore(tmp_path / "copy.db") is not None
    assert not list(tmp_path.glob("*.part*"))
    storage.close()


@libraries
def test_what_is_no_backup_is_refused_and_changes_nothing(tmp_path: Path, library: str) -> None:
    storage = queue(tmp_path / "queue.db", library)
    storage.enqueue(Batch([Message("here", "t", b"[[],{}]")]))
    (tmp_path / "text").write_text("no database " * 100)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    for name, says in {
        "nowhere": "is not there",
        "folder": "is no file",
        "text": "is not a SQLite database",
        "empty": "has no queue in it",
        "queue.db": "is the queue itself",
    }.items():
        with pytest.raises(StorageError, match=says):
            storage.driver.restore(tmp_path / name)
    assert storage.reader.find("here") is not None
    storage.close()
    assert not list(tmp_path.glob("*.part*"))


@libraries
def test_the_queue_that_was_there_is_kept_and_can_be_put_back(tmp_path: Path, library: str) -> None:
    storage = queue(tmp_path / "queue.db", library)
    storage.backup(tmp_path / "copy.db")
    storage.enqueue(Batch([Message("after the backup", "t", b"[[],{}]")]))
    kept = storage.driver.restore(tmp_path / "copy.db")
    assert kept is not None
    assert storage.reader.find("after the backup") is None
    storage.driver.restore(kept)
    assert storage.reader.find("after the backup") is not None
    storage.close()
    assert integrity(kept) == "ok"
