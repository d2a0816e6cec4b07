"""Others hold locks, read without end, or are stopped in the middle: a clear error, and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq.exceptions import StorageBusy
from liteq.message import Message, new_id
from liteq.serialization import decode
from liteq.states import State
from liteq.storage.sqlite.checkpoint import LARGE_LOG
from liteq.storage.storage import open_storage

from .harness import Drill, integrity, wait_for
from .sizes import size

ZOMBIES = size("ZOMBIES", 2, 100)
STOPPED = size("STOPPED_WRITERS", 3, 50)
LOCKED_S = size("LOCKED_S", 3, 60)
READERS = size("LONG_READERS", 1, 10)

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="who holds a lock is read from /proc/locks"),
]

STRANGER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchone()
print("holding", flush=True)
sys.stdin.readline()
"""
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
    drill = Drill(tmp_path, settings={"LITEQ_VISIBILITY_TIMEOUT": "1", "LITEQ_BUSY_TIMEOUT": "1"})
    drill.storage().close()
    yield drill
    drill.close()


Hold = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def hold(drill: Drill) -> Iterator[Hold]:
    """Start a process that takes something and keeps it until it is told to go on."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *args]
        process = subprocess.Popen(command, env=drill.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_worker_stopped_past_its_lease_cannot_acknowledge(drill: Drill, tmp_path: Path) -> None:
    storage = drill.storage()
    for cycle in range(ZOMBIES):
        go = tmp_path / f"go-{cycle}"
        zombie = drill.worker(children=1, name=f"zombie-{cycle}")
        task = drill.send(storage, "until", str(go))
        wait_for(lambda: drill.ledger()[task] == 1)
        os.killpg(zombie.pid, signal.SIGSTOP)
        heir = drill.worker(children=1, name=f"heir-{cycle}")
        wait_for(lambda: drill.ledger()[task] == 2)
        go.touch()
        wait_for(lambda: storage.find(task).state is State.SUCCEEDED)  # type: ignore[union-attr]
        before = storage.find(task)
        os.killpg(zombie.pid, signal.SIGCONT)
        wait_for(lambda: "lost to another worker" in drill.log(f"zombie-{cycle}") or kicked_out(drill, cycle))
        assert storage.find(task) == before
        assert drill.stop(heir) == 0
        # The zombie is a worker again.
        another = drill.send(storage, "work", 7)
        wait_for(lambda: storage.find(another).state is State.SUCCEEDED)  # type: ignore[union-attr]
        assert drill.stop(zombie) == 0
    storage.close()


def kicked_out(drill: Drill, cycle: int) -> bool:
    """Its heartbeat found the lease lost first, and it killed the child that still worked on it."""
    return "signal SIGKILL" in drill.log(f"zombie-{cycle}")


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
        assert 0.2 <= time.monotonic() - began < 2
        assert storage.counts() == [], "who reads does not wait for who writes"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert storage.enqueue_many([Message(new_id(), "t", b"[[],{}]")]) == 1
        storage.purge()
    storage.close()


def test_a_worker_outlives_a_file_that_a_stranger_has_locked(drill: Drill, hold: Hold) -> None:
    worker = drill.worker()
    storage = drill.storage()
    ids = [drill.send(storage, "work", n) for n in range(200)]
    wait_for(lambda: len(drill.ledger()) > 20)
    stranger = hold(STRANGER, str(drill.db), "PRAGMA busy_timeout=30000", "BEGIN EXCLUSIVE")
    locked_at = time.monotonic()
    wait_for(lambda: f"PID {stranger.pid} " in drill.log(), within_s=LOCKED_S + 10)
    wait_for(lambda: time.monotonic() - locked_at > LOCKED_S, within_s=LOCKED_S + 10)
    assert worker.poll() is None
    stranger.communicate("go on\n")
    wait_for(lambda: {r.state for r in storage.find_many(ids).values()} == {State.SUCCEEDED}, within_s=30)
    assert [decode(storage.find(id_).result or b"") for id_ in ids] == list(range(200))  # type: ignore[union-attr]
    storage.close()
    assert drill.stop(worker) == 0
    assert drill.log().count("\n") < 100 + LOCKED_S, "the log was flooded"
    assert integrity(drill.db) == "ok"


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
        assert slowest_s < 5, "a long reader must not hold writers up"
        assert any(f"PID {reader.pid} " in warning for warning in storage.driver.warnings())
        wait_for(lambda: f"PID {reader.pid} " in drill.log(name))
        reader.communicate("go on\n")
        # Now the log can be folded, starts anew, and is cut.
        storage.checkpoint()
        storage.purge(["other"])
        wait_for(lambda: write_and_look(drill, storage) < LARGE_LOG // 2)
        assert storage.driver.warnings() == []
        assert drill.stop(worker) == 0
    storage.close()


def write_and_look(drill: Drill, storage: object) -> int:
    storage.checkpoint()  # type: ignore[attr-defined]
    drill.send(storage, "work", 1)  # type: ignore[arg-type]
    return os.stat(f"{drill.db}-wal").st_size
