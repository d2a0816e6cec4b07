"""Which way of taking turns at the write lock is best? Prints the table of docs/adr/0006-write-gate.md.

    python benchmarks/gate_experiment.py [--seconds 3] [--work 0] [--dir DIR]

Each contestant commits one small row at a time from N processes to one file; between two it is busy with other things
for `--work` microseconds. "wait" is the time from wanting the
write lock to having it. Ways: `moment` = as liteq does, flock(LOCK_NB) again and again for 0.1 ms, then as `thread`;
`poll` = flock(LOCK_NB) with jittered sleeps that get shorter the longer one has waited;
`thread` = flock(LOCK_NB), then a blocking flock in a helper thread that is joined with a timeout; `none` = no gate,
BEGIN IMMEDIATE with timeout 0 and sleeps of 0.2 - 1.2 ms; `blocking` = a plain flock, which cannot time out (the
reference); `busy` = SQLite's own busy_timeout.
"""

from __future__ import annotations

import argparse
import fcntl
import multiprocessing
import os
import random
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import apsw

TIMEOUT_S = 30.0
Enter = Callable[[apsw.Connection, int], None]


def try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def poll(connection: apsw.Connection, fd: int) -> None:
    start = time.monotonic()
    while not try_lock(fd):
        waited = time.monotonic() - start
        time.sleep(random.uniform(0.5, 1.0) * max(0.0003, 0.004 * 0.02 / (0.02 + waited)))
    connection.execute("BEGIN IMMEDIATE")


def moment(connection: apsw.Connection, fd: int) -> None:
    end = time.monotonic() + 100e-6
    while not try_lock(fd):
        if time.monotonic() >= end:
            thread(connection, fd)
            return
    connection.execute("BEGIN IMMEDIATE")


def thread(connection: apsw.Connection, fd: int) -> None:
    if not try_lock(fd):
        helper = threading.Thread(target=fcntl.flock, args=(fd, fcntl.LOCK_EX), daemon=True)
        helper.start()
        helper.join(TIMEOUT_S)
    connection.execute("BEGIN IMMEDIATE")


def none(connection: apsw.Connection, fd: int) -> None:
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except apsw.BusyError:
            time.sleep(random.uniform(0.0002, 0.0012))


def blocking(connection: apsw.Connection, fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX)
    connection.execute("BEGIN IMMEDIATE")


def busy(connection: apsw.Connection, fd: int) -> None:
    connection.execute("BEGIN IMMEDIATE")


WAYS: dict[str, Enter] = {
    "moment": moment,
    "thread": thread,
    "poll": poll,
    "none": none,
    "busy": busy,
    "blocking": blocking,
}
GATED = {"moment", "thread", "poll", "blocking"}


def writer(path: str, way: str, sync: str, seconds: float, work_s: float, barrier: Barrier, results: Any) -> None:
    connection = apsw.Connection(path)
    connection.set_busy_timeout(0 if way == "none" else int(TIMEOUT_S * 1000))
    connection.execute(f"PRAGMA synchronous={sync}; PRAGMA wal_autocheckpoint=0").fetchall()
    fd = os.open(path + "-gate", os.O_RDWR | os.O_CREAT, 0o600)
    enter, gated, waits = WAYS[way], way in GATED, []
    barrier.wait()
    end = time.monotonic() + seconds
    while (start := time.monotonic()) < end:
        enter(connection, fd)
        waits.append(time.monotonic() - start)
        connection.execute("INSERT INTO t (body) VALUES (?)", (b"x" * 200,))
        connection.execute("COMMIT")
        if gated:
            fcntl.flock(fd, fcntl.LOCK_UN)
        busy_until = time.monotonic() + work_s
        while time.monotonic() < busy_until:
            pass
    usage = resource.getrusage(resource.RUSAGE_SELF)
    results.put((waits, usage.ru_utime + usage.ru_stime))
    results.close()
    results.join_thread()
    os._exit(0)  # a last close would checkpoint


def measure(folder: Path, way: str, processes: int, sync: str, seconds: float, work_s: float) -> str:
    path = str(folder / f"{way}-{processes}-{sync}.db")
    connection = apsw.Connection(path)
    connection.execute("PRAGMA journal_mode=WAL; CREATE TABLE t (seq INTEGER PRIMARY KEY, body BLOB)").fetchall()
    connection.close()
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(processes), context.Queue()
    arguments = (path, way, sync, seconds, work_s, barrier, results)
    children = [context.Process(target=writer, args=arguments) for _ in range(processes)]
    for child in children:
        child.start()
    answers = [results.get() for _ in children]
    for child in children:
        child.join()
    waits = sorted(wait for answer, _ in answers for wait in answer)
    counts = [len(answer) for answer, _ in answers]
    cpu_us = 1e6 * sum(cpu for _, cpu in answers) / len(waits)
    p99, worst = waits[int(len(waits) * 0.99)] * 1000, waits[-1] * 1000
    least = min(counts) * processes / sum(counts)
    return f"{len(waits) / seconds:9,.0f} {p99:9.1f} {worst:9.1f} {least:11.2f} {cpu_us:12.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--work", type=float, default=0.0, help="microseconds between two transactions")
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args()
    print(f"{'writers':14} {'way':9} {'txn/s':>9} {'p99 ms':>9} {'worst ms':>9} {'least share':>11} {'CPU us/txn':>12}")
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        for processes, sync in ((64, "FULL"), (64, "NORMAL"), (4, "NORMAL"), (2, "NORMAL"), (1, "NORMAL")):
            for way in options.ways.split(","):
                figures = measure(Path(folder), way, processes, sync, options.seconds, options.work * 1e-6)
                print(f"{processes:3} {sync:10} {way:9} {figures}", flush=True)


if __name__ == "__main__":
    main()
