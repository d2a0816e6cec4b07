"""Reading: where one message stands: what is claimed before it, which lease it is under."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = ["Ahead", "Exclusive", "Held", "ahead", "exclusive", "failed_of", "held_by", "progress_of"]

COUNTED: Final = 10_000  # messages before one that are counted
# Each by a range of the index of pending messages.
HIGHER: Final = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages
 WHERE state = 'pending' AND queue = :queue AND priority > :priority LIMIT :limit) AS found
"""
EARLIER: Final = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages
 WHERE state = 'pending' AND queue = :queue AND priority = :priority AND due_ms < :due_ms LIMIT :limit) AS found
"""
SAME: Final = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages
 WHERE state = 'pending' AND queue = :queue AND priority = :priority AND due_ms = :due_ms AND seq < :seq
 LIMIT :limit) AS found
"""
PLACE: Final = "SELECT seq, queue, priority, due_ms FROM liteq_messages WHERE id = ? AND state = 'pending'"
LEASE: Final = """
SELECT m.deadline_ms, w.name, w.host, w.pid, w.uuid, w.heartbeat_ms
  FROM liteq_messages AS m LEFT JOIN liteq_workers AS w ON w.id = m.worker
 WHERE m.id = ? AND m.state = 'leased'
"""
EXCLUDES: Final = "SELECT id, until_ms FROM liteq_unique WHERE key = ?"
HOLDS: Final = "SELECT id FROM liteq_messages WHERE unique_key = ? AND finished_ms IS NULL LIMIT 1"
MARKED: Final = "SELECT unique_key FROM liteq_messages WHERE id = ?"
# A task's progress: a page reads it again and again, without the task's arguments.
PROGRESS: Final = "SELECT progress FROM liteq_messages WHERE id = ? AND state = 'leased' AND progress IS NOT NULL"
# The members that failed, the first to end first: of a bounded number of members.
FAILED: Final = """
SELECT id, finished_ms FROM (
    SELECT id, state, finished_ms FROM liteq_messages
     WHERE group_id IS NOT NULL AND group_id = :group ORDER BY position LIMIT :limit) AS member
 WHERE state = 'dead' OR state = 'cancelled' OR state = 'upstream_failed' ORDER BY finished_ms LIMIT 1
"""


class Ahead(NamedTuple):
    """How many messages of its queue are claimed before a message; where it is not `exact`, at least so many."""

    n: int
    exact: bool


class Held(NamedTuple):
    """The lease on a message: when it ends, and the worker that has it, as far as that one is still known."""

    deadline_ms: int | None
    worker: str | None
    host: str | None
    pid: int | None
    uuid: str | None
    heartbeat_ms: int | None


class Exclusive(NamedTuple):
    """A unique key: the unfinished message that holds it, and the last that excludes others until a time (ms).

    `marked`: the key as it stands in the row of the message that was asked about (`unique.STARTED`).
    """

    holder: str | None
    last: str | None
    until_ms: int | None
    marked: str | None


def ahead(tx: Transaction, id_: str, limit: int = COUNTED) -> Ahead | None:
    """The messages that are claimed before the pending one of this id; None where it is not pending."""
    for seq, queue, priority, due_ms in tx.execute(PLACE, (id_,)):
        n = 0
        place = {"queue": queue, "priority": priority}
        for sql, more in ((HIGHER, {}), (EARLIER, {"due_ms": due_ms}), (SAME, {"due_ms": due_ms, "seq": seq})):
            n += int(tx.execute(sql, {**place, **more, "limit": limit + 1 - n})[0][0])
        return Ahead(min(n, limit), n <= limit)
    return None


def held_by(tx: Transaction, id_: str) -> Held | None:
    """The lease on the message of this id; None where it is under none."""
    for row in tx.execute(LEASE, (id_,)):
        return Held._make(row)
    return None


def failed_of(tx: Transaction, group: str, limit: int = COUNTED) -> str | None:
    """The member of a group that was the first not to succeed, among `limit` members."""
    return next((id_ for id_, _ in tx.execute(FAILED, {"group": group, "limit": limit})), None)


def progress_of(tx: Transaction, ids: Iterable[str]) -> dict[str, bytes]:
    """The progress (JSON) that those of these messages have told that run now."""
    return {id_: bytes(told) for id_ in ids for (told,) in tx.execute(PROGRESS, (id_,))}


def exclusive(tx: Transaction, key: str, message_id: str) -> Exclusive:
    """The messages by which a unique key excludes others, and the key as it stands in the row of one message."""
    holder = next((id_ for (id_,) in tx.execute(HOLDS, (key,))), None)
    last, until_ms = next(iter(tx.execute(EXCLUDES, (key,))), (None, None))
    return Exclusive(holder, last, until_ms, next((marked for (marked,) in tx.execute(MARKED, (message_id,))), None))
