"""Others hold locks, read without end, or are stopped in the middle: a clear error, and nothing lost."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.exceptions import StorageBusy
from liteq.message import Message, new_id
from liteq.serialization import decode
from liteq.states import State
from liteq.storage.sqlite.keeping.checkpoint import LARGE_LOG
from liteq.storage.storage import Storage, open_storage
from liteq.storage.upkeep import Check

from .harness import (
    STRANGER,
    Drill,
    Hold,
    children_of,
    integrity,
    stop_outside_transactions,
    told_of_its_loss,
    wait_for,
)
from .sizes import size

ZOMBIES = size("ZOMBIES", 6, 1_000)
AT_ONCE = min(20, ZOMBIES)  # zombies that are stopped together
STOPPED = size("STOPPED_WRITERS", 5, 100)
LOCKED = size("LOCKED_FILES", 1, 20)
LOCKED_S = size("LOCKED_S", 3, 60)
READERS = size("LONG_READERS", 1, 10)

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="who holds a lock is read from /proc/locks"),
]

WRITER = """
import sys
from liteq.storage import open_driver
driver = open_driver(sys.argv[1])
with driver.write() as tx:
    tx.execute("UPDATE liteq_meta SET value = value + 1 WHERE key = 'epoch'")
    print("holding", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path, forked=True, settings={"LITEQ_VISIBILITY_TIMEOUT": "2", "LITEQ_BUSY_TIMEOUT": "1"})
    drill.storage().close()
    yield drill
    drill.close()


def test_workers_stopped_past_their_leases_cannot_acknowledge(drill: Drill, tmp_path: Path) -> None:
    storage = drill.storage()
    for cycle in range(max(1, ZOMBIES // AT_ONCE)):
        go = tmp_path / f"go-{cycle}"
        names = [f"zombie-{cycle}-{n}" for n in range(AT_ONCE)]
        zombies = {name: drill.worker(children=1, name=name) for name in names}
        wait_for(lambda: len(storage.reader.workers()) >= AT_ONCE, within_s=60)
        before = drill.executions()
        tasks = [drill.send(storage, "until", str(go)) for _ in names]
        wait_for(lambda: drill.ledger().keys() >= set(tasks), within_s=60)
        stop_outside_transactions(drill, {zombie.pid for zombie in zombies.values()})
        heir = drill.worker(children=AT_ONCE, name=f"heir-{cycle}")
        wait_for(lambda: drill.executions() >= before + 2 * AT_ONCE, within_s=60)
        heirs = set(children_of(heir.pid))
        go.touch()
        wait_for(lambda: {r.state for r in storage.reader.find_many(tasks).values()} == {State.SUCCEEDED}, within_s=60)
        records = storage.reader.find_many(tasks)
        assert {decode(r.result or b"null") for r in records.values()} <= heirs
        for zombie in zombies.values():
            os.killpg(zombie.pid, signal.SIGCONT)
        for name in names:
            wait_for(lambda: told_of_its_loss(drill, name), within_s=60)
        assert storage.reader.find_many(tasks) == records, "a zombie's write changed something"
        assert drill.stop(heir) == 0
        # The zombies are workers again.
        more = [drill.send(storage, "work", n) for n in range(2 * AT_ONCE)]
        wait_for(lambda: {r.state for r in storage.reader.find_many(more).values()} == {State.SUCCEEDED}, within_s=60)
        assert [drill.stop(zombie) for zombie in zombies.values()] == [0] * AT_ONCE
    storage.close()
    assert integrity(drill.db) == "ok"


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_a_writer_stopped_in_its_transaction_is_named_to_the_others(drill: Drill, hold: Hold, library: str) -> None:
    url = f"sqlite:///{drill.db}?driver={library}"
    storage = open_storage(url, busy_timeout_s=0.2)
    for _ in range(STOPPED):
        writer = hold(WRITER, url)
        writer.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(StorageBusy, match=f"PID {writer.pid} "):
            storage.enqueue_many([Message(new_id(), "t", b"[[],{}]")])
        assert 0.2 <= time.monotonic() - began < 20
        assert storage.reader.counts() == [], "who reads does not wait for who writes"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert storage.enqueue_many([Message(new_id(), "t", b"[[],{}]")]) == 1
        storage.purge()
    storage.close()


def test_the_doctor_names_who_keeps_all_others_from_writing(drill: Drill, hold: Hold) -> None:
    """It looks only, and does not wait itself: all that it said of such a queue was ok."""
    storage = drill.storage()
    assert lock_of(storage) == []
    stranger = hold(STRANGER, str(drill.db), "BEGIN IMMEDIATE")
    (found,) = lock_of(storage)
    assert (found.status, f"PID {stranger.pid} " in found.detail) == ("warning", True)
    stranger.communicate("go on\n")
    writer = hold(WRITER, f"sqlite:///{drill.db}")
    writer.send_signal(signal.SIGSTOP)
    assert [f"PID {writer.pid} " in one.detail for one in lock_of(storage)] == [True]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert lock_of(storage) == []
    storage.close()


def lock_of(storage: Storage) -> list[Check]:
    return [one for one in storage.driver.checks(storage.driver.describe()) if one.name == "write lock"]


def test_a_worker_outlives_a_file_that_a_stranger_has_locked(drill: Drill, hold: Hold, tmp_path: Path) -> None:
    drills = [drill]
    for n in range(1, LOCKED):  # all at once, each with a file and a stranger of its own: they only wait
        (tmp_path / f"{n}").mkdir()
        drills.append(Drill(tmp_path / f"{n}", settings=drill.settings))
        drills[n].storage().close()
    try:
        workers = [one.worker() for one in drills]
        storages = [one.storage() for one in drills]
        ids = [[one.send(s, "work", n) for n in range(100)] for one, s in zip(drills, storages, strict=True)]
        wait_for(lambda: all(one.executions() > 10 for one in drills), within_s=60)
        strangers = [hold(STRANGER, str(one.db), "PRAGMA busy_timeout=30000", "BEGIN EXCLUSIVE") for one in drills]
        locked_at = time.monotonic()
        for one, stranger in zip(drills, strangers, strict=True):
            wait_for(lambda: f"PID {stranger.pid} " in one.log(), within_s=LOCKED_S + 30)
        wait_for(lambda: time.monotonic() - locked_at > LOCKED_S, within_s=LOCKED_S + 10)
        assert [worker.poll() for worker in workers] == [None] * len(drills)
        for stranger in strangers:
            stranger.communicate("go on\n")
        for one, storage, worker, sent in zip(drills, storages, workers, ids, strict=True):
            wait_for(
                lambda: {r.state for r in storage.reader.find_many(sent).values()} == {State.SUCCEEDED}, within_s=60
            )
            assert [decode(storage.reader.find(id_).result or b"") for id_ in sent] == list(range(100))  # type: ignore[union-attr]
            storage.close()
            assert one.stop(worker) == 0
            lines = [line for line in one.log().splitlines() if " received" not in line and " succeeded" not in line]
            assert len(lines) < 100 + LOCKED_S, "the log was flooded"
            assert integrity(one.db) == "ok"
    finally:
        for one in drills[1:]:
            one.close()


def test_a_reader_without_end_is_named_and_holds_nobody_up(drill: Drill, hold: Hold) -> None:
    storage = drill.storage()
    megabyte = b'[["%b"],{}]' % (b"x" * 1024 * 1024)
    for n in range(READERS):
        name = f"worker-{n}"
        worker = drill.worker(name=name)
        reader = hold(STRANGER, str(drill.db), "BEGIN", "SELECT count(*) FROM liteq_messages")
        slowest_s = 0.0
        while os.stat(f"{drill.db}-wal").st_size < LARGE_LOG:
            storage.enqueue_many([Message(new_id(), "t", megabyte, queue="other") for _ in range(8)])
            began = time.monotonic()
            drill.send(storage, "work", 1)
            slowest_s = max(slowest_s, time.monotonic() - began)
        assert slowest_s < 15, "a long reader must not hold writers up"
        assert any(f"PID {reader.pid} " in warning for warning in storage.driver.warnings())
        wait_for(lambda: f"PID {reader.pid} " in drill.log(name))
        reader.communicate("go on\n")
        # Now the log can be folded, starts anew, and is cut.
        storage.driver.fold_log()
        storage.purge(["other"])
        wait_for(lambda: write_and_look(drill, storage) < LARGE_LOG // 2)
        assert storage.driver.warnings() == []
        assert drill.stop(worker) == 0
    storage.close()


def write_and_look(drill: Drill, storage: object) -> int:
    storage.driver.fold_log()  # type: ignore[attr-defined]
    drill.send(storage, "work", 1)  # type: ignore[arg-type]
    return os.stat(f"{drill.db}-wal").st_size
