"""Reading: limits as they are. The messages that one holds, and those with its places: storage/reading/holding.py."""

from __future__ import annotations

from typing import Final

from liteq.storage.driver import Transaction
from liteq.storage.limits.kinds import Limit
from liteq.storage.limits.rules import Rule, Rules, pattern_of, read

__all__ = ["limit", "limits"]

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
    rate, concurrent, tokens = (None, None, None) if rule is None else (rule.rate, rule.concurrent, rule.tokens)
    until = None if until_ms is None else until_ms / 1000
    return Limit(key, rate, concurrent, running, waiting, until, reason, tokens)


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
