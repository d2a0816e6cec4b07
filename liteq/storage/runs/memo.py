"""The memo: results of steps that runs share, each computed once.

A claim stands under the lease of the run that computes: it holds exactly as long as that, so a crash frees it.
"""

from __future__ import annotations

from liteq.message import Hold, StepRow
from liteq.storage.driver import LOCK, SKIP_LOCKED, Transaction
from liteq.storage.runs.records import MemoStats, MemoTaken
from liteq.storage.steps.wake import free_memo, lock_memo

__all__ = ["claim", "clear", "drop", "expire", "look", "stats", "store"]

STORED = "SELECT output FROM liteq_memo WHERE key = ? AND output IS NOT NULL AND (expires_ms IS NULL OR expires_ms > ?)"
CLAIMED = f"""
SELECT m.seq FROM liteq_memo AS o JOIN liteq_messages AS m ON m.seq = o.run AND m.token = o.token
 WHERE o.key = ? AND o.output IS NULL AND m.state = 'leased' {LOCK}
"""
CLAIM = """
INSERT INTO liteq_memo (key, name, output, run, token, created_ms, expires_ms) VALUES (?, ?, NULL, ?, ?, ?, NULL)
ON CONFLICT (key) DO UPDATE
   SET name = excluded.name, output = NULL, run = excluded.run, token = excluded.token,
       created_ms = excluded.created_ms, expires_ms = NULL
"""
STORE = """
INSERT INTO liteq_memo (key, name, output, run, token, created_ms, expires_ms) VALUES (?, ?, ?, NULL, NULL, ?, ?)
ON CONFLICT (key) DO UPDATE
   SET output = excluded.output, run = NULL, token = NULL, created_ms = excluded.created_ms,
       expires_ms = excluded.expires_ms
"""
DROP = "DELETE FROM liteq_memo WHERE key = ? AND output IS NULL AND run = ? AND token = ?"
EXPIRE = f"""
DELETE FROM liteq_memo WHERE key IN (
    SELECT key FROM liteq_memo WHERE expires_ms IS NOT NULL AND expires_ms <= :now_ms LIMIT :limit
    {SKIP_LOCKED})
"""
STATS = """
SELECT name, count(output), coalesce(sum(length(output)), 0), count(*) - count(output) FROM liteq_memo
 GROUP BY name ORDER BY name
"""
CLEAR = "DELETE FROM liteq_memo WHERE output IS NOT NULL AND (CAST(:name AS TEXT) IS NULL OR name = :name)"


def look(tx: Transaction, key: str, *, now_ms: int) -> bytes | None:
    """The result under `key`; None where none is stored. A read."""
    for (output,) in tx.execute(STORED, (key, now_ms)):
        return bytes(output)
    return None


def claim(tx: Transaction, hold: Hold, key: str, name: str, *, now_ms: int) -> MemoTaken:
    """The result under `key`, or else the right to compute it, unless another run has that."""
    lock_memo(tx, key)
    output = look(tx, key, now_ms=now_ms)
    if output is not None or tx.execute(CLAIMED, (key,)):
        return MemoTaken(output, mine=False)
    tx.executemany(CLAIM, [(key, name, hold.run, hold.token, now_ms)])
    return MemoTaken(None, mine=True)


def store(tx: Transaction, key: str, step: StepRow, *, holds_ms: int | None, now_ms: int) -> bool:
    """Keep the output of `step` under `key` for so long (None: for ever); whether a run woke that waited for it."""
    lock_memo(tx, key)
    expires_ms = None if holds_ms is None else now_ms + holds_ms
    tx.executemany(STORE, [(key, step.name, step.output, now_ms, expires_ms)])
    return free_memo(tx, key, first=False, now_ms=now_ms)


def drop(tx: Transaction, hold: Hold, key: str, *, now_ms: int) -> bool:
    """Give the right up; whether a run woke that is to compute it now."""
    lock_memo(tx, key)
    return bool(tx.executemany(DROP, [(key, hold.run, hold.token)])) and free_memo(tx, key, first=True, now_ms=now_ms)


def expire(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Delete up to `limit` results whose time is over; how many."""
    return tx.executemany(EXPIRE, [{"now_ms": now_ms, "limit": limit}])


def stats(tx: Transaction) -> list[MemoStats]:
    """The numbers of what is kept, by the name of the step."""
    return [MemoStats._make(row) for row in tx.execute(STATS)]


def clear(tx: Transaction, name: str | None) -> int:
    """Forget the results of a step, or all of them; how many. What is being computed goes on."""
    return tx.executemany(CLEAR, [{"name": name}])
