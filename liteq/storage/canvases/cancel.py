"""The verbs that stop work: cancel messages, revoke ids, purge queues."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from liteq.exceptions import RunCancelled, TaskRevokedError
from liteq.message import Flag
from liteq.serialization import encode_error
from liteq.states import UNFINISHED, UNSTARTED, State, sql_list
from liteq.storage.canvases.continuation import End, propagate
from liteq.storage.driver import LOCK, SKIP_LOCKED, Transaction
from liteq.storage.rows.aside import let_go
from liteq.storage.statistics import stats
from liteq.storage.steps.asking import ask
from liteq.storage.steps.closing import close
from liteq.utils.records import NamedTuple

__all__ = ["Revoked", "cancel", "is_revoked", "purge", "revoke", "revoke_stamps", "revoked_ids", "revoked_stamps"]

CANCEL = f"""
UPDATE liteq_messages SET state = 'cancelled', finished_ms = :now_ms, error = :error
 WHERE id = :id AND state IN {sql_list(UNSTARTED)} AND flags & {Flag.HISTORY} = 0
RETURNING flags, group_id, awaits, task, queue
"""
RUN_ERROR = "UPDATE liteq_messages SET error = ? WHERE id = ?"
# The nodes that must end before a node: in a replacement, all of them.
BEFORE = f"""
SELECT awaits FROM liteq_messages
 WHERE id = :id AND state = 'blocked' AND awaits IS NOT NULL AND flags & {Flag.FOLLOWS} = 0
UNION ALL SELECT id FROM liteq_messages WHERE group_id = :id AND state IN {sql_list(UNFINISHED)}
UNION ALL SELECT id FROM liteq_groups WHERE group_id = :id AND remaining > 0
"""
# Locked before CANCEL looks: it would pass over a row that another transaction is making cancellable.
ALIVE = f"SELECT seq, state, flags FROM liteq_messages WHERE id = ? AND finished_ms IS NULL AND state <> 'dead' {LOCK}"
STATE = f"SELECT state FROM liteq_messages WHERE id = ? AND flags & {Flag.SHOWN} = 0 {LOCK}"
REMEMBER = """
INSERT INTO liteq_revoked (id, expires_ms) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET expires_ms = excluded.expires_ms
"""
CLEAR_REVOKED = "DELETE FROM liteq_revoked WHERE expires_ms < ?"
IS_REVOKED = "SELECT 1 FROM liteq_revoked WHERE id = ? AND expires_ms >= ?"
REVOKED_IDS = "SELECT id FROM liteq_revoked WHERE expires_ms >= ?"
REMEMBER_STAMP = """
INSERT INTO liteq_revoked_stamps (header, stamp, expires_ms) VALUES (?, ?, ?)
ON CONFLICT (header, stamp) DO UPDATE SET expires_ms = excluded.expires_ms
"""
CLEAR_STAMPS = "DELETE FROM liteq_revoked_stamps WHERE expires_ms < ?"
REVOKED_STAMPS = "SELECT header, stamp FROM liteq_revoked_stamps WHERE expires_ms >= ?"
# A chunk at a time: a million rows in one transaction held the write lock for seconds.
PURGEABLE = f"""
SELECT seq, id, flags, group_id, awaits FROM liteq_messages
 WHERE state = :state AND (CAST(:queue AS TEXT) IS NULL OR queue = :queue) AND flags & {Flag.HISTORY} = 0
 LIMIT :limit {SKIP_LOCKED}
"""
DELETE = "DELETE FROM liteq_messages WHERE seq = ?"


def cancel(tx: Transaction, ids: Sequence[str], *, now_ms: int, reason: str = "revoked") -> list[str]:
    """Cancel messages that have not started, and end their followers; the ids that are running now instead.

    A message that has replaced itself is cancelled with its replacement. A run that has begun is asked to end: its
    clean-up is its own.
    """
    error = encode_error(TaskRevokedError(reason or "revoked"))
    run_error = encode_error(RunCancelled(reason or "cancelled"))
    ends: list[End] = []
    running: dict[str, None] = {}
    sums: dict[stats.Key, stats.Tally] = {}
    named, todo = frozenset(ids), deque(sorted(ids))  # in the order of rows, mostly: no two wait for each other
    while todo:
        id_ = todo.popleft()
        before = [] if id_ in named else tx.execute(BEFORE, {"id": id_})
        alive = tx.execute(ALIVE, (id_,))
        rows = tx.execute(CANCEL, {"id": id_, "error": error, "now_ms": now_ms}) if alive else []
        for seq, state, flags in [] if rows else alive:
            if flags & Flag.RUN:
                ask(tx, seq, "cancel", reason=reason, leased=state == State.LEASED, now_ms=now_ms)
            elif state == State.LEASED:
                running[id_] = None
        for flags, group_id, awaits, task, queue in rows:
            stats.count(sums, (task, queue, "cancelled", ""))
            told = run_error if flags & Flag.RUN else error
            if told is run_error:
                tx.executemany(RUN_ERROR, [(run_error, id_)])
                close(tx, alive[0][0], id_)
            if flags & Flag.LINKED:
                ends.append(End(id_, False, group_id, told, child=bool(flags & Flag.CHILD)))
            if flags & Flag.ALIAS and not flags & Flag.FOLLOWS:
                todo.append(awaits)
        todo.extend(other for (other,) in before)
    propagate(tx, ends, now_ms=now_ms)
    stats.add(tx, sums, now_ms=now_ms)
    return list(running)


class Revoked(NamedTuple):
    """The ids that a revoke met: `running` now, `unknown`, and those that waited and were `cancelled`."""

    running: list[str]
    unknown: list[str]
    cancelled: list[str]


def revoke(tx: Transaction, ids: Sequence[str], *, now_ms: int, keep_ms: int) -> Revoked:
    """Cancel waiting messages; ids that run, or may still come, are kept as revoked for `keep_ms` milliseconds.

    A worker does not start a message whose id is kept: one that is sent later, or a retry of one that runs now.
    """
    states = {id_: tx.execute(STATE, (id_,)) for id_ in ids}
    unknown = [id_ for id_, rows in states.items() if not rows]
    running = cancel(tx, ids, now_ms=now_ms)
    waited = [id_ for id_, rows in states.items() if rows and rows[0][0] in UNSTARTED]
    cancelled = [id_ for id_ in waited if tx.execute(STATE, (id_,)) == [(State.CANCELLED,)]]
    tx.execute(CLEAR_REVOKED, (now_ms,))
    tx.executemany(REMEMBER, [(id_, now_ms + keep_ms) for id_ in (*running, *unknown)])
    return Revoked(running, unknown, cancelled)


def is_revoked(tx: Transaction, id_: str, *, now_ms: int) -> bool:
    """Whether this id is kept as revoked."""
    return bool(tx.execute(IS_REVOKED, (id_, now_ms)))


def revoked_ids(tx: Transaction, *, now_ms: int) -> list[str]:
    """The ids that are kept as revoked."""
    return [id_ for (id_,) in tx.execute(REVOKED_IDS, (now_ms,))]


def revoke_stamps(tx: Transaction, stamps: Iterable[tuple[str, str]], *, now_ms: int, keep_ms: int) -> None:
    """Keep stamps (header, JSON) as revoked for `keep_ms` milliseconds: a worker starts no message that has one."""
    tx.execute(CLEAR_STAMPS, (now_ms,))
    tx.executemany(REMEMBER_STAMP, [(header, stamp, now_ms + keep_ms) for header, stamp in stamps])


def revoked_stamps(tx: Transaction, *, now_ms: int) -> list[tuple[str, str]]:
    """The stamps (header, JSON) that are kept as revoked."""
    return [(header, stamp) for header, stamp in tx.execute(REVOKED_STAMPS, (now_ms,))]


def purge(tx: Transaction, queue: str | None, *, now_ms: int, limit: int) -> int:
    """Delete up to `limit` messages of `queue` (None: of all) that wait to run, due or not; how many.

    Their followers end as if they had been revoked; rows that are blocked or running are not touched otherwise, nor are
    runs that have begun.
    """
    error = encode_error(TaskRevokedError("purged"))
    ends: list[End] = []
    gone: list[tuple[int]] = []
    for state in (State.PENDING, State.HELD, State.SCHEDULED):
        params = {"state": state.value, "queue": queue, "limit": limit - len(gone)}
        for seq, id_, flags, group_id, awaits in tx.execute(PURGEABLE, params):
            gone.append((seq,))
            if flags & Flag.RUN:
                close(tx, seq, id_)
            if flags & Flag.LINKED:
                ends.append(End(id_, False, group_id, error, child=bool(flags & Flag.CHILD), slot=awaits))
    tx.executemany(DELETE, gone)
    propagate(tx, ends, now_ms=now_ms)
    let_go(tx, [end.id for end in ends])
    return len(gone)
