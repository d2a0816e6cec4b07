"""The verbs on dead letters: list, requeue, drop."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.states import UNFINISHED, sql_list
from liteq.storage.driver import Transaction
from liteq.storage.needed import TAKERS_OF_THE_DEAD, needed
from liteq.storage.revive import revive

__all__ = ["drop", "matching", "requeue"]

MATCHING = """
SELECT id FROM liteq_messages
 WHERE state = 'dead' AND (CAST(:task AS TEXT) IS NULL OR task = :task)
   AND (CAST(:queue AS TEXT) IS NULL OR queue = :queue)
 ORDER BY finished_ms, seq
 LIMIT :limit
"""
# An errback that has not run yet still takes the error.
REQUEUE = f"""
UPDATE liteq_messages SET state = 'pending', retries = 0, crashes = 0, reaps = 0, due_ms = :now_ms, expires_ms = NULL,
       finished_ms = NULL, progress = NULL,
       error = CASE WHEN EXISTS (
            SELECT 1 FROM liteq_messages AS b WHERE b.awaits = liteq_messages.id AND b.state IN {sql_list(UNFINISHED)})
            THEN error END
 WHERE id = :id AND state = 'dead'
   AND (unique_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM liteq_messages AS other
         WHERE other.unique_key = liteq_messages.unique_key
           AND other.finished_ms IS NULL))
RETURNING group_id
"""
DROP = f"""
DELETE FROM liteq_messages
 WHERE id = ? AND state = 'dead' AND NOT {needed("liteq_messages", TAKERS_OF_THE_DEAD)}
"""


def matching(tx: Transaction, *, task: str | None, queue: str | None, limit: int) -> list[str]:
    """The ids of the dead letters of a task and a queue (None: of any), the oldest first."""
    return [id_ for (id_,) in tx.execute(MATCHING, {"task": task, "queue": queue, "limit": limit})]


def requeue(tx: Transaction, ids: Sequence[str], *, now_ms: int) -> list[str]:
    """Put dead letters back in their queue with fresh counters, and let the rows that waited for them wait again.

    The ids that are back: one that is no dead letter, or whose unique key has been taken since, is left out.
    """
    requeued = []
    for id_ in ids:
        for (group_id,) in tx.execute(REQUEUE, {"id": id_, "now_ms": now_ms}):
            revive(tx, id_, group_id, now_ms=now_ms)
            requeued.append(id_)
    return requeued


def drop(tx: Transaction, ids: Sequence[str]) -> int:
    """Delete dead letters; how many. One whose error is still needed, by an errback or an unfinished group, stays."""
    return tx.executemany(DROP, [(id_,) for id_ in ids])
