"""The verbs that stop work: cancel messages, purge queues."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.exceptions import TaskRevokedError
from liteq.message import Flag
from liteq.serialization import encode_error
from liteq.storage.continuation import End, propagate
from liteq.storage.driver import Transaction

__all__ = ["cancel", "purge"]

CANCEL = """
UPDATE liteq_messages SET state = 'cancelled', error = :error, finished_ms = :now_ms
 WHERE id = :id AND state IN ('scheduled', 'blocked', 'pending')
RETURNING flags, group_id
"""
LEASED = "SELECT 1 FROM liteq_messages WHERE id = ? AND state = 'leased'"
# A chunk at a time: a million rows in one transaction held the write lock for seconds.
PURGEABLE = """
SELECT seq, id, flags, group_id FROM liteq_messages
 WHERE state = :state AND (:queue IS NULL OR queue = :queue)
 LIMIT :limit
"""
DELETE = "DELETE FROM liteq_messages WHERE seq = ?"


def cancel(tx: Transaction, ids: Sequence[str], *, now_ms: int, reason: str = "revoked") -> list[str]:
    """Cancel what has not started, and end what awaits it; the ids that are running now and so were not cancelled."""
    error = encode_error(TaskRevokedError(reason))
    ends, running = [], []
    for id_ in ids:
        rows = tx.execute(CANCEL, {"id": id_, "error": error, "now_ms": now_ms})
        if not rows and tx.execute(LEASED, (id_,)):
            running.append(id_)
        ends += [End(id_, False, group_id, error) for flags, group_id in rows if flags & Flag.LINKED]
    propagate(tx, ends, now_ms=now_ms)
    return running


def purge(tx: Transaction, queue: str | None, *, now_ms: int, limit: int) -> int:
    """Delete up to `limit` messages of `queue` (None: of all) that wait to run, due or not; how many.

    What awaits them ends as if they had been revoked; rows that are blocked or running are not touched otherwise.
    """
    error = encode_error(TaskRevokedError("purged"))
    ends: list[End] = []
    gone: list[tuple[int]] = []
    for state in ("pending", "scheduled"):
        left = limit - len(gone)
        for seq, id_, flags, group_id in tx.execute(PURGEABLE, {"state": state, "queue": queue, "limit": left}):
            gone.append((seq,))
            if flags & Flag.LINKED:
                ends.append(End(id_, False, group_id, error))
    tx.executemany(DELETE, gone)
    propagate(tx, ends, now_ms=now_ms)
    return len(gone)
