"""Queues that are paused: what waits in one stays there, until it is resumed or its time comes.

Each claim looks here itself, so a pause holds from its commit on in every worker; what a worker has already is
executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = ["OPEN", "Pause", "expire", "open_queues", "pause", "paused", "resume"]

# A part of the claims' statements: one look into a table that is nearly always empty.
OPEN: Final = """
NOT EXISTS (SELECT 1 FROM liteq_queues AS p WHERE p.queue = :queue AND (p.until_ms IS NULL OR p.until_ms > :now_ms))
"""
PAUSE = """
INSERT INTO liteq_queues (queue, paused_ms, until_ms, actor, reason)
VALUES (:queue, :now_ms, :until_ms, :actor, :reason)
ON CONFLICT (queue) DO UPDATE
   SET paused_ms = excluded.paused_ms, until_ms = excluded.until_ms, actor = excluded.actor, reason = excluded.reason
"""
RESUME = "DELETE FROM liteq_queues WHERE queue = ? AND (until_ms IS NULL OR until_ms > ?)"
PAUSED = """
SELECT queue, paused_ms, until_ms, actor, reason FROM liteq_queues
 WHERE until_ms IS NULL OR until_ms > ? ORDER BY queue LIMIT 1000
"""
IS_PAUSED = "SELECT 1 FROM liteq_queues WHERE queue = ? AND (until_ms IS NULL OR until_ms > ?)"
KEPT_MS: Final = 60_000  # after its end, for workers that have to find out that it is over
EXPIRED = "DELETE FROM liteq_queues WHERE until_ms <= ?"


class Pause(NamedTuple):
    """A queue from which nothing is claimed: since when, until when (None: until it is resumed), by whom and why.

    Times in ms since the epoch.
    """

    queue: str
    since_ms: int
    until_ms: int | None
    actor: str
    reason: str


def pause(
    tx: Transaction, queue: str, *, now_ms: int, until_ms: int | None = None, actor: str = "", reason: str = ""
) -> None:
    """Pause a queue, whether there is such a one yet or not; of one that is paused, the rest of these is changed."""
    params = {"queue": queue, "now_ms": now_ms, "until_ms": until_ms, "actor": actor, "reason": reason}
    tx.executemany(PAUSE, [params])


def resume(tx: Transaction, queue: str, *, now_ms: int) -> bool:
    """Let the messages of a queue be claimed again; False where it was not paused."""
    return tx.executemany(RESUME, [(queue, now_ms)]) == 1


def paused(tx: Transaction, *, now_ms: int) -> list[Pause]:
    """The queues that are paused now, by name."""
    return [Pause._make(row) for row in tx.execute(PAUSED, (now_ms,))]


def open_queues(tx: Transaction, queues: Sequence[str], *, now_ms: int) -> list[str]:
    """Those of `queues` that are not paused, in their order."""
    return [queue for queue in queues if not tx.execute(IS_PAUSED, (queue, now_ms))]


def expire(tx: Transaction, *, now_ms: int) -> int:
    """Forget pauses that are over since `KEPT_MS`; how many."""
    return tx.executemany(EXPIRED, [(now_ms - KEPT_MS,)])
