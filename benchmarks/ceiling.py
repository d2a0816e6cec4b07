"""The ceiling: what a bare prefork pipeline over one SQLite file does, with none of a task queue's features.

The parent claims in batches, sends frames to forked children, settles in batches; a child decodes, calls, encodes.
What liteq adds to this is what its features cost. A yardstick, not a design: it loses work when anything dies.

    python -m benchmarks.ceiling [TASKS] [CHILDREN] [BATCH]    prints JSON
"""

from __future__ import annotations

import os
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import orjson

HEAD = 4
SCHEMA = """
CREATE TABLE task (id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT, queue TEXT, priority INTEGER,
                   state INTEGER, payload BLOB, attempts INTEGER DEFAULT 0, until REAL, owner INTEGER, result BLOB,
                   done REAL);
CREATE INDEX task_ready ON task (queue, priority, id) WHERE state = 0;
CREATE INDEX task_leased ON task (until) WHERE state = 1;
"""
CLAIM = """
UPDATE task SET state = 1, until = ?, owner = 1, attempts = attempts + 1
 WHERE id IN (SELECT id FROM task WHERE state = 0 AND queue = 'q' ORDER BY priority, id LIMIT ?)
RETURNING id, name, payload
"""
SETTLE = "UPDATE task SET state = 2, result = ?, done = ?, until = NULL WHERE id = ? AND owner = 1 AND state = 1"


def connect(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000", "cache_size=-64000"):
        db.execute(f"PRAGMA {pragma}")
    return db


def fill(path: Path, tasks: int) -> None:
    db = connect(path)
    for _ in db.execute(SCHEMA):
        pass
    payload = orjson.dumps([[1, 2], {}])
    with db:
        db.executemany(
            "INSERT INTO task (uid, name, queue, priority, state, payload) VALUES (?, 'add', 'q', 0, 0, ?)",
            ((f"{i:036d}", payload) for i in range(tasks)),
        )
    db.close()


def send(sock: socket.socket, value: Any) -> None:
    data = orjson.dumps(value)
    sock.sendall(len(data).to_bytes(HEAD, "little") + data)


def reader(sock: socket.socket) -> Callable[[], Any]:
    stream = sock.makefile("rb")

    def read() -> Any:
        head = stream.read(HEAD)
        return orjson.loads(stream.read(int.from_bytes(head, "little"))) if head else None

    return read


def serve(sock: socket.socket) -> None:
    functions, read = {"add": lambda a, b: a + b}, reader(sock)
    while (batch := read()) is not None:
        reply = []
        for task, name, payload in batch:
            args, kwargs = orjson.loads(payload)
            reply.append((task, orjson.dumps(functions[name](*args, **kwargs)).decode(), time.monotonic()))
        send(sock, reply)


def fork_children(n: int) -> list[socket.socket]:
    ends: list[socket.socket] = []
    for _ in range(n):
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            for end in [ours, *ends]:
                end.close()
            serve(theirs)
            os._exit(0)
        theirs.close()
        ends.append(ours)
    return ends


def drain(db: apsw.Connection, ends: list[socket.socket], tasks: int, batch: int) -> None:
    reads = {end.fileno(): reader(end) for end in ends}
    by_fd = {end.fileno(): end for end in ends}
    load = dict.fromkeys(by_fd, 0)
    waiting: list[Any] = []
    done, dry = 0, False
    while done < tasks:
        for fd, end in by_fd.items():
            if load[fd] > batch // 2 or dry:
                continue
            if not waiting:
                waiting = list(db.execute(CLAIM, (time.monotonic() + 30, batch * len(ends) * 2)))
                dry = not waiting
            take, waiting = waiting[:batch], waiting[batch:]
            if take:
                send(end, [(i, name, payload.decode()) for i, name, payload in take])
                load[fd] += len(take)
        settled = []
        for fd in select.select(list(by_fd), [], [], 1.0)[0]:
            reply = reads[fd]()
            load[fd] -= len(reply)
            settled += reply
        if settled:
            with db:
                db.executemany(SETTLE, [(result, at, i) for i, result, at in settled])
            done += len(settled)


def main(tasks: int = 20_000, children: int = 2, batch: int = 32) -> float:
    """Tasks per second."""
    with tempfile.TemporaryDirectory(prefix="ceiling-") as folder:
        path = Path(folder) / "q.db"
        fill(path, tasks)
        ends = fork_children(children)
        db = connect(path)
        start = time.perf_counter()
        drain(db, ends, tasks, batch)
        wall = time.perf_counter() - start
        db.close()
        for end in ends:
            end.close()
        for _ in ends:
            os.wait()
    return tasks / wall


if __name__ == "__main__":
    rate = main(*map(int, sys.argv[1:]))
    print(orjson.dumps({"tasks_per_s": round(rate)}).decode())
