"""The verb *claim*: lease what may run, in order, under a fencing token each."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Flag, Lease
from liteq.storage import results
from liteq.storage.driver import Transaction

__all__ = ["claim", "claimable", "next_due_ms", "promote"]

# Tokens are base + 1, base + 2, ... in the order of the claim, and `liteq_meta.token` is moved behind them in the same
# transaction: monotonic over the file, never reused, not even when the row is deleted.
CLAIM = """
UPDATE liteq_messages SET state = 'leased', worker = :worker, deadline_ms = :deadline_ms, token = :base + picked.n,
       started_ms = CASE WHEN (flags & 32) > 0 THEN :now_ms ELSE started_ms END
  FROM (SELECT seq AS pick, row_number() OVER (ORDER BY priority DESC, due_ms, seq) AS n
          FROM liteq_messages
         WHERE state = 'pending' AND queue = :queue
         ORDER BY priority DESC, due_ms, seq
         LIMIT :limit) AS picked
 WHERE liteq_messages.seq = picked.pick
RETURNING seq, token, id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes, flags,
          root_id, parent_id, group_id, awaits, NULL
"""
BASE_TOKEN = "SELECT value FROM liteq_meta WHERE key = 'token'"
MOVE_TOKEN = "UPDATE liteq_meta SET value = :token WHERE key = 'token'"

# A row that is not due is not in the claimable set: 200,000 of them there made a claim cost 33 ms.
PROMOTE = """
UPDATE liteq_messages SET state = 'pending'
 WHERE seq IN (
    SELECT seq FROM liteq_messages WHERE state = 'scheduled' AND due_ms <= :now_ms ORDER BY due_ms LIMIT :limit)
"""
NEXT_DUE = "SELECT min(due_ms) FROM liteq_messages WHERE state = 'scheduled'"
ANY_PENDING = "SELECT 1 FROM liteq_messages WHERE state = 'pending' AND queue = ? LIMIT 1"

PROMOTE_LIMIT = 500  # a chunk: the rest follows in the next turn, and no writer waits long


def claim(
    tx: Transaction, queues: Sequence[str], *, worker: int, limit: int, visibility_ms: int, now_ms: int
) -> list[Lease]:
    """Lease up to `limit` pending messages for `visibility_ms` milliseconds; [] when there is none.

    Highest priority first, then oldest due, within a queue; the queues in the order given.
    """
    leases: list[Lease] = []
    base = -1
    for queue in queues:
        if len(leases) >= limit:
            break
        if base < 0:
            base = tx.execute(BASE_TOKEN)[0][0]
        rows = tx.execute(
            CLAIM,
            {
                "worker": worker,
                "deadline_ms": now_ms + visibility_ms,
                "now_ms": now_ms,
                "base": base + len(leases),
                "queue": queue,
                "limit": limit - len(leases),
            },
        )
        rows.sort(key=_token)  # RETURNING promises no order; the tokens have it
        leases.extend(map(Lease._make, rows))
    if leases:
        tx.execute(MOVE_TOKEN, {"token": base + len(leases)})
    return [lease if lease.awaits is None else _with_input(tx, lease) for lease in leases]


def _token(row: tuple[int, ...]) -> int:
    return row[1]


def _with_input(tx: Transaction, lease: Lease) -> Lease:
    """`lease` with the result, or for an errback the error, of what it waited for.

    Read by reference now, not copied when it was unblocked: a fan-out keeps one copy, and a replayed dead letter still
    finds it.
    """
    if lease.awaits is None or not lease.flags & Flag.TAKES_INPUT:
        return lease
    failure = bool(lease.flags & Flag.ON_FAILURE)
    return lease._replace(input=results.input_of(tx, lease.awaits, failure=failure))


def promote(tx: Transaction, *, now_ms: int) -> int:
    """Make what has come due claimable, oldest first, at most a chunk of it; how many."""
    return tx.executemany(PROMOTE, [{"now_ms": now_ms, "limit": PROMOTE_LIMIT}])


def claimable(tx: Transaction, queues: Sequence[str]) -> bool:
    """Whether one of `queues` has something pending; a read, so that idle workers do not queue for the write lock."""
    return any(tx.execute(ANY_PENDING, (queue,)) for queue in queues)


def next_due_ms(tx: Transaction) -> int | None:
    """When the next scheduled message comes due, in ms since the epoch; None when there is none."""
    due: int | None = tx.execute(NEXT_DUE)[0][0]
    return due
