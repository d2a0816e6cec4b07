"""The verbs by which watchers remember what they have told: each alert once when it begins, and once when it is over.

Any number of watchers may look after one file and one target: a row is taken for a while by the one that tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = [
    "BEGAN",
    "LASTS",
    "OVER",
    "Failures",
    "Tell",
    "dead_since",
    "failures",
    "look",
    "standing",
    "tell_later",
    "told",
]

BEGAN, LASTS, OVER = range(3)  # liteq_alerts.told
STANDING = "SELECT key, text, since_ms, seen_ms, told, next_ms, tries FROM liteq_alerts WHERE target = ?"
ENTER = """
INSERT INTO liteq_alerts (target, key, text, since_ms, seen_ms, told, next_ms, tries)
VALUES (:target, :key, :text, :now_ms, :now_ms, 0, :next_ms, 0)
"""
SEEN = """
UPDATE liteq_alerts SET text = :text, seen_ms = :now_ms, tries = CASE WHEN told = 2 THEN 0 ELSE tries END,
       told = CASE WHEN told = 2 THEN 1 ELSE told END
 WHERE target = :target AND key = :key
"""
ENDS = "UPDATE liteq_alerts SET told = 2, next_ms = 0, tries = 0 WHERE target = ? AND key = ? AND told = 1"
NEVER_TOLD = "DELETE FROM liteq_alerts WHERE target = ? AND key = ? AND told = 0"
TAKE = """
UPDATE liteq_alerts SET next_ms = :until_ms
 WHERE target = :target AND key = :key AND told = :told AND next_ms = :next_ms
"""
TOLD = "UPDATE liteq_alerts SET told = 1, next_ms = 0, tries = 0 WHERE target = ? AND key = ? AND told = 0"
IS_OVER = "DELETE FROM liteq_alerts WHERE target = ? AND key = ? AND told = 2"
# A look has found it while its target was told that it is over: to the target it is a new one.
ANEW = """
UPDATE liteq_alerts SET told = 0, since_ms = seen_ms, next_ms = 0, tries = 0
 WHERE target = ? AND key = ? AND since_ms = ? AND told = 1
"""
LATER = """
UPDATE liteq_alerts SET next_ms = :next_ms, tries = tries + 1 WHERE target = :target AND key = :key AND told = :told
"""
# The rows of the last minutes alone: the key of liteq_stats begins with them.
FAILURES = """
SELECT task, cause, sum(n) AS failed FROM liteq_stats
 WHERE span = 1 AND minute >= :minute AND outcome = 'failed'
 GROUP BY task, cause HAVING sum(n) >= :least
 ORDER BY failed DESC, task, cause LIMIT :limit
"""
DEAD_SINCE = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE state = 'dead' AND finished_ms >= :since_ms LIMIT :limit)
    AS found
"""


class Tell(NamedTuple):
    """An alert of which its taker is to tell: `told` BEGAN or OVER; `tries`: how often that was tried in vain."""

    key: str
    text: str
    since_ms: int
    seen_ms: int
    told: int
    next_ms: int
    tries: int


class Failures(NamedTuple):
    """How often a task failed of one exception."""

    task: str
    exception: str
    n: int


def standing(tx: Transaction, target: str) -> list[Tell]:
    """The alerts of `target` that are in the file."""
    return [Tell._make(row) for row in tx.execute(STANDING, (target,))]


def look(
    tx: Transaction, target: str, found: Mapping[str, tuple[str, int]], *, quiet_ms: int, hold_ms: int, now_ms: int,
    limit: int | None = None,
) -> list[Tell]:  # fmt: skip
    """Enter what a look has `found`, as key: (text, ms for which it is to stand before it is told); what to tell now.

    An alert that no look has found for `quiet_ms` is over. What is returned is the caller's to tell for `hold_ms`:
    `limit` of these at most.
    """
    known = {one.key: one for one in standing(tx, target)}
    for key, (text, patience_ms) in found.items():
        values = {"target": target, "key": key, "text": text, "now_ms": now_ms}
        if key in known:
            tx.execute(SEEN, values)
        else:
            tx.execute(ENTER, {**values, "next_ms": now_ms + patience_ms})
    for key, one in known.items():
        if key not in found and now_ms - one.seen_ms >= quiet_ms:
            if one.told == LASTS:
                tx.execute(ENDS, (target, key))
            elif one.told == BEGAN and one.next_ms <= now_ms:  # else somebody may be telling of it
                tx.execute(NEVER_TOLD, (target, key))
    due = [one for one in standing(tx, target) if one.next_ms <= now_ms]
    wanted = [one for one in due if one.told == OVER or (one.told == BEGAN and one.key in found)]
    place = {"target": target, "until_ms": now_ms + hold_ms}
    taken = (  # but for those that another watcher has taken meanwhile
        one
        for one in wanted
        if tx.executemany(TAKE, [{**place, "key": one.key, "told": one.told, "next_ms": one.next_ms}])
    )
    return list(islice(taken, limit))


def told(tx: Transaction, target: str, one: Tell) -> None:
    """Note that `one` was told: that it began, or that it is over, which ends it."""
    if one.told == BEGAN:
        tx.execute(TOLD, (target, one.key))
    elif not tx.executemany(IS_OVER, [(target, one.key)]):
        tx.execute(ANEW, (target, one.key, one.since_ms))


def tell_later(tx: Transaction, target: str, one: Tell, *, next_ms: int) -> None:
    """Note that `one` was told in vain, and is to be told again at `next_ms`."""
    tx.execute(LATER, {"target": target, "key": one.key, "told": one.told, "next_ms": next_ms})


def failures(tx: Transaction, *, since_ms: int, least: int, limit: int) -> list[Failures]:
    """The tasks that failed at least `least` times of one exception since `since_ms`, to the minute; most first."""
    values = {"minute": since_ms // 60_000, "least": least, "limit": limit}
    return [Failures._make(row) for row in tx.execute(FAILURES, values)]


def dead_since(tx: Transaction, *, since_ms: int, limit: int) -> int:
    """How many dead letters of since `since_ms` there are; no more than `limit` are counted."""
    return int(tx.execute(DEAD_SINCE, {"since_ms": since_ms, "limit": limit})[0][0])
