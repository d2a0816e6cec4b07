"""The causes of failures: what failed in the same way is counted together, whatever becomes of its rows."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.serialization.causes import OTHER, Cause
from liteq.serialization.sealing import Private
from liteq.storage.driver import SKIP_LOCKED, Row, Transaction
from liteq.utils.records import NamedTuple

__all__ = ["MOST", "CauseRecord", "Failure", "count_dead", "expire", "find", "newest", "note", "tasks_of"]

MOST = 1_000  # causes in a file; what comes beyond is counted as one, "other"
COLUMNS = "id, task, queue, exception, frame, message, first_ms, last_ms, n, release, sample"
AGAIN = """
UPDATE liteq_causes
   SET n = n + :n, last_ms = CASE WHEN last_ms < :now_ms THEN :now_ms ELSE last_ms END, sample = :sample
 WHERE id = :id
RETURNING id
"""
COUNT = "SELECT count(*) FROM liteq_causes"
NEW = f"""
INSERT INTO liteq_causes ({COLUMNS})
VALUES (:id, :task, :queue, :exception, :frame, :message, :now_ms, :now_ms, :n, :release, :sample)
ON CONFLICT (id) DO UPDATE SET n = liteq_causes.n + excluded.n, last_ms = excluded.last_ms, sample = excluded.sample
"""
NEWEST = f"SELECT {COLUMNS} FROM liteq_causes WHERE last_ms >= :since_ms ORDER BY last_ms DESC LIMIT :limit"
FIND = f"SELECT {COLUMNS} FROM liteq_causes WHERE id = ?"
DEAD_OF = """
SELECT finished_ms, seq, id, queue FROM liteq_messages
 WHERE cause = :cause AND state = 'dead' AND (finished_ms, seq) < (:before_ms, :before_seq)
 ORDER BY finished_ms DESC, seq DESC LIMIT :limit
"""
HOW_MANY = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE cause = :cause AND state = 'dead' LIMIT :limit) AS found
"""
EXPIRED = f"""
DELETE FROM liteq_causes WHERE id IN (
    SELECT c.id FROM liteq_causes AS c
     WHERE c.last_ms < :before_ms
       AND NOT EXISTS (SELECT 1 FROM liteq_messages AS m WHERE m.cause = c.id AND m.state = 'dead')
     ORDER BY c.last_ms LIMIT :limit {SKIP_LOCKED})
"""
FOR_EVER = (1 << 63) - 1


class Failure(NamedTuple):
    """A failure of a message, found under a lease with this `token`."""

    token: int
    cause: Cause
    task: str
    queue: str
    id: str


class CauseRecord(NamedTuple):
    """A cause as the file has it: how often it was seen, and when first and last, in ms since the epoch.

    `release`: of the worker that saw it first; "" where it told none. `sample`: the id of the newest message.
    """

    id: str
    task: str
    queue: str
    exception: str
    frame: str
    message: str
    first_ms: int
    last_ms: int
    n: int
    release: str
    sample: str | None


def note(tx: Transaction, failures: Sequence[Failure], *, now_ms: int, release: str) -> dict[int, str]:
    """Count these failures; the id of the cause under which each was counted, by token."""
    by_cause: dict[str, list[Failure]] = {}
    for failure in failures:
        by_cause.setdefault(failure.cause.id, []).append(failure)
    found: dict[int, str] = {}
    for _, those in sorted(by_cause.items()):
        id_ = _count(tx, those, now_ms, release)
        found.update((failure.token, id_) for failure in those)
    return found


def _count(tx: Transaction, those: list[Failure], now_ms: int, release: str) -> str:
    last = those[-1]
    params = {"id": last.cause.id, "n": len(those), "now_ms": now_ms, "sample": last.id}
    if tx.execute(AGAIN, params):
        return last.cause.id
    cause, task, queue = last.cause, last.task, last.queue
    if tx.execute(COUNT)[0][0] >= MOST:
        cause, task, queue = Cause(OTHER, "", "", ""), "", ""
    more = {"task": task, "queue": queue, "release": release, **cause._asdict(), "message": Private(cause.message)}
    tx.executemany(NEW, [params | more])
    return cause.id


def newest(tx: Transaction, *, since_ms: int = 0, limit: int = 200) -> list[CauseRecord]:
    """The causes that were seen at `since_ms` or later, the newest first."""
    return [CauseRecord._make(row) for row in tx.execute(NEWEST, {"since_ms": since_ms, "limit": limit})]


def find(tx: Transaction, cause: str) -> CauseRecord | None:
    """The cause of this id; None where there is none."""
    rows: list[Row] = tx.execute(FIND, (cause,))
    return CauseRecord._make(rows[0]) if rows else None


def tasks_of(
    tx: Transaction, cause: str, *, after: tuple[int, int] | None = None, limit: int = 100
) -> list[tuple[int, int, str, str]]:
    """The dead letters of a cause, the newest first: when each failed, in ms, its row's number, its id, its queue.

    `after`: the first two of the last one of the page before.
    """
    before_ms, before_seq = (FOR_EVER, FOR_EVER) if after is None else after
    params = {"cause": cause, "before_ms": before_ms, "before_seq": before_seq, "limit": limit}
    return [(ms, seq, id_, queue) for ms, seq, id_, queue in tx.execute(DEAD_OF, params)]


def count_dead(tx: Transaction, cause: str, *, limit: int) -> int:
    """How many dead letters a cause has; no more than `limit` are counted."""
    return int(tx.execute(HOW_MANY, {"cause": cause, "limit": limit})[0][0])


def expire(tx: Transaction, *, before_ms: int, limit: int) -> int:
    """Delete causes that were seen last before `before_ms` and have no dead letter any more; how many."""
    return tx.executemany(EXPIRED, [{"before_ms": before_ms, "limit": limit}])
