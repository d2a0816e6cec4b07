"""Forks with an open storage, and sixty-four producers at once: every id that was returned is there, once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Drill, integrity
from .ledger import present
from .sizes import NIGHTLY, size

FORKS = size("FORKS", 20, 500)
EACH = size("PRODUCER_ROWS", 1_280, 1_000_000) // 128  # of each of the 64, through each of the two libraries

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.parametrize("library", ["apsw", "stdlib"]),
]

HEAD = """
import multiprocessing, os, sys, threading, time
from liteq.exceptions import StorageError
from liteq.message import Batch, Message, new_id
from liteq.storage.storage import open_storage
storage = open_storage(sys.argv[1])
n = int(sys.argv[2])
def say(text):  # one write: lines of many processes stay whole
    os.write(1, (text + "\\n").encode())
def send():
    id_ = storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))[0]
    say(f"accepted {id_}")
"""
FORKS_BESIDE_THREADS = """
stop = threading.Event()
def producer():
    while not stop.is_set():
        send()
threads = [threading.Thread(target=producer) for _ in range(3)]
for thread in threads:
    thread.start()
pids = []
for _ in range(n):
    send()
    pid = os.fork()
    if pid == 0:
        try:
            for _ in range(5):
                send()
        except StorageError as exc:
            say(f"refused {exc}")
        except BaseException as exc:
            say(f"broken {exc!r}")
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
stop.set()
for thread in threads:
    thread.join()
"""
FORK_INSIDE_A_TRANSACTION = """
storage.driver.busy_timeout_s = 0.5  # its parent has the write lock: who asked for it would wait
for _ in range(n):
    with storage.driver.write() as tx:
        tx.execute("UPDATE liteq_meta SET value = value + 1 WHERE key = 'epoch'")
        pid = os.fork()
        if pid == 0:
            try:
                send()
                say("broken: sent over a transaction of its parent")
            except StorageError as exc:
                say(f"refused {exc}")
            os._exit(0)
        os.waitpid(pid, 0)
    send()
"""
POOL = """
def work(_):
    for _ in range(10):
        send()
send()
with multiprocessing.get_context("fork").Pool(4) as pool:
    pool.map(work, range(n))
"""
PRODUCERS = """
storage.close()
times = []
pids = []
go_r, go_w = os.pipe()
for _ in range(64):
    pid = os.fork()
    if pid == 0:
        os.close(go_w)
        os.read(go_r, 1)
        slow = []
        try:
            for _ in range(n):
                began = time.perf_counter()
                id_ = storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))[0]
                slow.append(time.perf_counter() - began)
                say(f"accepted {id_}")
        except BaseException as exc:
            say(f"broken {exc!r}")
        slow.sort()
        say(f"p99 {slow[int(len(slow) * 0.99)]}")
        os._exit(0)
    pids.append(pid)
os.close(go_w)
for pid in pids:
    os.waitpid(pid, 0)
"""


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path)
    drill.storage().close()
    yield drill
    drill.close()


def run(drill: Drill, library: str, code: str, n: int) -> dict[str, list[str]]:
    """Run a program; what its processes said, by the first word. Every id that was accepted is in the file, once."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HEAD + code]
    url = f"sqlite:///{drill.db}?driver={library}"
    done = subprocess.run([*command, url, str(n)], env=drill.env, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        said.setdefault(word, []).append(rest)
    assert "broken" not in said, said["broken"]
    storage = drill.storage()
    assert sorted(present(storage)) == sorted(said["accepted"])
    storage.close()
    assert integrity(drill.db) == "ok"
    return said


def test_children_forked_beside_busy_threads_have_connections_of_their_own(drill: Drill, library: str) -> None:
    said = run(drill, library, FORKS_BESIDE_THREADS, FORKS)
    refused = len(said.get("refused", []))  # where a thread did not come to the end of its transaction in time
    assert refused < FORKS // 2
    assert len(said["accepted"]) >= 6 * FORKS - 5 * refused


def test_a_child_forked_inside_a_transaction_is_refused(drill: Drill, library: str) -> None:
    said = run(drill, library, FORK_INSIDE_A_TRANSACTION, FORKS)
    assert len(said["refused"]) == FORKS
    assert all("when it forked this one" in text for text in said["refused"]), said["refused"][0]
    assert len(said["accepted"]) == FORKS


def test_a_pool_of_forked_processes_enqueues(drill: Drill, library: str) -> None:
    assert len(run(drill, library, POOL, FORKS)["accepted"]) == 10 * FORKS + 1


def test_64_producers_meet_no_locked_database(drill: Drill, library: str) -> None:
    said = run(drill, library, PRODUCERS, EACH)
    assert len(said["accepted"]) == 64 * EACH
    p99 = sorted(map(float, said["p99"]))
    print(f"p99 of an enqueue, of the middle one of 64 producers: {p99[len(p99) // 2] * 1000:.0f} ms")
    # The design's figure is 250 ms on an idle machine; a test must not fail since others use this one.
    assert p99[len(p99) // 2] < (2.0 if NIGHTLY else 20.0), p99
