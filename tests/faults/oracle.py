"""The oracle: what is wrong with a file, asked in SQL.

`python -m tests.faults.oracle FILE` asks on a fresh connection of Python's own sqlite3, in a process of its own: a
writer's page cache can hide damage, and two SQLite libraries in one process take each other's locks away.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from liteq.flags import Flag
from liteq.states import UNFINISHED, sql_list

__all__ = ["AT_REST", "OF_ALL_ROWS", "ORACLE", "ask_afresh"]

ROOT = Path(__file__).resolve().parents[2]
OPEN = sql_list(UNFINISHED)
FAILED = "('dead', 'cancelled', 'upstream_failed')"

ORACLE = {
    "a counter": f"""
        SELECT g.id, g.remaining FROM liteq_groups AS g WHERE g.remaining <>
            (SELECT count(*) FROM liteq_messages AS m WHERE m.group_id = g.id AND m.state IN {OPEN})
            + (SELECT count(*) FROM liteq_groups AS c WHERE c.group_id = g.id AND c.remaining > 0)""",
    "failures counted": f"""
        SELECT g.id, g.failed FROM liteq_groups AS g WHERE g.failed <>
            (SELECT count(*) FROM liteq_messages AS m WHERE m.group_id = g.id AND m.state IN {FAILED})
            + (SELECT count(*) FROM liteq_groups AS c WHERE c.group_id = g.id AND c.failed > 0)""",
    "members": """
        SELECT g.id, g.size FROM liteq_groups AS g WHERE g.size <>
            (SELECT count(*) FROM liteq_messages AS m WHERE m.group_id = g.id)
            + (SELECT count(*) FROM liteq_groups AS c WHERE c.group_id = g.id)""",
    "a member of no group": """
        SELECT m.id FROM liteq_messages AS m
         WHERE m.group_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM liteq_groups AS g WHERE g.id = m.group_id)""",
    "a body of no row": """
        SELECT ref FROM liteq_bodies AS b
         WHERE NOT EXISTS (
            SELECT 1 FROM liteq_messages AS m
             WHERE m.seq = b.ref / 2 AND length(CASE b.ref % 2 WHEN 0 THEN m.payload ELSE m.result END) = 0)""",
    "a row without its body": """
        SELECT id FROM liteq_messages AS m
         WHERE (length(payload) = 0 AND NOT EXISTS (SELECT 1 FROM liteq_bodies AS b WHERE b.ref = 2 * m.seq))
            OR (length(result) = 0 AND NOT EXISTS (SELECT 1 FROM liteq_bodies AS b WHERE b.ref = 2 * m.seq + 1))""",
    "a key held twice": f"""
        SELECT unique_key FROM liteq_messages WHERE state IN {OPEN} AND unique_key IS NOT NULL
         GROUP BY unique_key HAVING count(*) > 1""",
    "waits for what has ended": f"""
        SELECT w.id, w.task, w.awaits FROM liteq_messages AS w
         WHERE w.state = 'blocked'
           -- A run that is suspended awaits no message, and a child of a `map` that has a slot says which.
           AND (w.flags & {Flag.RUN} = 0 OR (w.awaits IS NOT NULL AND w.awaits NOT LIKE 'held %'))
           AND NOT EXISTS (
            SELECT 1 FROM liteq_messages AS m
             WHERE w.awaits LIKE 'slot %' AND m.awaits = 'held ' || substr(w.awaits, 6) AND m.state IN {OPEN})
           AND NOT EXISTS (SELECT 1 FROM liteq_messages AS m WHERE m.id = w.awaits AND m.state IN {OPEN})
           AND NOT EXISTS (SELECT 1 FROM liteq_groups AS g WHERE g.id = w.awaits AND g.remaining > 0)""",
    "a place without its lease": """
        SELECT s.key, s.seq FROM liteq_slots AS s
         WHERE NOT EXISTS (
            SELECT 1 FROM liteq_messages AS m WHERE m.seq = s.seq AND m.state = 'leased' AND m.token = s.token)""",
    "held in no line": """
        SELECT m.id, m.held_by FROM liteq_messages AS m
         WHERE m.state = 'held' AND m.held_by NOT LIKE 'own:%'
           AND NOT EXISTS (
            SELECT 1 FROM liteq_lines AS l
             WHERE l.key = m.held_by AND l.queue = m.queue AND l.priority = m.priority)""",
    "a line that nothing wakes": """
        SELECT l.key, l.queue, l.waits FROM liteq_lines AS l
         WHERE l.waits <> '' AND NOT EXISTS (
            SELECT 1 FROM liteq_wakes AS w WHERE w.key = l.waits AND w.queue = l.queue)
           AND EXISTS (
            SELECT 1 FROM liteq_messages AS m
             WHERE m.state = 'held' AND m.held_by = l.key AND m.queue = l.queue AND m.priority = l.priority)""",
}
# What must hold besides where nothing is left to do.
AT_REST = {
    "waits": f"SELECT id, task, state, awaits FROM liteq_messages WHERE state IN {OPEN}",
    "a lease": "SELECT id, task, worker FROM liteq_messages WHERE state = 'leased'",
    "failed without a cause": f"""
        SELECT f.id, f.task, f.awaits FROM liteq_messages AS f
         WHERE f.state = 'upstream_failed'
           AND EXISTS (SELECT 1 FROM liteq_messages AS m WHERE m.id = f.awaits AND m.state NOT IN {FAILED})""",
}
OF_ALL_ROWS = frozenset({"failures counted", "members"})  # says nothing where some were forgotten


def ask(path: str) -> dict[str, list[Any]]:
    """The faults of the file at `path`, by name, with the first rows of each; read only."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        connection.execute("BEGIN")
        found = {name: connection.execute(sql).fetchmany(5) for name, sql in {**ORACLE, **AT_REST}.items()}
        found["integrity"] = [row for row in connection.execute("PRAGMA integrity_check") if row != ("ok",)]
    return {name: rows for name, rows in found.items() if rows}


def ask_afresh(path: Path, *, at_rest: bool, forgotten: bool) -> dict[str, list[Any]]:
    """The same from a new process. `at_rest`: nothing is left to do; `forgotten`: rows of groups may be missing."""
    command = [sys.executable, "-m", "tests.faults.oracle", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    left_out = (OF_ALL_ROWS if forgotten else frozenset()) | (frozenset() if at_rest else AT_REST.keys())
    return {name: rows for name, rows in json.loads(done.stdout).items() if name not in left_out}


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1])))
