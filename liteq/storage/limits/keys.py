"""The state of keys: the bucket of a rate, and a pause, which goes over slowly.

After a pause all that was held could start at once, and whatever asked for the pause would ask for it again. So for a
while the starts go up from one a second, doubling each second.
"""

from __future__ import annotations

from typing import Final

from liteq.storage.driver import LOCK, SKIP_LOCKED, Transaction
from liteq.utils.records import NamedTuple

__all__ = [
    "RAMP_S", "State", "begin_anew", "lock", "paced_per_s", "pause", "prune", "resume", "spend", "spend_tokens",
    "state",
]  # fmt: skip


class State(NamedTuple):
    """Of a key: when its bucket is full again (in us), the end of its last pause (in ms), its trouble (trouble.py).

    `tokens_us`: when its bucket of models' tokens is full again. `pace`: starts a second since that pause, in
    thousandths; None: any.
    """

    full_us: int = 0
    paused_ms: int | None = None
    tokens_us: int = 0
    fails: int = 0
    pace: int | None = None


STATE = f"SELECT full_us, paused_ms, tokens_us, fails, pace FROM liteq_keys WHERE key = ? {LOCK}"
SPEND = """
INSERT INTO liteq_keys (key, full_us) VALUES (:key, :full_us)
ON CONFLICT (key) DO UPDATE SET full_us = excluded.full_us
"""
SPEND_TOKENS = """
INSERT INTO liteq_keys (key, tokens_us) VALUES (:key, :tokens_us)
ON CONFLICT (key) DO UPDATE SET tokens_us = excluded.tokens_us
"""
BEGIN_ANEW = "UPDATE liteq_keys SET full_us = 0, tokens_us = 0 WHERE key = ?"
# Of several pauses the one that ends last.
PAUSE = """
INSERT INTO liteq_keys (key, paused_ms, since_ms, reason) VALUES (:key, :until_ms, :now_ms, :reason)
ON CONFLICT (key) DO UPDATE
   SET paused_ms = excluded.paused_ms, since_ms = excluded.since_ms, reason = excluded.reason
 WHERE liteq_keys.paused_ms IS NULL OR liteq_keys.paused_ms < excluded.paused_ms
"""
RESUME = """
UPDATE liteq_keys SET paused_ms = NULL, since_ms = NULL, reason = '', fails = 0, refused = 0, pace = NULL
 WHERE key = ? AND paused_ms > ?
"""
PRUNE: Final = f"""
DELETE FROM liteq_keys WHERE key IN (
    SELECT key FROM liteq_keys
     WHERE full_us <= :now_us AND tokens_us <= :now_us
       AND (paused_ms IS NULL OR paused_ms <= CASE WHEN pace IS NULL AND fails = 0 THEN CAST(:over_ms AS BIGINT)
            ELSE CAST(:old_ms AS BIGINT) END)
     LIMIT :limit {SKIP_LOCKED})
"""
RAMP_S: Final = 10  # after a pause, the starts of its key go up so long
MEMORY_S: Final = 3_600  # so long a key's trouble is remembered


def lock(tx: Transaction) -> None:
    """Have no other transaction look at limits until this one has ended, on an engine with several writers.

    A key that is not in use has no row to lock; a line that gets a message must not be forgotten as empty meanwhile;
    and a claim that holds a message back, as a place is missing, must see that one is freed, or be seen by the
    transaction that frees it.
    """
    tx.in_turn("liteq_limits")


def state(tx: Transaction, key: str) -> State | None:
    """The state of `key`; None where its bucket is full, and it was not paused of late."""
    found = tx.execute(STATE, (key,))
    return State._make(found[0]) if found else None


def paced_per_s(paused_ms: int | None, now_ms: int, pace: int | None = None) -> float:
    """How many may start a second so soon after a pause; 0.0 for no limit.

    `pace`: thousandths of starts a second that the other side is known to take. It holds for RAMP_S seconds, and is
    doubled then in each RAMP_S, until it is no bound any more.
    """
    if paused_ms is None:
        return 0.0
    over_s = (now_ms - paused_ms) / 1000
    ramp = float(2**over_s) if over_s < RAMP_S else 0.0
    if pace is None or over_s >= RAMP_S * 12:
        return ramp
    learned: float = pace / 1000 * 2.0 ** max(0.0, over_s / RAMP_S - 1)
    return min(ramp, learned) if ramp else learned


def spend(tx: Transaction, key: str, full_us: int) -> None:
    """Note when the bucket of `key` is full again."""
    tx.executemany(SPEND, [{"key": key, "full_us": full_us}])


def spend_tokens(tx: Transaction, key: str, tokens_us: int) -> None:
    """Note when the bucket of models' tokens of `key` is full again."""
    tx.executemany(SPEND_TOKENS, [{"key": key, "tokens_us": tokens_us}])


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
    params = {
        "now_us": now_ms * 1000, "over_ms": now_ms - RAMP_S * 1000, "old_ms": now_ms - MEMORY_S * 1000, "limit": limit
    }  # fmt: skip
    return tx.executemany(PRUNE, [params])
