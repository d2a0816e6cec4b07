"""The attempts of a message that failed before: each with its own error, as the row keeps the newest alone.

A message that succeeds at once has none here: its row tells of its only attempt.
"""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = ["MOST", "Attempt", "AttemptRecord", "attempts", "write"]

MOST = 100  # attempts of a message that are kept, the newest: a task may be retried for ever
# The row has been written already: it knows its worker, its error and its cause.
WRITE = """
INSERT INTO liteq_attempts (message, n, worker, started_ms, ended_ms, outcome, cause, error)
SELECT m.seq, (SELECT coalesce(max(a.n), 0) + 1 FROM liteq_attempts AS a WHERE a.message = m.seq),
       coalesce((SELECT w.name FROM liteq_workers AS w WHERE w.id = m.worker), ''), CAST(:started_ms AS BIGINT),
       :now_ms, :outcome, CASE WHEN :outcome <> 'succeeded' THEN m.cause END,
       CASE WHEN :outcome <> 'succeeded' THEN m.error END
  FROM liteq_messages AS m WHERE m.seq = :seq
"""
FORGET = """
DELETE FROM liteq_attempts
 WHERE message = :seq AND n <= (SELECT max(a.n) FROM liteq_attempts AS a WHERE a.message = :seq) - :most
"""
OF = """
SELECT a.n, a.worker, a.started_ms, a.ended_ms, a.outcome, a.cause, a.error
  FROM liteq_attempts AS a JOIN liteq_messages AS m ON m.seq = a.message
 WHERE m.id = :id ORDER BY a.n DESC LIMIT :limit
"""


class Attempt(NamedTuple):
    """An attempt that has just ended, of the message of row `seq`. Times in ms since the epoch."""

    seq: int
    outcome: str
    started_ms: int | None
    ended_ms: int


class AttemptRecord(NamedTuple):
    """An attempt as the file has it: its number from 1, its worker's name, its times in ms, and how it ended.

    `outcome`: succeeded retried failed crashed reaped cancelled. `error` is JSON, as a message's.
    """

    n: int
    worker: str
    started_ms: int | None
    ended_ms: int
    outcome: str
    cause: str | None
    error: bytes | None


def write(tx: Transaction, ended: Sequence[Attempt]) -> None:
    """Add these attempts to their messages, whose rows have been written; the oldest of too many go."""
    params = [
        {"seq": one.seq, "outcome": one.outcome, "started_ms": one.started_ms, "now_ms": one.ended_ms} for one in ended
    ]
    tx.executemany(WRITE, params)
    tx.executemany(FORGET, [{"seq": one.seq, "most": MOST} for one in ended])


def attempts(tx: Transaction, message_id: str, *, limit: int = MOST) -> list[AttemptRecord]:
    """The attempts of a message that are kept, the oldest first; [] for one that did not fail."""
    rows = tx.execute(OF, {"id": message_id, "limit": limit})
    return [AttemptRecord._make(row) for row in reversed(rows)]
