"""DBOS on SQLite or PostgreSQL, in one process, as its guide begins: steps run there, in its threads.

On SQLite it syncs each commit in a rollback journal, as shipped; with `wal` its file is in WAL mode before.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from dbos import DBOS

from benchmarks.peers.surroundings import FOLDER, OPTIONS, POSTGRESQL
from benchmarks.slots import attach

FILE = FOLDER / "dbos.db"
slots = attach()


@DBOS.step()
def mark(i: int) -> int:
    slots.stamp(i)
    return i


@DBOS.workflow()
def marks(first: int, steps: int) -> int:
    for i in range(first, first + steps):
        mark(i)
    return steps


def _launch() -> None:
    if OPTIONS.get("wal"):
        with closing(sqlite3.connect(FILE)) as db:
            db.execute("PRAGMA journal_mode=WAL")
    url = POSTGRESQL or f"sqlite:///{FILE}"
    DBOS(config={"name": "benchmarks", "system_database_url": url, "run_admin_server": False})
    DBOS.launch()


def own_steps(in_all: int, steps: int, at_once: int) -> dict[str, Any]:
    """One at a time: called as a function. Several: started in its pool of threads, as its guide does."""
    _launch()
    marks(slots.n - steps - 1, steps)
    rates, runs = [], max(at_once, in_all // steps)
    for first in range(0, runs, at_once):
        now = min(at_once, runs - first)
        if at_once == 1:
            marks(first * steps, steps)
        else:
            handles = [DBOS.start_workflow(marks, (first + run) * steps, steps) for run in range(now)]
            for handle in handles:
                handle.get_result()
        stamps = slots.times((first + now) * steps)[first * steps :]
        rates.append((now * steps - 1) / (max(stamps) - min(stamps)))
    executions = slots.executions(runs * steps)
    DBOS.destroy()
    return {
        "steps_per_s": sorted(rates)[len(rates) // 2],
        "lost": executions.count(0),
        "duplicated": sum(n > 1 for n in executions),
    }
