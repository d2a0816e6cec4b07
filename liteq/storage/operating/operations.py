"""Bulk actions as rows: watched, stopped, and continued at their cursor when the process that does them is gone.

One process does an operation, under a name of its own (`owner`), which is its fence: each chunk begins with HOLD, which
finds the row only while that name is on it. So an owner that was taken for dead acts no more.
"""

from __future__ import annotations

import orjson

from liteq.storage.driver import LOCK, SKIP_LOCKED, Transaction
from liteq.utils.records import NamedTuple

__all__ = [
    "Operation",
    "Wanted",
    "advance",
    "ask_to_stop",
    "create",
    "expire",
    "find",
    "finish",
    "hold",
    "page",
    "release",
    "take",
]

UNTIL = "SELECT coalesce(max(seq), 0) FROM liteq_messages"
CREATE = """
INSERT INTO liteq_operations (id, kind, filter, arguments, queues, actor, reason, source, cursor, until, found, done,
                              skipped, rate, state, error, stop, owner, beat_ms, created_ms)
VALUES (:id, :kind, :filter, :arguments, :queues, :actor, :reason, :source, :cursor, :until, :found, 0,
        0, :rate, 'stopped', '', 0, NULL, :now_ms, :now_ms)
ON CONFLICT (id) DO NOTHING
"""
COLUMNS = """
SELECT id, kind, filter, arguments, queues, actor, reason, source, cursor, until, found, done, skipped, rate, state,
       error, stop, owner, beat_ms, created_ms, finished_ms
  FROM liteq_operations
"""
FIND = f"{COLUMNS} WHERE id = ?"
PAGE = f"{COLUMNS} WHERE (created_ms, id) < (?, ?) ORDER BY created_ms DESC, id DESC LIMIT ?"
# By one alone: of two processes that saw the same row, the second finds another beat.
TAKE = """
UPDATE liteq_operations SET state = 'running', stop = 0, owner = :owner, error = '', beat_ms = :now_ms
 WHERE id = :id AND finished_ms IS NULL AND coalesce(owner, '') = coalesce(CAST(:was AS TEXT), '')
   AND beat_ms = :beat_ms
"""
HOLD = f"SELECT stop FROM liteq_operations WHERE id = ? AND owner = ? AND state = 'running' {LOCK}"
ADVANCE = """
UPDATE liteq_operations SET cursor = :cursor, done = done + :done, skipped = skipped + :skipped, beat_ms = :now_ms
 WHERE id = :id AND owner = :owner
"""
RELEASE = """
UPDATE liteq_operations SET state = 'stopped', stop = 0, owner = NULL, beat_ms = :now_ms
 WHERE id = :id AND owner = :owner
"""
FINISH = """
UPDATE liteq_operations SET state = :state, error = :error, stop = 0, owner = NULL, beat_ms = :now_ms,
       finished_ms = CASE WHEN CAST(:state AS TEXT) = 'done' THEN CAST(:now_ms AS BIGINT) END
 WHERE id = :id AND owner = :owner
"""
ASK = "UPDATE liteq_operations SET stop = 1 WHERE id = ? AND state = 'running'"
EXPIRE = f"""
DELETE FROM liteq_operations
 WHERE id IN (SELECT id FROM liteq_operations
               WHERE created_ms < ? AND finished_ms IS NOT NULL ORDER BY created_ms LIMIT ? {SKIP_LOCKED})
"""
NEWEST = (1 << 63) - 1


class Operation(NamedTuple):
    """One bulk action. `arguments`, `queues` and `cursor` are JSON; times are ms since the epoch.

    `cursor` says where it goes on, `fence` in it which messages have been claimed since it began (those above it).
    `state`: running stopped done failed. `beat_ms`: the last chunk of `owner`; an old one tells that it is gone.
    `stop`: 1 while it is asked to stop.
    """

    id: str
    kind: str
    filter: str
    arguments: bytes
    queues: bytes | None
    actor: str
    reason: str
    source: str
    cursor: bytes
    until: int
    found: int
    done: int
    skipped: int
    rate: str
    state: str
    error: str
    stop: int
    owner: str | None
    beat_ms: int
    created_ms: int
    finished_ms: int | None


class Wanted(NamedTuple):
    """An operation to be: what is done (`kind`), to what (`filter`), and how (`arguments`, JSON)."""

    id: str
    kind: str
    filter: str
    arguments: bytes
    queues: bytes | None
    actor: str
    reason: str
    source: str
    found: int
    rate: str = ""


def create(tx: Transaction, wanted: Wanted, *, now_ms: int) -> bool:
    """Write an operation that nobody does yet; False where there is one of this id.

    Later messages are not its, nor are those that are claimed from now on: its cursor begins with a token, the fence.
    So a message that was acted upon, ran, and has failed once more is not acted upon again.
    """
    until = tx.execute(UNTIL)[0][0]
    cursor = orjson.dumps({"fence": tx.tokens(1)})
    return bool(tx.executemany(CREATE, [{**wanted._asdict(), "until": until, "cursor": cursor, "now_ms": now_ms}]))


def find(tx: Transaction, id_: str) -> Operation | None:
    """The operation of this id; None where there is none."""
    return next((Operation._make(row) for row in tx.execute(FIND, (id_,))), None)


def page(tx: Transaction, *, after: str | None, limit: int) -> list[Operation]:
    """Up to `limit` operations, the newest first: those behind the one of the id `after`; [] where that is gone."""
    last = None if after is None else find(tx, after)
    if last is None and after is not None:
        return []
    mark = (NEWEST, "") if last is None else (last.created_ms, last.id)
    return [Operation._make(row) for row in tx.execute(PAGE, (*mark, limit))]


def take(tx: Transaction, seen: Operation, owner: str, *, now_ms: int) -> bool:
    """Let `owner` do an operation as it was `seen`: stopped, or its owner gone. False where another was first."""
    where = {"id": seen.id, "owner": owner, "was": seen.owner, "beat_ms": seen.beat_ms, "now_ms": now_ms}
    return bool(tx.executemany(TAKE, [where]))


def hold(tx: Transaction, id_: str, owner: str) -> bool | None:
    """Whether `owner` is to stop; None where the operation is not its own any more, and it is to do nothing."""
    for (stop,) in tx.execute(HOLD, (id_, owner)):
        return bool(stop)
    return None


def advance(tx: Transaction, id_: str, owner: str, *, cursor: bytes, done: int, skipped: int, now_ms: int) -> None:
    """Note a chunk: what was done in it, and behind which row the next one begins."""
    chunk = {"id": id_, "owner": owner, "cursor": cursor, "done": done, "skipped": skipped, "now_ms": now_ms}
    tx.executemany(ADVANCE, [chunk])


def release(tx: Transaction, id_: str, owner: str, *, now_ms: int) -> None:
    """Give an operation up, as it was asked; it can be continued at its cursor."""
    tx.executemany(RELEASE, [{"id": id_, "owner": owner, "now_ms": now_ms}])


def finish(tx: Transaction, id_: str, owner: str, *, error: str = "", now_ms: int) -> None:
    """End an operation: done, or failed with `error`; a failed one can be continued."""
    end = {"id": id_, "owner": owner, "state": "failed" if error else "done", "error": error, "now_ms": now_ms}
    tx.executemany(FINISH, [end])


def ask_to_stop(tx: Transaction, id_: str) -> bool:
    """Ask the owner of an operation to stop after its chunk; False where none does it."""
    return bool(tx.executemany(ASK, [(id_,)]))


def expire(tx: Transaction, before_ms: int, *, limit: int) -> int:
    """Delete up to `limit` operations that are done and began before `before_ms`; how many."""
    return tx.executemany(EXPIRE, [(before_ms, limit)])
