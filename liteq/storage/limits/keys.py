"""The state of keys: the bucket of a rate, and a pause, which goes over slowly.

After a pause all that was held could start at once, and whatever asked for the pause would ask for it again. So for a
while the starts go up from one a second, doubling each second.
"""

from __future__ import annotations

from typing import Final

from liteq.storage.driver import LOCK, SKIP_LOCKED, Transaction

__all__ = ["RAMP_S", "State", "begin_anew", "lock", "paced_per_s", "pause", "prune", "resume", "spend", "state"]

State = tuple[int, int | None]
"""Of a key: when its bucket is full again (in us), and the end of its last pause (in ms)."""

STATE = f"SELECT full_us, paused_ms FROM liteq_keys WHERE key = ? {LOCK}"
SPEND = """
INSERT INTO liteq_keys (key, full_us) VALUES (:key, :full_us)
ON CONFLICT (key) DO UPDATE SET full_us = excluded.full_us
"""
BEGIN_ANEW = "UPDATE liteq_keys SET full_us = 0 WHERE key = ?"
# Of several pauses the one that ends last.
PAUSE = """
INSERT INTO liteq_keys (key, paused_ms, since_ms, reason) VALUES (:key, :until_ms, :now_ms, :reason)
ON CONFLICT (key) DO UPDATE
   SET paused_ms = excluded.paused_ms, since_ms = excluded.since_ms, reason = excluded.reason
 WHERE liteq_keys.paused_ms IS NULL OR liteq_keys.paused_ms < excluded.paused_ms
"""
RESUME = "UPDATE liteq_keys SET paused_ms = NULL, since_ms = NULL, reason = '' WHERE key = ? AND paused_ms > ?"
PRUNE: Final = f"""
DELETE FROM liteq_keys WHERE key IN (
    SELECT key FROM liteq_keys
     WHERE full_us <= :now_us AND (paused_ms IS NULL OR paused_ms <= :over_ms) LIMIT :limit {SKIP_LOCKED})
"""
RAMP_S: Final = 10  # after a pause, the starts of its key go up so long


def lock(tx: Transaction) -> None:
    """Have no other transaction look at limits until this one has ended, on an engine with several writers.

    A key that is not in use has no row to lock; a line that gets a message must not be forgotten as empty meanwhile;
    and who holds a message back, as a place is missing, must see that one is freed, or be seen by who frees it.
    """
    tx.in_turn("liteq_limits")


def state(tx: Transaction, key: str) -> State | None:
    """The state of `key`; None where its bucket is full, and it was not paused of late."""
    found = tx.execute(STATE, (key,))
    return (found[0][0], found[0][1]) if found else None


def paced_per_s(paused_ms: int | None, now_ms: int) -> float:
    """How many may start a second so soon after a pause; 0.0 for no limit."""
    over_s = RAMP_S if paused_ms is None else (now_ms - paused_ms) / 1000
    return float(2**over_s) if over_s < RAMP_S else 0.0


def spend(tx: Transaction, key: str, full_us: int) -> None:
    """Note when the bucket of `key` is full again."""
    tx.executemany(SPEND, [{"key": key, "full_us": full_us}])


def begin_anew(tx: Transaction, key: str) -> None:
    """Fill the bucket of `key`: it has another rate now."""
    tx.executemany(BEGIN_ANEW, [(key,)])


def pause(tx: Transaction, key: str, *, until_ms: int, reason: str, now_ms: int) -> None:
    """Let nothing of `key` start before a time; one that is paused for longer stays so."""
    tx.executemany(PAUSE, [{"key": key, "until_ms": until_ms, "reason": reason, "now_ms": now_ms}])


def resume(tx: Transaction, key: str, *, now_ms: int) -> bool:
    """End the pause of `key`; False where it is not paused."""
    return tx.executemany(RESUME, [(key, now_ms)]) == 1


def prune(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Forget up to `limit` keys whose bucket is full again; how many."""
    params = {"now_us": now_ms * 1000, "over_ms": now_ms - RAMP_S * 1000, "limit": limit}
    return tx.executemany(PRUNE, [params])
