"""The verb *reap*: leases whose worker is gone go back to their queue.

A lease that has run out is no proof that its worker is gone: nobody could write for longer than the lease, or everybody
was stopped. So a worker that is known to live keeps its leases past their deadline, but for those that its own later
heartbeat has left out: it does not know of them (the commit of its claim was reported as failed).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from liteq.exceptions import WorkerLostError
from liteq.message import Flag
from liteq.serialization import encode_error
from liteq.storage.continuation import End, propagate
from liteq.storage.driver import SKIP_LOCKED, Row, Transaction

__all__ = ["expired", "reap_expired", "reap_worker"]

# In chunks: a worker that died with thousands of leases does not hold the write lock for long.
EXPIRED = f"""
SELECT seq, token, id, flags, reaps, group_id FROM liteq_messages
 WHERE state = 'leased' AND worker = :worker AND deadline_ms <= :until_ms LIMIT :limit {SKIP_LOCKED}
"""
OF_WORKER = f"""
SELECT seq, token, id, flags, reaps, group_id FROM liteq_messages
 WHERE state = 'leased' AND worker = :worker LIMIT :limit {SKIP_LOCKED}
"""
OWNERS = """
SELECT m.worker, w.heartbeat_ms, min(m.deadline_ms)
  FROM liteq_messages AS m LEFT JOIN liteq_workers AS w ON w.id = m.worker
 WHERE m.state = 'leased' AND m.deadline_ms <= :now_ms GROUP BY m.worker, w.heartbeat_ms
"""
BACK = "UPDATE liteq_messages SET state = 'pending', reaps = reaps + 1 WHERE seq = ? AND state = 'leased' AND token = ?"
DEAD = """
UPDATE liteq_messages SET state = 'dead', reaps = reaps + 1, error = ?, finished_ms = ?
 WHERE seq = ? AND state = 'leased' AND token = ?
"""
CHUNK = 1_000


def expired(tx: Transaction, living: Collection[int], *, now_ms: int) -> list[tuple[int, int]]:
    """The workers with leases that have ended, each with the time up to which a deadline is past; a read.

    For those of `living` that is their last heartbeat, which would have moved the deadline of each lease they hold.
    """
    found = []
    for worker, heartbeat_ms, first_ms in tx.execute(OWNERS, {"now_ms": now_ms}):
        until_ms = min(heartbeat_ms, now_ms) if worker in living and heartbeat_ms is not None else now_ms
        if first_ms <= until_ms:
            found.append((worker, until_ms))
    return found


def reap_expired(tx: Transaction, worker: int, until_ms: int, *, now_ms: int, max_reaps: int) -> int:
    """End the leases of `worker` whose deadline is not after `until_ms`, a chunk at a time; how many."""
    rows = tx.execute(EXPIRED, {"worker": worker, "until_ms": until_ms, "limit": CHUNK})
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
        if reaps + 1 < max_reaps and not flags & Flag.EARLY_ACK:
            tx.execute(BACK, (seq, token))
            continue
        error = encode_error(WorkerLostError(f"the worker that held it vanished {reaps + 1} times"))
        tx.execute(DEAD, (error, now_ms, seq, token))
        if flags & Flag.LINKED:
            ends.append(End(id_, False, group_id, error))
    propagate(tx, ends, now_ms=now_ms)
    return len(rows)
