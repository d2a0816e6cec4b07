"""The verb *cap*: after the clock was set back, no time in the file lies further ahead than it can.

A countdown is never longer than it was at first; what may run is due now at the latest; what has finished, finished by
now. A time that its sender chose (eta, expires) is one of the wall clock, and stands.
"""

from __future__ import annotations

from liteq.states import State
from liteq.storage.driver import SKIP_LOCKED, Transaction

__all__ = ["cap", "is_ahead"]

# The message that was sent last, and those that ended last: each one look at the end of a table or an index.
NEWEST = (
    "SELECT created_ms FROM liteq_messages ORDER BY seq DESC LIMIT 1",
    "SELECT max(finished_ms) FROM liteq_messages WHERE finished_ms IS NOT NULL AND state <> 'dead'",
    "SELECT max(finished_ms) FROM liteq_messages WHERE state = 'dead'",
    "SELECT max(finished_ms) FROM liteq_groups WHERE finished_ms IS NOT NULL",
)
COUNTDOWNS = f"""
UPDATE liteq_messages SET due_ms = :now_ms + delay_ms
 WHERE seq IN (
    SELECT seq FROM liteq_messages
     WHERE state = 'scheduled' AND due_ms > :now_ms AND due_ms > :now_ms + delay_ms LIMIT :limit {SKIP_LOCKED})
"""


def waiting(state: State) -> str:
    """Messages in `state` that may run: else those sent from now on go before them, for as long as the jump."""
    return f"""
    UPDATE liteq_messages SET due_ms = :now_ms
     WHERE seq IN (
        SELECT seq FROM liteq_messages WHERE state = '{state.value}' AND due_ms > :now_ms LIMIT :limit {SKIP_LOCKED})
    """


def finished(which: str) -> str:
    """Messages that have finished and fit `which`, the condition of an index of that time."""
    return f"""
    UPDATE liteq_messages SET finished_ms = :now_ms
     WHERE seq IN (
        SELECT seq FROM liteq_messages WHERE {which} AND finished_ms > :now_ms LIMIT :limit {SKIP_LOCKED})
    """


STEPS = {
    "countdowns": COUNTDOWNS,
    "pending": waiting(State.PENDING),
    "held": waiting(State.HELD),
    # As if nothing were known of when there is a token: each is looked at, and says so anew.
    "wakes": f"""
    UPDATE liteq_wakes SET at = :now_ms
     WHERE (key, queue) IN (
        SELECT key, queue FROM liteq_wakes WHERE at > :now_ms LIMIT :limit {SKIP_LOCKED})
    """,
    "paused keys": f"""
    UPDATE liteq_keys SET paused_ms = :now_ms + paused_ms - since_ms, since_ms = :now_ms
     WHERE key IN (
        SELECT key FROM liteq_keys WHERE paused_ms > :now_ms AND since_ms > :now_ms LIMIT :limit {SKIP_LOCKED})
    """,
    "finished": finished("finished_ms IS NOT NULL AND state <> 'dead'"),
    "dead": finished("state = 'dead'"),
    "groups": f"""
    UPDATE liteq_groups SET finished_ms = :now_ms
     WHERE id IN (
        SELECT id FROM liteq_groups WHERE finished_ms > :now_ms LIMIT :limit {SKIP_LOCKED})
    """,
    "saved groups": f"""
    UPDATE liteq_saved_groups SET created_ms = :now_ms
     WHERE id IN (
        SELECT id FROM liteq_saved_groups WHERE created_ms > :now_ms LIMIT :limit {SKIP_LOCKED})
    """,
    "commands": f"""
    UPDATE liteq_commands SET expires_ms = :now_ms
     WHERE id IN (
        SELECT id FROM liteq_commands WHERE expires_ms > :latest_ms LIMIT :limit {SKIP_LOCKED})
    """,
    "events": f"""
    UPDATE liteq_events SET created_ms = :now_ms
     WHERE id IN (
        SELECT id FROM liteq_events WHERE created_ms > :now_ms LIMIT :limit {SKIP_LOCKED})
    """,
}
LONGEST_MS = 86_400_000  # that anybody waits for the answer to a command


def is_ahead(tx: Transaction, *, now_ms: int) -> bool:
    """Whether the clock was set back since a message was sent or ended, as far as the last ones tell; a read."""
    return any((at_ms or 0) > now_ms for sql in NEWEST for (at_ms,) in tx.execute(sql))


def cap(tx: Transaction, step: str, *, now_ms: int, limit: int) -> int:
    """Set right up to `limit` rows of one of STEPS; how many."""
    return tx.executemany(STEPS[step], [{"now_ms": now_ms, "limit": limit, "latest_ms": now_ms + LONGEST_MS}])
