"""Reading the results of tasks: the JSON of a message's or a group's result, without decoding it."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from liteq.exceptions import ChordError
from liteq.message import LATER, Flag
from liteq.serialization import as_json, decode, decode_error, encode, encode_error
from liteq.serialization.errors import shorten
from liteq.states import FINISHED, State, sql_list
from liteq.storage.driver import Transaction
from liteq.storage.rows.aside import let_go
from liteq.storage.rows.needed import excludes, hold, needed
from liteq.storage.rows.payloads import BESIDE, INLINE_BYTES, NO_ARGUMENTS, RESULT_COLUMN, result_ref
from liteq.storage.rows.payloads import store as store_bodies
from liteq.utils.records import NamedTuple

__all__ = ["Ending", "forget", "group_bytes", "group_error", "input_of", "passed_on", "result_of", "store", "whole"]

STORE = f"""
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, options, due_ms, created_ms, flags,
                            position, result, error, finished_ms)
VALUES (:id, :task, '', 0, :state, :payload, :options, :now_ms, :now_ms, 0, 0, :result, :error, :now_ms)
ON CONFLICT (id) DO UPDATE
   SET state = excluded.state, result = excluded.result, error = excluded.error, finished_ms = excluded.finished_ms,
       progress = NULL, flags = liteq_messages.flags & ~{Flag.SHOWN}
 WHERE liteq_messages.state IN {sql_list(FINISHED)}
   AND (liteq_messages.queue = '' OR (liteq_messages.state <> 'succeeded' AND excluded.state <> 'cancelled'))
RETURNING seq
"""
CLEAR_BODY = "DELETE FROM liteq_bodies WHERE ref = ?"

RESULT = f"SELECT {RESULT_COLUMN} FROM liteq_messages AS m WHERE m.id = ?"
IN_ROW = "SELECT result FROM liteq_messages WHERE id = ?"
ERROR = "SELECT error FROM liteq_messages WHERE id = ?"
IS_GROUP = "SELECT 1 FROM liteq_groups WHERE id = ?"
MEMBERS = f"""
SELECT position, id, {RESULT_COLUMN}, 0 AS is_group FROM liteq_messages AS m WHERE group_id = :id
UNION ALL
SELECT position, id, NULL, 1 FROM liteq_groups WHERE group_id = :id
ORDER BY 1
"""
GROUP_SIZE = """
SELECT coalesce(sum(CASE length(m.result) WHEN 0 THEN (SELECT length(body) FROM liteq_bodies WHERE ref = 2 * m.seq + 1)
                    ELSE length(m.result) END), 0)
  FROM liteq_messages AS m WHERE m.group_id = :id
"""
INNER_GROUPS = "SELECT id FROM liteq_groups WHERE group_id = :id"
FIRST_FAILED = f"""
SELECT id, error FROM liteq_messages
 WHERE group_id = :id AND state IN {sql_list(FINISHED - {State.SUCCEEDED})}
 ORDER BY position LIMIT 1
"""
FIRST_FAILED_GROUP = "SELECT id FROM liteq_groups WHERE group_id = :id AND failed > 0 ORDER BY position LIMIT 1"
# Only what is finished: a row that still runs is not a result, and its workflow needs it.
FORGET = f"""
DELETE FROM liteq_messages WHERE id = ? AND state IN {sql_list(FINISHED)}
   AND NOT {needed("liteq_messages")} AND NOT {excludes("liteq_messages")}
"""


def result_of(tx: Transaction, node: str, *, largest: float = inf) -> bytes:
    """The result of a message, or the list of the results of a group's members, as JSON; `null` where none is kept.

    LATER where it stands beside its row, or those of a group have more than `largest` bytes.
    """
    for (result,) in tx.execute(RESULT if largest == inf else IN_ROW, (node,)):
        return result if result is not None else b"null"
    if tx.execute(IS_GROUP, (node,)):
        if largest < inf and group_bytes(tx, node) > largest:
            return LATER
        return b"[" + b",".join(_members(tx, node)) + b"]"
    return b"null"


def _members(tx: Transaction, group: str) -> Iterable[bytes]:
    for _, id_, result, is_group in tx.execute(MEMBERS, {"id": group}):
        if is_group:
            yield b"[" + b",".join(_members(tx, id_)) + b"]"
        else:
            yield as_json(result) if result is not None else b"null"


def group_bytes(tx: Transaction, node: str) -> int:
    """The size of the results of a group's members, those of its inner groups among them."""
    total, todo = 0, [node]
    while todo:
        inner = todo.pop()
        total += tx.execute(GROUP_SIZE, {"id": inner})[0][0]
        todo += [id_ for (id_,) in tx.execute(INNER_GROUPS, {"id": inner})]
    return total


FirstFailure = tuple[str, bytes | None]  # the id of a message, and its error


def group_error(tx: Transaction, group: str, first: FirstFailure | None) -> bytes:
    """The error for the rows behind a group that failed: a ChordError that names its first member that did."""
    if first is None:
        return encode_error(ChordError(f"a member of group {group} failed"))
    member, error = first
    cause = decode_error(whole(tx, error)) if error else None
    reason = f"{cause.type}({', '.join(map(repr, cause.args))})" if cause else "TaskRevokedError('revoked')"
    return encode_error(ChordError(f"Dependency {member} raised {reason}"))


def first_failure(tx: Transaction, group: str) -> FirstFailure | None:
    """The first member of a group that failed, perhaps one of a group in it, and its error; None where none is kept."""
    inner = group
    while True:
        for member, error in tx.execute(FIRST_FAILED, {"id": inner}):
            return member, error
        nested = tx.execute(FIRST_FAILED_GROUP, {"id": inner})
        if not nested:
            return None
        inner = nested[0][0]


def input_of(tx: Transaction, awaited: str, *, failure: bool, largest: float = inf) -> bytes | None:
    """The input of a row that awaited `awaited`: its result; for an errback its error document."""
    if not failure:
        return result_of(tx, awaited, largest=largest)
    for (error,) in tx.execute(ERROR, (awaited,)):
        return error if error is None else whole(tx, bytes(error))
    return group_error(tx, awaited, first_failure(tx, awaited)) if tx.execute(IS_GROUP, (awaited,)) else None


PASSED_ON_BYTES = 1_024  # an error that is larger is stored once, and those that failed because of it refer to it
HEAD_BYTES = 160  # of its text
OF = "of"


def passed_on(error: bytes | None, origin: str) -> bytes | None:
    """`error`, the one of the message `origin`, as those that fail because of it hold it: short, with a reference."""
    if error is None or len(error) <= PASSED_ON_BYTES:
        return error
    doc = decode_error(error)
    text = shorten(doc.message, HEAD_BYTES)
    names = {"type": shorten(doc.type, 128), "module": shorten(doc.module, 128)}
    return encode({**names, "message": text, "args": [text], OF: origin}, what="an error that is passed on")


def whole(tx: Transaction, error: bytes, known: dict[str, bytes] | None = None) -> bytes:
    """`error`; what it was made from by `passed_on`, where that is still there. `known`: those read so far."""
    if b'"of":' not in error:
        return error
    origin = decode(error).get(OF)
    if not isinstance(origin, str):
        return error
    if known is None or origin not in known:
        found = next((bytes(own) for (own,) in tx.execute(ERROR, (origin,)) if own is not None), error)
        if known is None:
            return found
        known[origin] = found
    return known[origin]


class Ending(NamedTuple):
    """How a message ended that no worker ran; `state` is a final one, `options` the document of its options."""

    state: State
    task: str = ""
    result: bytes | None = None
    error: bytes | None = None
    options: bytes | None = None


def store(tx: Transaction, message_id: str, ending: Ending, *, now_ms: int) -> bool:
    """Store an end for an id without a message, or in the place of a failure or a cancellation; False for any other.

    A message that has succeeded keeps its end: others went on with its result. One that has ended is not cancelled any
    more: a revoke that did not see the end yet comes too late. A stored end may be replaced by any.
    """
    document = {**ending._asdict(), "state": ending.state.value, "payload": NO_ARGUMENTS}
    params = {**document, "id": message_id, "now_ms": now_ms}
    large = ending.result is not None and len(ending.result) > INLINE_BYTES
    if large:
        params["result"] = BESIDE
    rows = tx.execute(STORE, params)
    for (seq,) in rows:
        tx.executemany(CLEAR_BODY, [(result_ref(seq),)])
        if large:
            store_bodies(tx, [(result_ref(seq), ending.result or b"")])
    return bool(rows)


def forget(tx: Transaction, ids: Iterable[str]) -> int:
    """Delete finished messages; those that a later row may still ask for stay. The number deleted."""
    ids = list(ids)
    hold(tx, ids)
    gone = tx.executemany(FORGET, [(id_,) for id_ in ids])
    let_go(tx, ids)
    return gone
