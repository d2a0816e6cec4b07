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
UPDATE task SET state = 1 WHERE id IN (SELECT id FROM task WHERE state = 0 ORDER BY id LIMIT {}) RETURNING id, payload
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


def send_items(n: int, batch: int) -> None:
    """Items that the loop takes `batch` at a time, in one transaction."""
    connection().execute(f"PRAGMA user_version = {batch}").fetchall()
    send_many(0, n)


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
        connection().execute(CLAIM.format(1)).fetchall()
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
    claim = CLAIM.format(db.execute("PRAGMA user_version").fetchone()[0] or 1)
    while True:
        db.execute("BEGIN IMMEDIATE")
        rows = db.execute(claim).fetchall()
        for task, payload in rows:
            (i,), _ = orjson.loads(payload)
            slots.stamp(i)
            db.execute("UPDATE task SET state = 2, result = ? WHERE id = ?", (orjson.dumps(i), task))
        db.execute("COMMIT")
        flow = None if rows else db.execute("SELECT id, first, steps FROM flow ORDER BY id LIMIT 1").fetchone()
        if flow:
            _run_flow(db, slots, *flow)
        elif not rows:
            time.sleep(0.0005)


if __name__ == "__main__":
    work()
