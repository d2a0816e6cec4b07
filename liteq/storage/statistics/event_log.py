"""The verbs of events: the fates of tasks, for monitors to read. Kept for a while, and only so many."""

from __future__ import annotations

from collections.abc import Iterable

from liteq.storage.driver import SKIP_LOCKED, Transaction

__all__ = ["after", "last", "trim", "write"]

WRITE = "INSERT INTO liteq_events (created_ms, event) VALUES (?, ?)"
LAST = "SELECT coalesce(max(id), 0) FROM liteq_events"
AFTER = "SELECT id, event FROM liteq_events WHERE id > ? ORDER BY id LIMIT ?"
# The oldest first, by the primary key: ids go up with time.
TRIM = f"""
DELETE FROM liteq_events WHERE id IN (
    SELECT id FROM liteq_events WHERE created_ms < :before_ms OR id <= :up_to ORDER BY id LIMIT :limit {SKIP_LOCKED})
"""
OLDEST = "SELECT created_ms, id FROM liteq_events ORDER BY id LIMIT 1"


def write(tx: Transaction, events: Iterable[bytes], *, now_ms: int) -> None:
    """Add events, JSON each."""
    tx.in_turn("liteq_events")
    tx.executemany(WRITE, [(now_ms, event) for event in events])


def last(tx: Transaction) -> int:
    """The number of the newest event; 0 when there is none."""
    return int(tx.execute(LAST)[0][0])


def after(tx: Transaction, number: int, *, limit: int) -> list[tuple[int, bytes]]:
    """Up to `limit` events that came after the one of this number: (number, JSON)."""
    return [(id_, event) for id_, event in tx.execute(AFTER, (number, limit))]


def trim(tx: Transaction, *, before_ms: int, keep: int, limit: int) -> int:
    """Delete up to `limit` events of before `before_ms`, or beyond the newest `keep`; how many."""
    up_to = last(tx) - keep
    oldest = tx.execute(OLDEST)
    if not oldest or (oldest[0][0] >= before_ms and oldest[0][1] > up_to):
        return 0
    return tx.executemany(TRIM, [{"before_ms": before_ms, "up_to": up_to, "limit": limit}])
