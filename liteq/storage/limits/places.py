"""Places under a limit: each is a row that goes with the lease of the message that has it."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from liteq.message import Flag, Lease, Outcome
from liteq.storage.driver import Transaction
from liteq.storage.limits.keys import lock
from liteq.storage.limits.waiting import WAITS, wake_first

__all__ = ["ANY_TAKEN", "MARK", "Place", "free", "free_ended", "running", "sweep", "take"]

Place = tuple[str, int, int, int]
"""A row of liteq_slots: the key, the message's row number, the token of its lease, since when in ms."""

COUNT = "SELECT count(*) FROM liteq_slots WHERE key = ?"
TAKE = "INSERT INTO liteq_slots (key, seq, token, since_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
# By the token: a late worker's outcome frees no place of the lease that came after its own.
WAKE: Final = """
UPDATE liteq_wakes SET at = :now_ms
 WHERE key IN (SELECT key FROM liteq_slots WHERE seq = :seq AND token = :token) AND (at IS NULL OR at > :now_ms)
RETURNING queue
"""
# Where a step of a run waits for it.
WAITED_FOR: Final = f"""
SELECT s.key FROM liteq_slots AS s
 WHERE s.seq = :seq AND s.token = :token
   AND EXISTS (SELECT 1 FROM liteq_steps AS w WHERE w.waited = '{WAITS}' || s.key AND w.ended_ms IS NULL)
"""
FREE = "DELETE FROM liteq_slots WHERE seq = :seq AND token = :token"
MARK = f"UPDATE liteq_messages SET flags = flags | {Flag.PLACED} WHERE seq = ?"
ANY_TAKEN = "SELECT 1 FROM liteq_slots LIMIT 1"
# Of leases that are over all the same: rows that another program changed, or a misfit that was buried.
STALE: Final = """
SELECT s.seq, s.token FROM liteq_slots AS s
 WHERE NOT EXISTS (
    SELECT 1 FROM liteq_messages AS m WHERE m.seq = s.seq AND m.state = 'leased' AND m.token = s.token)
 LIMIT :limit
"""


def running(tx: Transaction, key: str) -> int:
    """How many places under `key` are taken."""
    return int(tx.execute(COUNT, (key,))[0][0])


def take(tx: Transaction, places: Iterable[Place]) -> None:
    """Write places that a claim has found free."""
    tx.executemany(TAKE, places)


def free(tx: Transaction, leases: Collection[tuple[int, int]], *, now_ms: int) -> set[str]:
    """Free the places of leases (row number, token) that end in this transaction.

    The queues in which something waited for one of them.
    """
    queues = set[str]()
    if leases:
        lock(tx)
    for seq, token in leases:
        params = {"seq": seq, "token": token, "now_ms": now_ms}
        queues.update(queue for (queue,) in tx.execute(WAKE, params))
        woken = {wake_first(tx, key, now_ms=now_ms) for (key,) in tx.execute(WAITED_FOR, params)}
        queues.update(queue for queue in woken if queue is not None)
        tx.executemany(FREE, [params])
    return queues


def free_ended(
    tx: Transaction, settled: Sequence[tuple[Lease, Outcome]], endings: Container[type], *, now_ms: int
) -> AbstractSet[str]:
    """Free the places of leases that are about to end; the queues in which something waited for one.

    One of `endings` looks itself whether a place has come while it ran; the others are written without that look.
    """
    placed = [(lease.seq, lease.token) for lease, _ in settled if lease.flags & Flag.PLACED]
    others = [
        (lease.seq, lease.token)
        for lease, outcome in settled
        if not lease.flags & Flag.PLACED and type(outcome) not in endings
    ]
    if not placed and (not others or not tx.execute(ANY_TAKEN)):
        return frozenset()
    return free(tx, [*placed, *others], now_ms=now_ms)


def sweep(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Free up to `limit` places whose lease is over; how many leases that were."""
    stale = {(seq, token) for seq, token in tx.execute(STALE, {"limit": limit})}
    free(tx, stale, now_ms=now_ms)
    return len(stale)
