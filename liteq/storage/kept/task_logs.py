"""The kept log of tasks: its lines are a stream of theirs, and stay for a time of their own after the end.

A row of liteq_logs says for how long. While it is there, the message is: its id has to find the lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Flag
from liteq.storage.driver import LOCK, SKIP_LOCKED, Transaction
from liteq.storage.kept.streams import AT_NO_STEP, emit
from liteq.utils.names import LOG_STREAM

__all__ = ["ATTEMPTS", "STAYS", "expire", "write"]

ATTEMPTS = 5  # whose lines are kept, the newest ones: a task that is retried for ever has no log without end
MOST = 20  # logs that one transaction deletes: each has some thousand lines
LEAST_MS = 60_000  # until a task that has not ended is looked at again

MARKS = Flag.EMITS | Flag.LOGS
HELD = f"SELECT flags FROM liteq_messages WHERE seq = ? AND state = 'leased' AND token = ? {LOCK}"
MARK = f"UPDATE liteq_messages SET flags = flags | {MARKS} WHERE seq = ?"
KEEP = """
INSERT INTO liteq_logs (run, keep_ms, look_ms) VALUES (?, ?, ?)
ON CONFLICT (run) DO UPDATE SET keep_ms = excluded.keep_ms, look_ms = excluded.look_ms
"""
DROP_OLD = "DELETE FROM liteq_stream WHERE run = ? AND stream = ? AND attempt <= ?"
DUE = f"""
SELECT l.run, l.keep_ms, m.finished_ms
  FROM liteq_logs AS l JOIN liteq_messages AS m ON m.seq = l.run
 WHERE l.look_ms <= ?
 ORDER BY l.look_ms LIMIT ? {SKIP_LOCKED}
"""
LATER = "UPDATE liteq_logs SET look_ms = ? WHERE run = ?"
DROP_LINES = "DELETE FROM liteq_stream WHERE run = ? AND stream = ?"
DROP = "DELETE FROM liteq_logs WHERE run = ?"

STAYS = f"(m.flags & {Flag.LOGS} <> 0 AND EXISTS (SELECT 1 FROM liteq_logs AS k WHERE k.run = m.seq))"
"""Of a message `m`: whether it has a log that is kept."""


def write(
    tx: Transaction, seq: int, token: int, lines: Sequence[bytes], attempt: int | None, *, keep_ms: int, now_ms: int
) -> int | None:
    """Add lines to the log of the task that runs under the lease (`seq`, `token`); the attempt that they bear.

    `attempt`: None at the first lines of an execution, as of `streams.emit`. None is returned where the lease is over.
    """
    for (flags,) in tx.execute(HELD, (seq, token)):
        if flags & MARKS != MARKS:
            tx.execute(MARK, (seq,))
        first = attempt is None
        attempt = emit(tx, seq, LOG_STREAM, AT_NO_STEP, lines, attempt)
        if first:
            tx.execute(KEEP, (seq, keep_ms, now_ms + keep_ms))
            if attempt > ATTEMPTS:
                tx.execute(DROP_OLD, (seq, LOG_STREAM, attempt - ATTEMPTS))
        return attempt
    return None


def expire(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Delete the logs whose time is over, MOST at most; how many. Their messages may leave then."""
    gone = 0
    later: list[tuple[int, int]] = []
    for seq, keep_ms, finished_ms in tx.execute(DUE, (now_ms, limit)):  # many may be of tasks that have not ended
        if finished_ms is None:
            later.append((now_ms + max(keep_ms, LEAST_MS), seq))
        elif finished_ms + keep_ms > now_ms:
            later.append((finished_ms + keep_ms, seq))
        elif gone < min(limit, MOST):
            tx.execute(DROP_LINES, (seq, LOG_STREAM))
            tx.execute(DROP, (seq,))
            gone += 1
    tx.executemany(LATER, later)
    return gone
