"""Lines of held messages, and what they wait for.

A line is what one key holds, in one queue and priority; it is in the order in which its messages were due. It waits for
the key that its first message lacks, mostly its own. One row for that key and queue says when somebody is to look: at
a time, where a token or the end of a pause is waited for; when a place is free, else. So the end of a task wakes one
row, however many wait, and no claim looks at what cannot start.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from liteq.storage.driver import LOCK, Row, Transaction
from liteq.storage.limits.keys import lock
from liteq.storage.limits.rules import FAIR

__all__ = [
    "closed",
    "due",
    "enter",
    "fair_line",
    "head",
    "heads",
    "keep_round",
    "keys_from",
    "leave",
    "matter",
    "move",
    "round_of",
    "serve",
    "touch",
    "waiting",
    "wake",
]  # fmt: skip

# The round of a queue and priority stands in a line without a key: a line that is new joins those that it serves now.
ENTER = """
INSERT INTO liteq_lines (key, queue, priority, waits, turn)
VALUES (:key, :queue, :priority, :waits, coalesce((
    SELECT r.turn FROM liteq_lines AS r WHERE r.key = '' AND r.queue = :queue AND r.priority = :priority), 0))
ON CONFLICT DO NOTHING
"""
ROUND = "SELECT turn FROM liteq_lines WHERE key = '' AND queue = :queue AND priority = :priority"
KEEP_ROUND = """
INSERT INTO liteq_lines (key, queue, priority, waits, turn) VALUES ('', :queue, :priority, '', :turn)
ON CONFLICT (key, queue, priority) DO UPDATE SET turn = excluded.turn
"""
SERVE = "UPDATE liteq_lines SET turn = :turn WHERE key = :key AND queue = :queue AND priority = :priority"
MOVE = "UPDATE liteq_lines SET waits = :waits WHERE key = :key AND queue = :queue AND priority = :priority"
LEAVE = "DELETE FROM liteq_lines WHERE key = :key AND queue = :queue AND priority = :priority"
_LINES = "SELECT key, priority, turn FROM liteq_lines WHERE waits {} AND queue = :queue ORDER BY priority DESC, turn"
WAITING = _LINES.format("= :waits") + " LIMIT :limit"
FAIR_ONES = _LINES.format("IS NULL") + " LIMIT :limit"
_MESSAGE = """
SELECT seq, coalesce(token, 0), id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes,
       flags, root_id, parent_id, group_id, awaits, NULL, NULL, reaps, keys, 0, 0
  FROM liteq_messages
"""
HEADS = f"""{_MESSAGE.rstrip()}
 WHERE state = 'held' AND held_by = :key AND queue = :queue AND priority = :priority
 ORDER BY due_ms, seq LIMIT :limit
"""
# By itself: a look that passes over what somebody else is changing would take the line of that for empty.
HEAD = f"{_MESSAGE.rstrip()}\n WHERE seq = :seq AND state = 'held' AND held_by = :key {LOCK}"

WAKE = """
INSERT INTO liteq_wakes (key, queue, at) VALUES (:key, :queue, :at)
ON CONFLICT (key, queue) DO UPDATE SET at = excluded.at
 WHERE excluded.at IS NOT NULL AND (liteq_wakes.at IS NULL OR liteq_wakes.at > excluded.at)
"""
CLOSE = "UPDATE liteq_wakes SET at = :at WHERE key = :key AND queue = :queue"
FORGET = "DELETE FROM liteq_wakes WHERE key = :key AND queue = :queue"
DUE = "SELECT key FROM liteq_wakes WHERE queue = :queue AND at <= :now_ms ORDER BY at LIMIT :limit"
TOUCH = "UPDATE liteq_wakes SET at = :now_ms WHERE key = :key AND (at IS NULL OR at > :now_ms)"
KEYS = "SELECT DISTINCT key FROM liteq_wakes WHERE key > :after AND key >= :first ORDER BY key LIMIT :limit"
MATTERS = "UPDATE liteq_meta SET value = 1 WHERE key = 'limits' AND value = 0"

CHUNK: Final = 1_000  # keys of one transaction


def fair_line(queue: str, key: str) -> str:
    """The line of a fair key."""
    return f"{FAIR}{queue}:{key}"


def matter(tx: Transaction) -> None:
    """Have claims look for lines from now on: there is one, although there may be no limit."""
    tx.executemany(MATTERS, [{}])


def enter(tx: Transaction, key: str, queue: str, priority: int, waits: str | None) -> None:
    """Note a line that has got a message; one that was there stays as it is.

    `waits`: the key that its first message lacks; None: that one may start.
    """
    lock(tx)
    tx.executemany(ENTER, [{"key": key, "queue": queue, "priority": priority, "waits": waits}])


def waiting(tx: Transaction, waits: str | None, queue: str, limit: int) -> list[Row]:
    """The lines (key, priority, turn) of `queue` that wait for a key; for None, those whose first message may start."""
    if waits is None:
        return tx.execute(FAIR_ONES, {"queue": queue, "limit": limit})
    return tx.execute(WAITING, {"waits": waits, "queue": queue, "limit": limit})


def heads(tx: Transaction, key: str, queue: str, priority: int, limit: int) -> list[Row]:
    """The first messages of a line, in the columns of a claim, with their keys."""
    return tx.execute(HEADS, {"key": key, "queue": queue, "priority": priority, "limit": limit})


def head(tx: Transaction, seq: int, key: str) -> Row | None:
    """The first message of a line as it is now, locked; None where it has been cancelled, deleted or moved since."""
    found = tx.execute(HEAD, {"seq": seq, "key": key})
    return found[0] if found else None


def move(tx: Transaction, key: str, queue: str, priority: int, waits: str | None) -> None:
    """Note that a line waits for another key now; None: for none, its first message may start."""
    tx.executemany(MOVE, [{"key": key, "queue": queue, "priority": priority, "waits": waits}])


def leave(tx: Transaction, key: str, queue: str, priority: int) -> None:
    """Forget a line that is empty."""
    tx.executemany(LEAVE, [{"key": key, "queue": queue, "priority": priority}])


def serve(tx: Transaction, served: Iterable[tuple[str, str, int, int]]) -> None:
    """Note the next turns of lines (key, queue, priority, turn) that were served."""
    tx.executemany(SERVE, [{"key": k, "queue": q, "priority": p, "turn": turn} for k, q, p, turn in served])


def round_of(tx: Transaction, queue: str, priority: int) -> int:
    """The turn that was served last in a queue and priority."""
    found = tx.execute(ROUND, {"queue": queue, "priority": priority})
    return int(found[0][0]) if found else 0


def keep_round(tx: Transaction, queue: str, priority: int, turn: int) -> None:
    """Note the turn that was served last."""
    tx.executemany(KEEP_ROUND, [{"queue": queue, "priority": priority, "turn": turn}])


# -- when they are looked at ------------------------------------------------------------------------------------------


def wake(tx: Transaction, key: str, queue: str, at_ms: int | None) -> None:
    """Look at what waits for `key` at a time, or before; None: when a place is free."""
    tx.executemany(WAKE, [{"key": key, "queue": queue, "at": at_ms}])


def closed(tx: Transaction, key: str, queue: str, at_ms: int | None, *, empty: bool = False) -> None:
    """Note when what waits for `key` is looked at next, after a look; `empty`: nothing waits for it."""
    tx.executemany(FORGET if empty else CLOSE, [{"key": key, "queue": queue, **({} if empty else {"at": at_ms})}])


def due(tx: Transaction, queue: str, *, now_ms: int, limit: int) -> list[str]:
    """The keys for which it is time to look at what waits, those first that have been due for longest."""
    return [key for (key,) in tx.execute(DUE, {"queue": queue, "now_ms": now_ms, "limit": limit})]


def touch(tx: Transaction, keys: Iterable[str], *, now_ms: int) -> None:
    """Have what waits for these keys looked at now."""
    tx.executemany(TOUCH, [{"key": key, "now_ms": now_ms} for key in keys])


def keys_from(tx: Transaction, first: str, after: str) -> list[str]:
    """A chunk of the keys that are waited for, in their order, which begin at `first` and come after `after`."""
    return [key for (key,) in tx.execute(KEYS, {"first": first, "after": after, "limit": CHUNK})]
