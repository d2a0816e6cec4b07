"""The verb *cap*: after the clock was set back, no time in the file lies further ahead than it can.

A countdown is never longer than it was at first; what may run is due now at the latest; what has finished, finished by
now. A time that its sender chose (eta, expires) is one of the wall clock, and stands.
"""

from __future__ import annotations

from liteq.storage.driver import Transaction

__all__ = ["cap", "is_ahead"]

# The row that was sent last: one look at the end of the table.
NEWEST = "SELECT created_ms FROM liteq_messages ORDER BY seq DESC LIMIT 1"
COUNTDOWNS = """
UPDATE liteq_messages SET due_ms = :now_ms + delay_ms
 WHERE seq IN (
    SELECT seq FROM liteq_messages
     WHERE state = 'scheduled' AND due_ms > :now_ms AND due_ms > :now_ms + delay_ms LIMIT :limit)
"""
# Else what is sent from now on goes before it, for as long as the clock was set back.
WAITING = """
UPDATE liteq_messages SET due_ms = :now_ms
 WHERE seq IN (SELECT seq FROM liteq_messages WHERE state = '{}' AND due_ms > :now_ms LIMIT :limit)
"""
FINISHED = """
UPDATE liteq_messages SET finished_ms = :now_ms
 WHERE seq IN (SELECT seq FROM liteq_messages WHERE state IN ({}) AND finished_ms > :now_ms LIMIT :limit)
"""
GROUPS = """
UPDATE liteq_groups SET finished_ms = :now_ms
 WHERE id IN (SELECT id FROM liteq_groups WHERE finished_ms > :now_ms LIMIT :limit)
"""
SAVED_GROUPS = "UPDATE liteq_saved_groups SET created_ms = :now_ms WHERE created_ms > :now_ms"
COMMANDS = "UPDATE liteq_commands SET expires_ms = :now_ms WHERE expires_ms > :now_ms + :longest_ms"
EVENTS = """
UPDATE liteq_events SET created_ms = :now_ms
 WHERE id IN (SELECT id FROM liteq_events WHERE created_ms > :now_ms LIMIT :limit)
"""
STEPS = (
    COUNTDOWNS,
    WAITING.format("pending"),
    WAITING.format("held"),
    FINISHED.format("'succeeded', 'cancelled', 'upstream_failed'"),
    FINISHED.format("'dead'"),
    GROUPS,
    SAVED_GROUPS,
    COMMANDS,
    EVENTS,
)
LONGEST_MS = 86_400_000  # that anybody waits for the answer to a command


def is_ahead(tx: Transaction, *, now_ms: int) -> bool:
    """Whether the clock was set back since the last message was sent, as far as that one tells; a read."""
    return any(created_ms > now_ms for (created_ms,) in tx.execute(NEWEST))


def cap(tx: Transaction, step: str, *, now_ms: int, limit: int) -> int:
    """Set right up to `limit` rows of one of STEPS; how many."""
    return tx.executemany(step, [{"now_ms": now_ms, "limit": limit, "longest_ms": LONGEST_MS}])
