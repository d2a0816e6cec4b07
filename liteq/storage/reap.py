"""The verb *reap*: leases whose worker is gone go back to their queue."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.exceptions import WorkerLostError
from liteq.message import Flag
from liteq.serialization import encode_error
from liteq.storage.continuation import End, propagate
from liteq.storage.driver import SKIP_LOCKED, Row, Transaction

__all__ = ["any_expired", "reap_expired", "reap_worker"]

# In chunks: a worker that died with thousands of leases does not hold the write lock for long.
EXPIRED = f"""
SELECT seq, token, id, flags, reaps, group_id FROM liteq_messages
 WHERE state = 'leased' AND deadline_ms <= :now_ms LIMIT :limit {SKIP_LOCKED}
"""
OF_WORKER = f"""
SELECT seq, token, id, flags, reaps, group_id FROM liteq_messages
 WHERE state = 'leased' AND worker = :worker LIMIT :limit {SKIP_LOCKED}
"""
ANY_EXPIRED = "SELECT 1 FROM liteq_messages WHERE state = 'leased' AND deadline_ms <= ? LIMIT 1"
BACK = "UPDATE liteq_messages SET state = 'pending', reaps = reaps + 1 WHERE seq = ? AND state = 'leased' AND token = ?"
DEAD = """
UPDATE liteq_messages SET state = 'dead', reaps = reaps + 1, error = ?, finished_ms = ?
 WHERE seq = ? AND state = 'leased' AND token = ?
"""
CHUNK = 1_000


def any_expired(tx: Transaction, *, now_ms: int) -> bool:
    """Whether a lease has run out; a read, so that the regular look costs no write lock."""
    return bool(tx.execute(ANY_EXPIRED, (now_ms,)))


def reap_expired(tx: Transaction, *, now_ms: int, max_reaps: int) -> int:
    """End the leases whose deadline has passed, a chunk at a time; how many."""
    rows = tx.execute(EXPIRED, {"now_ms": now_ms, "limit": CHUNK})
    return _reap(tx, rows, now_ms=now_ms, max_reaps=max_reaps)


def reap_worker(tx: Transaction, worker: int, *, now_ms: int, max_reaps: int) -> int:
    """End every lease of a worker that is known to be dead, a chunk at a time; how many."""
    rows = tx.execute(OF_WORKER, {"worker": worker, "limit": CHUNK})
    return _reap(tx, rows, now_ms=now_ms, max_reaps=max_reaps)


def _reap(tx: Transaction, rows: Sequence[Row], *, now_ms: int, max_reaps: int) -> int:
    ends = []
    for seq, token, id_, flags, reaps, group_id in rows:
        # A worker's death does not tell which of its tasks was to blame, so this counter is apart from `crashes` and
        # its limit is higher; it ends a task that takes a whole container down each time.
        # Of a message that runs at most once, only what has begun is over.
        if reaps + 1 < max_reaps and not (flags & Flag.EARLY_ACK and flags & Flag.BEGUN):
            tx.execute(BACK, (seq, token))
            continue
        error = encode_error(WorkerLostError(f"the worker that held it vanished {reaps + 1} times"))
        tx.execute(DEAD, (error, now_ms, seq, token))
        if flags & Flag.LINKED:
            ends.append(End(id_, False, group_id, error))
    propagate(tx, ends, now_ms=now_ms)
    return len(rows)
