"""Reading: how many runs wait, and for whom. By indexes alone: it costs the same beside ten runs and ten million."""

from __future__ import annotations

from typing import Final

from liteq.states import State, sql_list
from liteq.storage.driver import Transaction
from liteq.storage.reading.backlog import COUNTED
from liteq.storage.runs.records import RunsWaiting

__all__ = ["by_name", "ended_steps", "waiting"]

# Of each kind of open wait so many rows are looked at, each kind by its own partial index.
_OPEN: Final = """
    SELECT run FROM (SELECT run FROM liteq_steps WHERE waited IS NOT NULL AND ended_ms IS NULL LIMIT :limit) AS a
    UNION
    SELECT run FROM (
        SELECT run FROM liteq_steps WHERE due_ms IS NOT NULL AND ended_ms IS NULL LIMIT :limit) AS b
    UNION
    SELECT run FROM (
        SELECT run FROM liteq_steps WHERE child IS NOT NULL AND ended_ms IS NULL LIMIT :limit) AS c
"""
_ASLEEP: Final = f"m.state IN {sql_list({State.BLOCKED, State.SCHEDULED})} AND r.parked IS NULL AND r.step = 0"
WAITING: Final = f"""
SELECT count(DISTINCT m.seq) FROM ({_OPEN}) AS open
  JOIN liteq_messages AS m ON m.seq = open.run JOIN liteq_runs AS r ON r.run = open.run
 WHERE {_ASLEEP}
"""
BY_NAME: Final = {
    "waiting": f"""
SELECT r.name, count(DISTINCT m.seq) FROM ({_OPEN}) AS open
  JOIN liteq_messages AS m ON m.seq = open.run JOIN liteq_runs AS r ON r.run = open.run
 WHERE {_ASLEEP} GROUP BY r.name
""",
    "running": """
SELECT r.name, count(*) FROM (SELECT seq FROM liteq_messages WHERE state = 'leased' LIMIT :limit) AS m
  JOIN liteq_runs AS r ON r.run = m.seq WHERE r.step = 0 GROUP BY r.name
""",
    "paused": """
SELECT name, count(*) FROM (
    SELECT name FROM liteq_runs WHERE parked IS NOT NULL AND parked = 'paused' LIMIT :limit) AS found GROUP BY name
""",
    "stuck": """
SELECT name, count(*) FROM (
    SELECT name FROM liteq_runs WHERE parked IS NOT NULL AND parked = 'stuck' LIMIT :limit) AS found GROUP BY name
""",
}
ENDED: Final = """
SELECT outcome, memo, count(*) FROM (
    SELECT CASE WHEN error IS NULL THEN 'succeeded' ELSE 'failed' END AS outcome, memo FROM liteq_steps
     WHERE run = :run AND kind = 'step' AND ended_ms IS NOT NULL LIMIT :limit) AS found
 GROUP BY outcome, memo
"""
PARKED: Final = """
SELECT count(*) FROM (SELECT 1 FROM liteq_runs WHERE parked IS NOT NULL AND parked = :parked LIMIT :limit) AS found
"""
# A wait stays open where its run has ended: nobody can decide it any more.
APPROVALS: Final = """
SELECT count(*), min(started_ms) FROM (
    SELECT s.started_ms
      FROM liteq_steps AS s JOIN liteq_messages AS m ON m.seq = s.run JOIN liteq_runs AS r ON r.run = s.run
     WHERE s.waited IS NOT NULL AND s.ended_ms IS NULL AND s.waited >= 'approval ' AND s.waited < 'approval!'
       AND s.gen = r.gen AND m.finished_ms IS NULL
     LIMIT :limit) AS found
"""


def waiting(tx: Transaction) -> RunsWaiting:
    """How many runs wait; no more than about `COUNTED` are counted."""
    limit = {"limit": COUNTED}
    ((waits,),) = tx.execute(WAITING, limit)
    ((paused,),) = tx.execute(PARKED, {**limit, "parked": "paused"})
    ((stuck,),) = tx.execute(PARKED, {**limit, "parked": "stuck"})
    ((approvals, since_ms),) = tx.execute(APPROVALS, limit)
    return RunsWaiting(int(waits), int(paused), int(stuck), int(approvals), since_ms)


def by_name(tx: Transaction, *, limit: int) -> dict[tuple[str, str], int]:
    """How many unfinished runs there are by workflow and state; `limit` rows of each state are looked at, at most."""
    return {(name, state): int(n) for state, sql in BY_NAME.items() for name, n in tx.execute(sql, {"limit": limit})}


def ended_steps(tx: Transaction, run: int, *, limit: int) -> list[tuple[str, bool, int]]:
    """How many steps of a run have ended, by outcome and by whether the memo answered; `limit` are looked at."""
    return [(outcome, bool(memo), int(n)) for outcome, memo, n in tx.execute(ENDED, {"run": run, "limit": limit})]
