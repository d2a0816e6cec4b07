"""The verb *enqueue*: rows come in, one message or a whole canvas, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from liteq.message import Batch, Flag, Group, Message
from liteq.states import FINISHED, UNFINISHED, State, sql_list
from liteq.storage import continuation, payloads
from liteq.storage.driver import Bell, Driver, Row, Transaction
from liteq.storage.payloads import BESIDE, INLINE_BYTES

__all__ = ["enqueue", "enqueue_many", "enqueue_one"]

# ON CONFLICT DO NOTHING without a target: the same id again (a caller that repeats an enqueue which raised) and a
# unique key that is taken both leave the row that is there.
INSERT = """
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, options, due_ms, expires_ms, delay_ms,
                            created_ms, unique_key, flags, root_id, parent_id, awaits, group_id, position)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
INSERT_GROUP = """
INSERT INTO liteq_groups (id, size, remaining, group_id, position, root_id, created_ms)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
# A finished message stays while its workflow takes something from it: a row that waits or runs, a group that counts it.
FINISHED_MESSAGE = f"""
DELETE FROM liteq_messages
 WHERE id = ? AND state IN {sql_list(FINISHED)}
   AND NOT EXISTS (
        SELECT 1 FROM liteq_messages AS b WHERE b.awaits = liteq_messages.id AND b.state IN {sql_list(UNFINISHED)})
   AND NOT EXISTS (
        SELECT 1 FROM liteq_groups AS g
         WHERE g.id = liteq_messages.group_id
           AND (g.remaining > 0
                OR EXISTS (
                    SELECT 1 FROM liteq_messages AS b WHERE b.awaits = g.id AND b.state IN {sql_list(UNFINISHED)})))
"""
FINISHED_GROUP = f"""
DELETE FROM liteq_groups
 WHERE id = ? AND remaining = 0
   AND NOT EXISTS (
        SELECT 1 FROM liteq_messages AS b WHERE b.awaits = liteq_groups.id AND b.state IN {sql_list(UNFINISHED)})
"""

ONLY_SHOWN = f"DELETE FROM liteq_messages WHERE id = ? AND flags & {Flag.SHOWN} <> 0"
STANDS_FOR = f"SELECT id FROM liteq_messages WHERE unique_key = :key AND state IN {sql_list(UNFINISHED)}"

PENDING, SCHEDULED, BLOCKED = State.PENDING.value, State.SCHEDULED.value, State.BLOCKED.value


def message_row(m: Message, now_ms: int) -> Row:
    """`m` as the parameters of INSERT; `awaits` and `due_ms` decide its first state."""
    due_ms, payload = m.due_ms, m.payload
    if len(payload) > INLINE_BYTES:
        payload = BESIDE
    if m.awaits is not None:
        state = BLOCKED
    elif due_ms is not None and due_ms > now_ms:
        state = SCHEDULED
    else:
        state = PENDING
    return (
        m.id, m.task, m.queue, m.priority, state, payload, m.options, now_ms if due_ms is None else due_ms,
        m.expires_ms, m.delay_ms, now_ms, m.unique_key, m.flags, m.root_id, m.parent_id, m.awaits, m.group_id,
        m.position,
    )  # fmt: skip


def group_row(g: Group, now_ms: int) -> Row:
    return (g.id, g.size, g.size, g.group_id, g.position, g.root_id, now_ms)


def enqueue(tx: Transaction, batch: Batch, *, now_ms: int, again: Collection[str] = ()) -> list[str]:
    """Write `batch`; the ids that stand for its messages, in their order.

    An id that is there already is left as it is; one of `again` makes a new row where its message or group has
    finished. A message whose `unique_key` an unfinished one holds is not written: that one's id stands for it.
    """
    if again:
        tx.executemany(FINISHED_GROUP, [(g.id,) for g in batch.groups if g.id in again])
        tx.executemany(FINISHED_MESSAGE, [(m.id,) for m in batch.messages if m.id in again])
    if batch.groups:
        tx.executemany(INSERT_GROUP, [group_row(g, now_ms) for g in batch.groups])
    messages = batch.messages
    ids = [m.id for m in messages]
    if enqueue_many(tx, messages, now_ms=now_ms) != len(ids):
        ids = [_standing(tx, m) for m in messages]
    for awaited in _outside(batch):
        continuation.catch_up(tx, awaited, now_ms=now_ms)
    return ids


def enqueue_one(driver: Driver, batch: Batch, *, now_ms: int) -> bool:
    """Write `batch` if one statement does it: one message that awaits nothing, as `delay()` sends it.

    Without BEGIN and COMMIT that saves a tenth of an enqueue. False where it takes a transaction, or where a row stands
    for the message already: nothing was written.
    """
    if batch.groups or len(batch.messages) != 1:
        return False
    message = batch.messages[0]
    if message.awaits is not None or len(message.payload) > INLINE_BYTES:
        return False
    return driver.change(INSERT, message_row(message, now_ms), bell=Bell.WORK) == 1


def enqueue_many(tx: Transaction, messages: Sequence[Message], *, now_ms: int) -> int:
    """Write any number of messages that await nothing outside themselves; the number of rows written."""
    rows = [message_row(m, now_ms) for m in messages]
    written = tx.executemany(INSERT, rows)
    if written != len(rows) and tx.executemany(ONLY_SHOWN, [(m.id,) for m in messages]):
        written += tx.executemany(INSERT, rows)
    _write_large(tx, messages)
    return written


def _write_large(tx: Transaction, messages: Sequence[Message]) -> None:
    large = [(m.id, m.payload) for m in messages if len(m.payload) > INLINE_BYTES]
    if large:
        payloads.add_payloads(tx, large)


def _standing(tx: Transaction, message: Message) -> str:
    """The id of the row that stands for `message`: its own, or that of the holder of its unique key."""
    if message.unique_key is not None:
        for (holder,) in tx.execute(STANDS_FOR, {"key": message.unique_key}):
            return str(holder)
    return message.id


def _outside(batch: Batch) -> Iterator[str]:
    """The ids that rows of `batch` await and that are not in it: they may have finished already."""
    awaited = {m.awaits for m in batch.messages if m.awaits is not None}
    if awaited:
        awaited -= {m.id for m in batch.messages}
        awaited -= {g.id for g in batch.groups}
    return iter(sorted(awaited))
