"""Reading: how many runs wait, and for whom. By indexes alone: it costs the same beside ten runs and ten million."""

from __future__ import annotations

from typing import Final

from liteq.storage.backlog import COUNTED
from liteq.storage.driver import Transaction
from liteq.storage.runs.records import RunsWaiting

__all__ = ["waiting"]

# Of each kind of open wait so many rows are looked at, each kind by its own partial index.
WAITING: Final = """
SELECT count(DISTINCT m.seq) FROM (
    SELECT run FROM (SELECT run FROM liteq_steps WHERE waited IS NOT NULL AND ended_ms IS NULL LIMIT :limit) AS a
    UNION
    SELECT run FROM (
        SELECT run FROM liteq_steps WHERE due_ms IS NOT NULL AND ended_ms IS NULL LIMIT :limit) AS b
    UNION
    SELECT run FROM (
        SELECT run FROM liteq_steps WHERE child IS NOT NULL AND ended_ms IS NULL LIMIT :limit) AS c
) AS open JOIN liteq_messages AS m ON m.seq = open.run JOIN liteq_runs AS r ON r.run = open.run
 WHERE m.state IN ('blocked', 'scheduled') AND r.parked IS NULL AND r.step = 0
"""
PARKED: Final = """
SELECT count(*) FROM (SELECT 1 FROM liteq_runs WHERE parked IS NOT NULL AND parked = :parked LIMIT :limit) AS found
"""
APPROVALS: Final = """
SELECT count(*), min(started_ms) FROM (
    SELECT started_ms FROM liteq_steps
     WHERE waited IS NOT NULL AND ended_ms IS NULL AND waited >= 'approval ' AND waited < 'approval!'
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
