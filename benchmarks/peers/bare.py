"""The floor: one loop over one SQLite file, one task a transaction, and nothing of a task queue."""

from __future__ import annotations

import hashlib
import sys
import time
from functools import cache

import apsw
import orjson

from benchmarks.peers.surroundings import DURABILITY, FOLDER
from benchmarks.slots import Slots, attach

SYNC = {"relaxed": "NORMAL", "durable": "FULL"}[DURABILITY]
SCHEMA = """
CREATE TABLE IF NOT EXISTS task (id INTEGER PRIMARY KEY, state INTEGER NOT NULL DEFAULT 0, payload BLOB, result BLOB);
CREATE INDEX IF NOT EXISTS ready ON task (id) WHERE state = 0;
CREATE TABLE IF NOT EXISTS flow (id INTEGER PRIMARY KEY AUTOINCREMENT, first INTEGER NOT NULL, steps INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS step (flow INTEGER, scope TEXT, pos INTEGER, kind TEXT, name TEXT, arguments BLOB,
    output BLOB, started REAL, ended REAL, PRIMARY KEY (flow, scope, pos)) WITHOUT ROWID;
"""
CLAIM = """
UPDATE task SET state = 1 WHERE id = (SELECT id FROM task WHERE state = 0 ORDER BY id LIMIT 1) RETURNING id, payload
"""


@cache
def connection() -> apsw.Connection:
    db = apsw.Connection(str(FOLDER / "bare.db"))
    db.set_busy_timeout(5000)
    db.execute(f"PRAGMA journal_mode=WAL; PRAGMA synchronous={SYNC}").fetchall()
    db.execute(SCHEMA).fetchall()
    return db


def workers(n: int) -> list[list[str]]:
    return [[sys.executable, "-m", "benchmarks.peers.bare"]]


def parallel() -> int:
    return 1


def send(i: int) -> None:
    connection().execute("INSERT INTO task (payload) VALUES (?)", (orjson.dumps([[i], {}]),))


def send_many(first: int, n: int) -> None:
    with connection() as db:
        db.executemany(
            "INSERT INTO task (payload) VALUES (?)", ((orjson.dumps([[i], {}]),) for i in range(first, first + n))
        )


def call(i: int) -> None:
    db = connection()
    send(i)
    task = db.last_insert_rowid()
    while not db.execute("SELECT result FROM task WHERE id = ?", (task,)).fetchone()[0]:
        time.sleep(0.0002)


def stored(n: int) -> bool:
    return not connection().execute("SELECT EXISTS (SELECT 1 FROM task WHERE result IS NULL)").fetchone()[0]


def claims(n: int) -> list[float]:
    took = []
    for _ in range(n):
        before = time.perf_counter()
        connection().execute(CLAIM).fetchall()
        took.append(time.perf_counter() - before)
    return took


def flows(runs: int, steps: int, first: int) -> None:
    for run in range(runs):
        connection().execute("INSERT INTO flow (first, steps) VALUES (?, ?)", (first + run * steps, steps))


def _run_flow(db: apsw.Connection, slots: Slots, flow: int, first: int, steps: int) -> None:
    """One commit a step, of all that one has to know of a step; and one for the end."""
    for step in range(steps):
        begun, arguments = time.time(), hashlib.blake2b(orjson.dumps([first + step]), digest_size=8).digest()
        slots.stamp(first + step)
        row = (flow, "", step, "step", "mark", arguments, orjson.dumps(step), begun, time.time())
        db.execute("INSERT INTO step VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.execute("DELETE FROM flow WHERE id = ?", (flow,))


def work() -> None:
    """Until it is killed."""
    slots, db = attach(), connection()
    while True:
        db.execute("BEGIN IMMEDIATE")
        row = db.execute(CLAIM).fetchone()
        if row:
            (i,), _ = orjson.loads(row[1])
            slots.stamp(i)
            db.execute("UPDATE task SET state = 2, result = ? WHERE id = ?", (orjson.dumps(i), row[0]))
        db.execute("COMMIT")
        flow = None if row else db.execute("SELECT id, first, steps FROM flow ORDER BY id LIMIT 1").fetchone()
        if flow:
            _run_flow(db, slots, *flow)
        elif not row:
            time.sleep(0.0005)


if __name__ == "__main__":
    work()
