"""Reading: limits as they are, those that have a place, and what a message is held by."""

from __future__ import annotations

from typing import Final

from liteq.storage.driver import Transaction
from liteq.storage.limits.kinds import Held, Holder, Limit
from liteq.storage.limits.rules import OWN, Rule, Rules, pattern_of, read

__all__ = ["held", "holders", "limit", "limits"]

COUNTED: Final = 10_000  # messages, or lines, that are counted at most
LAST: Final = "\U0010ffff"  # no text goes on behind it
PAUSES = "SELECT key, paused_ms, reason FROM liteq_keys WHERE paused_ms > :now_ms LIMIT :limit"
PAUSE = "SELECT paused_ms, reason FROM liteq_keys WHERE key = ? AND paused_ms > ?"
RUNNING = "SELECT count(*) FROM (SELECT 1 FROM liteq_slots WHERE key = :key LIMIT :limit) AS found"
RUNNING_ALL = "SELECT key, count(*) FROM liteq_slots WHERE key >= :first AND key < :end GROUP BY key"
WAITING = "SELECT key, queue, priority FROM liteq_lines WHERE waits = :key LIMIT :limit"
WAITING_ALL = """
SELECT key, queue, priority, waits FROM liteq_lines WHERE waits >= :first AND waits < :end LIMIT :limit
"""
IN_LINE = """
SELECT count(*) FROM (
    SELECT 1 FROM liteq_messages
     WHERE state = 'held' AND held_by = :key AND queue = :queue AND priority = :priority LIMIT :limit) AS found
"""
HOLDERS = """
SELECT m.id, m.task, s.since_ms, coalesce(w.name, '')
  FROM liteq_slots AS s JOIN liteq_messages AS m ON m.seq = s.seq LEFT JOIN liteq_workers AS w ON w.id = m.worker
 WHERE s.key = :key ORDER BY s.seq LIMIT :limit
"""
# The places first, whatever the statistics say of the messages.
HOLDERS_OF_MANY = """
SELECT s.key, m.id, m.task, s.since_ms, coalesce(w.name, '')
  FROM (SELECT key, seq, since_ms FROM liteq_slots WHERE key >= :first AND key < :end ORDER BY key, seq LIMIT :limit)
    AS s JOIN liteq_messages AS m ON m.seq = s.seq LEFT JOIN liteq_workers AS w ON w.id = m.worker
"""
HELD = "SELECT seq, held_by, queue, priority, due_ms FROM liteq_messages WHERE id = ? AND state = 'held'"
WAITS = "SELECT waits FROM liteq_lines WHERE key = :key AND queue = :queue AND priority = :priority"
AT = "SELECT at FROM liteq_wakes WHERE key = ? AND queue = ?"
AHEAD = """
SELECT count(*) FROM (
    SELECT 1 FROM liteq_messages
     WHERE state = 'held' AND held_by = :key AND queue = :queue AND priority = :priority AND due_ms < :due_ms
     LIMIT :limit) AS found
"""


def limit(tx: Transaction, key: str, *, now_ms: int) -> Limit:
    """The limit of `key`, or what holds for it; without any, one that limits nothing."""
    return _limit(tx, key, read(tx), now_ms)


def limits(tx: Transaction, *, now_ms: int) -> list[Limit]:
    """The limits that are set, and the keys that are paused, by key."""
    rules = read(tx)
    paused = {key for key, _, _ in tx.execute(PAUSES, {"now_ms": now_ms, "limit": COUNTED})}
    return [_limit(tx, key, rules, now_ms) for key in sorted({*rules.by_key, *paused})]


def _limit(tx: Transaction, key: str, rules: Rules, now_ms: int) -> Limit:
    rule = rules.of(key)
    running, waiting = (_of_many if "*" in key else _of_one)(tx, key)
    until_ms, reason = _paused(tx, key, rule, now_ms)
    rate, concurrent = (None, None) if rule is None else (rule.rate, rule.concurrent)
    return Limit(key, rate, concurrent, running, waiting, None if until_ms is None else until_ms / 1000, reason)


def _paused(tx: Transaction, key: str, rule: Rule | None, now_ms: int) -> tuple[int | None, str]:
    keys = {key, key if rule is None else rule.key}
    found = [row for one in keys for row in tx.execute(PAUSE, (one, now_ms))]
    return max(found, default=(None, ""))


def _of_one(tx: Transaction, key: str) -> tuple[int, int]:
    """How many places are taken, and how many messages wait."""
    running = int(tx.execute(RUNNING, {"key": key, "limit": COUNTED})[0][0])
    return running, _in_lines(tx, tx.execute(WAITING, {"key": key, "limit": COUNTED}))


def _of_many(tx: Transaction, pattern: str) -> tuple[int, int]:
    fits = pattern_of(pattern).fullmatch
    first = pattern.partition("*")[0]
    span = {"first": first, "end": first + LAST, "limit": COUNTED}
    running = sum(n for key, n in tx.execute(RUNNING_ALL, span) if fits(key))
    found = [row[:3] for row in tx.execute(WAITING_ALL, span) if fits(row[3])]
    return running, _in_lines(tx, found)


def _in_lines(tx: Transaction, found: list[tuple[str, str, int]]) -> int:
    n = 0
    for key, queue, priority in found:
        if n >= COUNTED:
            break
        params = {"key": key, "queue": queue, "priority": priority, "limit": COUNTED - n}
        n += int(tx.execute(IN_LINE, params)[0][0])
    return n


def holders(tx: Transaction, key: str, limit: int) -> list[Holder]:
    """Up to `limit` messages that have a place under `key`, or under a key that it stands for."""
    if "*" in key:
        fits, first = pattern_of(key).fullmatch, key.partition("*")[0]
        rows = tx.execute(HOLDERS_OF_MANY, {"first": first, "end": first + LAST, "limit": COUNTED})
        return [Holder._make(row[1:]) for row in rows if fits(row[0])][:limit]
    return [Holder._make(row) for row in tx.execute(HOLDERS, {"key": key, "limit": limit})]


def held(tx: Transaction, message_id: str) -> Held | None:
    """The key that holds the message of this id back; None where none does, or a worker's own rate."""
    for _, line, queue, priority, due_ms in tx.execute(HELD, (message_id,)):
        if line is None or line.startswith(OWN):
            return None
        place = {"key": line, "queue": queue, "priority": priority}
        found = tx.execute(WAITS, place)
        key = found[0][0] if found and found[0][0] is not None else line
        ahead = int(tx.execute(AHEAD, {**place, "due_ms": due_ms, "limit": COUNTED})[0][0])
        at = [at_ms for (at_ms,) in tx.execute(AT, (key, queue))]
        return Held(key, due_ms, ahead, at[0] if at else None)
    return None
