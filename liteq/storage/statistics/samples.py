"""Measures over time, taken once a minute by one worker: how many wait, how late the queues are, how large the file is.

By indexes alone, and no more than `COUNTED` rows of a queue or a state are counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from liteq.storage.driver import Transaction

__all__ = ["COUNTED", "is_taken", "measure", "series", "thin", "write"]

COUNTED = 10_000
QUEUES = 500  # of those in which something waits
IS_TAKEN = "SELECT 1 FROM liteq_samples WHERE key = 'running' AND minute = ?"
NEXT_QUEUE = "SELECT min(queue) FROM liteq_messages WHERE state = 'pending' AND queue > ?"
WAITING = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE state = 'pending' AND queue = :queue LIMIT :limit) AS found
"""
HEAD = """
SELECT due_ms FROM liteq_messages WHERE state = 'pending' AND queue = :queue
 ORDER BY priority DESC, due_ms, seq LIMIT 1
"""
# Each by the partial index of its state.
COUNTS = {
    "running": "SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE state = 'leased' LIMIT ?) AS found",
    "scheduled": "SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE state = 'scheduled' LIMIT ?) AS found",
    "dead": "SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE state = 'dead' LIMIT ?) AS found",
}
WRITE = """
INSERT INTO liteq_samples (minute, key, value) VALUES (?, ?, ?)
ON CONFLICT (key, minute) DO UPDATE SET value = excluded.value
"""
SERIES = """
SELECT minute, value FROM liteq_samples WHERE key = :key AND minute >= :since AND minute < :until
 ORDER BY minute LIMIT :limit
"""
NEXT_KEY = "SELECT min(key) FROM liteq_samples WHERE key > ?"
# Of each hour the first minute stays.
THIN = """
DELETE FROM liteq_samples WHERE key = :key AND minute >= :since AND minute < :until AND minute % 60 <> 0
"""
EXPIRE = "DELETE FROM liteq_samples WHERE key = :key AND minute < :before"
WINDOW = 48 * 60  # minutes that are thinned at once: for as long all workers may have been away
KEYS = 500  # that are thinned in one transaction
ROWS = 50_000


def is_taken(tx: Transaction, minute: int) -> bool:
    """Whether some worker has measured in this minute."""
    return bool(tx.execute(IS_TAKEN, (minute,)))


def measure(tx: Transaction, *, now_ms: int) -> dict[str, int]:
    """The measures of now, by key: "waiting:mail", "head_wait_ms:mail", "running", "scheduled", "dead".

    "waiting" and "head_wait_ms" alone are of all queues: their sum, and the longest wait.
    """
    found = {key: int(tx.execute(COUNTS[key], (COUNTED,))[0][0]) for key in COUNTS}
    found |= {"waiting": 0, "head_wait_ms": 0}
    queue = tx.execute(NEXT_QUEUE, ("",))[0][0]
    for _ in range(QUEUES):
        if not isinstance(queue, str):
            break
        n = found[f"waiting:{queue}"] = int(tx.execute(WAITING, {"queue": queue, "limit": COUNTED})[0][0])
        found["waiting"] += n
        for (due_ms,) in tx.execute(HEAD, {"queue": queue}):
            if isinstance(due_ms, int):
                wait_ms = found[f"head_wait_ms:{queue}"] = max(now_ms - due_ms, 0)
                found["head_wait_ms"] = max(found["head_wait_ms"], wait_ms)
        queue = tx.execute(NEXT_QUEUE, (queue,))[0][0]
    return found


def write(tx: Transaction, minute: int, measures: Mapping[str, int]) -> None:
    """Note these measures of a minute."""
    tx.executemany(WRITE, [(minute, key, value) for key, value in measures.items()])


def series(tx: Transaction, key: str, *, since: int, until: int) -> list[tuple[int, int]]:
    """A measure over time: (minute since the epoch, value); a queue in which nothing waited has none then."""
    params = {"since": since, "until": until, "key": key, "limit": ROWS}
    return [(minute, value) for minute, value in tx.execute(SERIES, params)]


def thin(tx: Transaction, *, minute: int, kept: int, hours_kept: int, after: str) -> str | None:
    """Delete measures that are older than `kept` minutes, but for one an hour; and all older than `hours_kept`.

    Of the next `KEYS` keys behind `after`: the last of them, None where there is no more.
    """
    until, key = minute - kept, after
    for _ in range(KEYS):
        key = tx.execute(NEXT_KEY, (key,))[0][0]
        if key is None:
            return None
        tx.executemany(THIN, [{"key": key, "since": until - WINDOW, "until": until}])
        tx.executemany(EXPIRE, [{"key": key, "before": minute - hours_kept}])
    return key
