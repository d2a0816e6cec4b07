"""The verb *enqueue*: rows come in, one message or a whole canvas, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from liteq.exceptions import CanvasConflict
from liteq.message import Batch, Flag, Group, Message
from liteq.states import State
from liteq.storage.canvases import continuation
from liteq.storage.canvases.follow import UNDER_ITS_ID, Waiter, as_alias, before, link, of_errbacks, waits_for
from liteq.storage.canvases.standing import is_plain, parts_of, standing
from liteq.storage.driver import AT_ONCE, LOCK, Bell, Driver, Row, Transaction
from liteq.storage.limits import lines
from liteq.storage.limits.ledger import parsed
from liteq.storage.rows import payloads
from liteq.storage.rows.payloads import BESIDE, INLINE_BYTES
from liteq.storage.sending import unique
from liteq.storage.steps.birth import add_runs, add_tags
from liteq.utils.records import NamedTuple

__all__ = [
    "UNDER_ITS_ID",
    "Collided",
    "Placed",
    "enqueue",
    "enqueue_many",
    "enqueue_new",
    "enqueue_one",
    "is_there",
    "may_be_new",
    "place",
    "stand_behind",
]

# ON CONFLICT DO NOTHING without a target: the same id again (a caller that repeats an enqueue which raised) and a
# unique key that is taken both leave the row that is there.
INSERT = f"""
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, options, due_ms, expires_ms, delay_ms,
                            created_ms, unique_key, flags, root_id, parent_id, awaits, group_id, position)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING {AT_ONCE}
"""
# Of messages with keys. What takes turns is not claimable by itself: it is held in its line from the start.
INSERT_KEYED = INSERT.replace("position)", "position, keys, held_by)").replace("?, ?)\n", "?, ?, ?, ?)\n")
# Under an id that its sender chose: a group may have it.
INSERT_CHOSEN = INSERT.replace(
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?\n"
    " WHERE NOT EXISTS (SELECT 1 FROM liteq_groups WHERE id = ?)",
)
INSERT_GROUP = """
INSERT INTO liteq_groups (id, size, remaining, group_id, position, root_id, created_ms)
SELECT ?, ?, ?, ?, ?, ?, ?
 WHERE NOT EXISTS (SELECT 1 FROM liteq_messages WHERE id = ?)
ON CONFLICT DO NOTHING
"""
ONLY_SHOWN = f"DELETE FROM liteq_messages WHERE id = ? AND flags & {Flag.SHOWN} <> 0"
# Locked: what something is sent behind may not leave before that is there.
IS_MESSAGE = f"SELECT 1 FROM liteq_messages WHERE id = ? {LOCK}"
IS_GROUP = f"SELECT 1 FROM liteq_groups WHERE id = ? {LOCK}"

# A canvas of which a part is there already is looked at part by part, as if nothing of it had been written.
TRY, UNDO, KEEP = "SAVEPOINT canvas", "ROLLBACK TO canvas", "RELEASE canvas"

PENDING, SCHEDULED, BLOCKED = State.PENDING.value, State.SCHEDULED.value, State.BLOCKED.value
STATE = 4  # column of INSERT
HAS_ROWS = Flag.RUN | Flag.TAGGED  # of its own, in other tables
LOOKS = 5  # at a unique key that others take and give back


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


def keyed_row(m: Message, now_ms: int) -> Row:
    """`m` as the parameters of INSERT_KEYED."""
    row = message_row(m, now_ms)
    fair = parsed(m.keys).fair if row[STATE] == PENDING else None
    if fair is None:
        return (*row, m.keys, None)
    return (*row[:STATE], State.HELD.value, *row[STATE + 1 :], m.keys, lines.fair_line(m.queue, fair))


def _insert(tx: Transaction, messages: Sequence[Message], now_ms: int) -> int:
    """Write the rows of `messages`, in their order; how many were not there."""
    if all(m.keys is None for m in messages):
        return tx.executemany(INSERT, [message_row(m, now_ms) for m in messages])
    rows = [keyed_row(m, now_ms) for m in messages]
    fair = {(row[-1], m.queue, m.priority) for row, m in zip(rows, messages, strict=True) if row[-1] is not None}
    for line in sorted(fair):
        lines.enter(tx, *line, None)
    if fair:
        lines.matter(tx)
    return tx.executemany(INSERT_KEYED, rows)


def group_row(g: Group, now_ms: int) -> Row:
    return (g.id, g.size, g.size, g.group_id, g.position, g.root_id, now_ms, g.id)


class Placed(NamedTuple):
    """The fate of a batch: its ids that were not written, and the ids that stand for those for which others stand."""

    standing: Collection[str] = ()
    stands: Mapping[str, str] = MappingProxyType({})


AS_IT_IS = Placed()


class Collided(Exception):
    """Raised when something of a batch is there already: the transaction is to be rolled back, and `enqueue` called."""


def may_be_new(batch: Batch) -> bool:
    """Whether `batch` may be written without a look first at what stands for a part of it."""
    return all(m.unique is None for m in batch.messages)


def enqueue_new(tx: Transaction, batch: Batch, *, now_ms: int, again: Collection[str] = ()) -> list[str]:
    """As `enqueue`, for what is most probably new: nothing is prepared for another case. Raises Collided then."""
    batch = _prepared(batch)
    if not _write_whole(tx, batch, now_ms, again):
        raise Collided
    for awaited in _outside(batch):
        stand_behind(tx, awaited, now_ms=now_ms)
    return [node.id for node in batch.nodes()]


def enqueue(
    tx: Transaction, batch: Batch, *, now_ms: int, again: Collection[str] = (), waiter: Waiter | None = None
) -> list[str]:
    """Write `batch`; the ids that stand for its messages, then for its groups, in their order.

    Of what is there already see `place`.
    """
    stands = place(tx, batch, now_ms=now_ms, again=again, waiter=waiter).stands
    return [stands.get(node.id, node.id) for node in batch.nodes()]


def place(
    tx: Transaction, batch: Batch, *, now_ms: int, again: Collection[str] = (), waiter: Waiter | None = None
) -> Placed:
    """Write `batch`, but for what is there already.

    A canvas whose ids are there stands for the one that is sent; under an id of `again`, what has ended and is not
    waited for makes room (`standing`). A call whose `unique_key` an unfinished message holds is not written: that one
    stands for it; a part of a canvas follows it (`follow`). `waiter`: what is to wait for nodes of `batch`. Raises
    CanvasConflict, and then nothing was written.
    """
    messages = batch.messages
    canvas = len(messages) != 1 or bool(batch.groups) or messages[0].awaits is not None
    if canvas:
        batch = _prepared(batch)
        tx.execute(TRY)
    try:
        placed = AS_IT_IS
        if not _write_whole(tx, batch, now_ms, again):
            if canvas:
                tx.execute(UNDO)
            placed = _by_parts(tx, batch, now_ms, again, waiter)
        for awaited in _outside(batch):
            stand_behind(tx, awaited, now_ms=now_ms)
    except CanvasConflict:  # the transaction may go on: that of a worker, in which a task has asked for it
        if canvas:
            tx.execute(UNDO)
            tx.execute(KEEP)
        raise
    if canvas:
        tx.execute(KEEP)
    return placed


def _prepared(batch: Batch) -> Batch:
    messages = of_errbacks(batch.messages, batch)
    return batch if messages is batch.messages else Batch(list(messages), batch.groups)


def _write_whole(tx: Transaction, batch: Batch, now_ms: int, again: Collection[str]) -> bool:
    """Write `batch` if nothing of it is there; False where something is, and perhaps a part was written."""
    groups = batch.groups
    if not may_be_new(batch):
        return False
    if groups and tx.executemany(INSERT_GROUP, [group_row(g, now_ms) for g in groups]) != len(groups):
        return False
    if again and any(tx.execute(IS_GROUP, (m.id,)) for m in batch.messages if m.id in again):
        return False
    if _insert(tx, batch.messages, now_ms) != len(batch.messages):
        return False
    _write_beside(tx, batch.messages)
    return True


def _by_parts(tx: Transaction, batch: Batch, now_ms: int, again: Collection[str], waiter: Waiter | None) -> Placed:
    not_written, stands = set[str](), dict[str, str]()
    for part in parts_of(batch):
        tx.executemany(ONLY_SHOWN, [(m.id,) for m in part.messages])
        found = _standing(tx, part, again, now_ms)
        if found is not None:
            not_written |= {node.id for node in part.nodes()}
            stands |= found
        elif waiter is None and is_plain(part):
            holder = _write_call(tx, part.messages[0], now_ms)
            if holder is not None:
                not_written.add(part.messages[0].id)
                stands[part.messages[0].id] = holder
        else:
            _write_canvas(tx, part, now_ms, waiter)
    return Placed(not_written, stands)


def _standing(tx: Transaction, part: Batch, again: Collection[str], now_ms: int) -> dict[str, str] | None:
    """As `standing`; what excludes others for a time does not step aside for one of them."""
    first = part.messages[0] if part.messages else None
    if first is not None and first.unique is not None and first.id in again and is_plain(part):
        last = unique.last_of(tx, first, now_ms=now_ms)
        if last is not None:
            return {first.id: last}
    return standing(tx, part, again=again)


def _write_call(tx: Transaction, message: Message, now_ms: int) -> str | None:
    """Write one call; where another stands for it, nothing: the id of that one then."""
    holder, _ = _written_or_holder(tx, message, now_ms)
    return holder


def _written_or_holder(tx: Transaction, message: Message, now_ms: int) -> tuple[str | None, Message]:
    """Write a message that nothing stands for; else the id of what does, and how it is to follow that.

    Two transactions that find the same key free both write, on an engine with several writers. The second, whose row
    the key refuses once the first has ended, looks again: an id that is returned has a row, or its holder has.
    """
    for _ in range(LOOKS):
        holder, m = unique.stands_for(tx, message, now_ms=now_ms)
        if holder is not None or _write_one(tx, m, now_ms):
            return holder, m
        if tx.execute(IS_MESSAGE, (m.id,)):  # the same call, sent by two at the same moment
            return m.id, m
    raise CanvasConflict(
        f"nothing was sent: the unique key {message.unique_key!r} changes hands all the time; try again"
    )


def _write_canvas(tx: Transaction, part: Batch, now_ms: int, waiter: Waiter | None) -> None:
    """Write a canvas of which nothing is there, where unique keys may be held."""
    early = set[str]() if waiter is None else before(part, waiter.awaits)
    tx.executemany(INSERT_GROUP, [group_row(g, now_ms) for g in part.groups])
    followed = set[str]()
    for message in part.messages:
        holder, m = _written_or_holder(tx, message, now_ms)
        if holder is None:
            continue
        if waiter is not None and m.id in early and waits_for(tx, holder, {waiter.id}):
            _write_one(tx, replace(m, unique_key=None), now_ms)
        elif not tx.execute(IS_MESSAGE, (holder,)):  # it excludes others for a time, and has left the file
            _write_one(tx, m, now_ms)
        elif holder == m.id:
            raise CanvasConflict(f"nothing was sent: the id {m.id!r} is being sent by another process; send it again")
        else:
            link(tx, holder)
            _write_one(tx, as_alias(m, holder), now_ms)
            if m.unique is not None:
                followed.add(holder)
    for holder in sorted(followed):  # it may have finished
        continuation.catch_up(tx, holder, now_ms=now_ms)
    # A holder that was too late has ended, and with it perhaps a part before the next one was written behind that.
    for awaited in sorted({m.awaits for m in part.messages if m.awaits is not None}):
        continuation.catch_up(tx, awaited, now_ms=now_ms)


def _write_one(tx: Transaction, message: Message, now_ms: int) -> bool:
    """Write a message with all that belongs to it; False, and nothing is written, where its id or key is taken."""
    if not _insert(tx, [message], now_ms):
        return False
    _write_beside(tx, [message])
    unique.written(tx, [message], now_ms=now_ms)
    return True


def stand_behind(tx: Transaction, awaited: str, *, now_ms: int) -> None:
    """Let rows follow that stand behind `awaited`, which was there before them. Raises CanvasConflict: it is not."""
    if not is_there(tx, awaited):
        raise CanvasConflict(f"nothing was sent: what it is to run after, {awaited!r}, is not in the queue")
    link(tx, awaited)
    continuation.catch_up(tx, awaited, now_ms=now_ms)


def is_there(tx: Transaction, node: str) -> bool:
    """Whether `node` is a message or a group of the file; it does not leave before this transaction has ended."""
    return bool(tx.execute(IS_GROUP, (node,)) or tx.execute(IS_MESSAGE, (node,)))


def enqueue_one(driver: Driver, batch: Batch, *, now_ms: int, again: Collection[str] = ()) -> bool:
    """Write `batch` if one statement does it: one message that awaits nothing, as `delay()` sends it.

    Without BEGIN and COMMIT that saves a tenth of an enqueue. False where it takes a transaction, or where a row stands
    for the message already: nothing was written.
    """
    if batch.groups or len(batch.messages) != 1:
        return False
    message = batch.messages[0]
    if message.awaits is not None or len(message.payload) > INLINE_BYTES or message.flags & HAS_ROWS:
        return False
    if message.unique is not None:
        return False
    if message.keys is not None:
        return _keyed_one(driver, message, again, now_ms)
    row = message_row(message, now_ms)
    if again:
        return driver.change(INSERT_CHOSEN, (*row, message.id), bell=Bell.WORK) == 1
    return driver.change(INSERT, row, bell=Bell.WORK) == 1


def _keyed_one(driver: Driver, message: Message, again: Collection[str], now_ms: int) -> bool:
    row = keyed_row(message, now_ms)
    if again or row[STATE] == State.HELD:  # with its line
        return False
    return driver.change(INSERT_KEYED, row, bell=Bell.WORK) == 1


def enqueue_many(tx: Transaction, messages: Sequence[Message], *, now_ms: int) -> int:
    """Write any number of messages that await nothing outside themselves; the number of rows written."""
    written = _insert(tx, messages, now_ms)
    if written != len(messages) and tx.executemany(ONLY_SHOWN, [(m.id,) for m in messages]):
        written += _insert(tx, messages, now_ms)
    _write_beside(tx, messages)
    return written


def _write_beside(tx: Transaction, messages: Sequence[Message]) -> None:
    """Write what stands beside the rows of `messages`: large arguments, tags, and what makes one a run."""
    has_rows = HAS_ROWS
    beside = [m for m in messages if len(m.payload) > INLINE_BYTES or m.flags & has_rows]
    if beside:
        payloads.add_payloads(tx, [(m.id, m.payload) for m in beside if len(m.payload) > INLINE_BYTES])
        add_runs(tx, beside)
        add_tags(tx, beside)


def _outside(batch: Batch) -> Iterator[str]:
    """The ids that rows of `batch` await and that are not in it: they may have finished already."""
    awaited = {m.awaits for m in batch.messages if m.awaits is not None}
    if awaited:
        awaited -= {m.id for m in batch.messages}
        awaited -= {g.id for g in batch.groups}
    return iter(sorted(awaited))
