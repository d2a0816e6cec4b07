"""The verbs on dead letters: requeue, drop."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.flags import Flag
from liteq.storage.canvases.revive import ERROR_STILL_TAKEN, revive
from liteq.storage.driver import Transaction
from liteq.storage.rows.aside import let_go
from liteq.storage.rows.needed import TAKERS_OF_THE_DEAD, hold, needed
from liteq.storage.sending import unique

__all__ = ["drop", "queue_of", "requeue"]

# Not an end that was stored for an id (rows/results.py): there is no message that could run.
REQUEUE = f"""
UPDATE liteq_messages SET state = 'pending', retries = 0, crashes = 0, reaps = 0, due_ms = :now_ms, delay_ms = NULL,
       expires_ms = NULL, started_ms = NULL, finished_ms = NULL, progress = NULL,
       flags = flags & {~(Flag.ASKED | Flag.BEGUN)}, error = {ERROR_STILL_TAKEN}
 WHERE id = :id AND state = 'dead' AND queue <> ''
   AND (unique_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM liteq_messages AS other
         WHERE other.unique_key = liteq_messages.unique_key
           AND other.finished_ms IS NULL))
RETURNING group_id
"""
QUEUE = "SELECT queue FROM liteq_messages WHERE id = ? AND state = 'dead'"
DROP = f"""
DELETE FROM liteq_messages
 WHERE id = ? AND state = 'dead' AND NOT {needed("liteq_messages", TAKERS_OF_THE_DEAD)}
"""


def requeue(tx: Transaction, ids: Sequence[str], *, now_ms: int) -> list[str]:
    """Put dead letters back in their queue with fresh counters, and let the rows that waited for them wait again.

    The ids that are back: one that is no dead letter, or whose unique key has been taken since, is left out.
    """
    requeued = []
    for id_ in ids:
        for (group_id,) in tx.execute(REQUEUE, {"id": id_, "now_ms": now_ms}):
            unique.anew(tx, id_)
            revive(tx, id_, group_id, now_ms=now_ms)
            requeued.append(id_)
    return requeued


def queue_of(tx: Transaction, id_: str) -> str | None:
    """The queue of a dead letter; None where there is none of this id."""
    return next((queue for (queue,) in tx.execute(QUEUE, (id_,))), None)


def drop(tx: Transaction, ids: Sequence[str]) -> int:
    """Delete dead letters; how many. One whose error is still needed, by an errback or an unfinished group, stays."""
    hold(tx, ids)
    gone = tx.executemany(DROP, [(id_,) for id_ in ids])
    let_go(tx, ids)
    return gone
