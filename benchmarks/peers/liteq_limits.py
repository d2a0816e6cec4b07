"""liteq with limits by key, and with batches. The tasks without them are those of the adapter itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.peers import liteq as plain
from benchmarks.peers.liteq import app, send, send_many, slots

__all__ = ["hold", "holders", "send", "send_items", "send_keyed", "send_many", "stored", "workers", "writes"]

MODULE = "benchmarks.peers.liteq_limits"
USERS = 100


@app.task(batch=100, batch_wait=0.05)
def collect_items(items: list) -> list[int]:
    for item in items:
        slots.stamp(item.args[0])
    return [item.args[0] for item in items]


@app.task(max_concurrency=1_000, concurrency_key="user:{user}")
def keyed(i: int, user: int) -> int:
    slots.stamp(i)
    return i


@app.task(max_concurrency=1, concurrency_key="one")
def of_one(i: int) -> None:
    """Keeps the only place of its key; the others of that key are held."""
    time.sleep(3_600)


def workers(n: int) -> list[list[str]]:
    return plain.workers(n, MODULE)


def holders() -> list[list[str]]:
    return [[sys.executable, "-m", "liteq", "-A", MODULE, "worker", "-c", "1", "-Q", "slow"]]


def send_items(n: int, batch: int) -> None:
    """`batch` 1: as single tasks."""
    if batch == 1:
        send_many(0, n)
    else:
        app.enqueue_many(collect_items, ((i,) for i in range(n)))


def send_keyed(n: int) -> None:
    app.enqueue_many(keyed, ((i, i % USERS) for i in range(n)))


def hold(n: int) -> None:
    of_one.apply_async((0,), queue="slow")
    while not _exists("state = 'leased'"):
        time.sleep(0.01)
    app.enqueue_many(of_one, ((i,) for i in range(n)))
    while not stored(n):
        time.sleep(0.05)


def stored(n: int) -> bool:
    """Nothing waits that may run, nothing runs but what keeps the place."""
    return not _exists("state = 'pending'") and not _exists("state = 'leased' AND queue <> 'slow'")


def _exists(condition: str) -> bool:
    with app.storage.driver.read() as tx:
        return bool(tx.execute(f"SELECT EXISTS (SELECT 1 FROM liteq_messages WHERE {condition})")[0][0])


def writes(n: int) -> dict[str, float]:
    """Claim and acknowledge `n` tasks in this process: how many rows, and how many bytes, are written for each."""
    from liteq.message import Ack, WorkerIdentity

    me = app.storage.register_worker(WorkerIdentity("0", "bench", "bench", "none", 0, "0"))
    send_many(0, n)
    rows, written, done = _changes(), _written(), 0
    while leases := app.storage.claim(["celery"], worker=me, limit=10, visibility_s=600):
        app.storage.settle([(lease, Ack(b"1")) for lease in leases])
        done += len(leases)
    return {"writes_per_task": (_changes() - rows) / done, "bytes_per_task": (_written() - written) / done}


def _changes() -> int:
    """The rows that this process's one connection for writing has changed."""
    with app.storage.driver.write() as tx:
        return int(tx.execute("SELECT total_changes()")[0][0])


def _written() -> int:
    """The bytes that this process has written, to the log of the file above all."""
    io = Path("/proc/self/io").read_text()
    return int(io.split("wchar:")[1].split()[0])
