"""The verb *append*: a group that has not finished takes more members."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from liteq.message import Batch, Flag, Group, Message
from liteq.serialization import encode
from liteq.states import UNSTARTED, State, sql_list
from liteq.storage.canvases import continuation
from liteq.storage.canvases.continuation import End
from liteq.storage.canvases.follow import Waiter
from liteq.storage.driver import Transaction
from liteq.storage.sending.enqueue import place

__all__ = ["GIVE_UP", "LAST", "NOT_CLAIMED", "UNPLACED", "append", "complete", "extend", "placeholder"]

# The rows that awaited a group that is done have gone on: too late for one more member.
APPEND = (
    "UPDATE liteq_groups SET size = size + 1, remaining = remaining + 1 WHERE id = ? AND remaining > 0 RETURNING size"
)

NOT_CLAIMED = sql_list(UNSTARTED - {State.BLOCKED})  # of a placeholder: a limit of its queue may hold it

# A group that is sent in parts has one member more than was sent: the placeholder, a message that comes due when its
# sender has been silent for too long. It keeps the group from finishing, and from waiting for ever.
EXTEND = """
UPDATE liteq_groups SET size = size + :n, remaining = remaining + :n WHERE id = :id RETURNING 1
"""
POSTPONE = f"""
UPDATE liteq_messages SET state = 'scheduled', due_ms = :due_ms, delay_ms = :delay_ms
 WHERE id = :placeholder AND state IN {NOT_CLAIMED}
RETURNING seq
"""
LET_GO = "DELETE FROM liteq_messages WHERE id = ?"
SHRINK = "UPDATE liteq_groups SET size = size - 1 WHERE id = ?"
# A member that was there already, and is counted.
UNGROW = "UPDATE liteq_groups SET size = size - :n, remaining = remaining - :n WHERE id = :id"

LAST: Final = """
SELECT max(position) FROM (
    SELECT position FROM liteq_messages WHERE group_id = :id
    UNION ALL SELECT position FROM liteq_groups WHERE group_id = :id
    UNION ALL SELECT position FROM liteq_places WHERE group_id = :id) AS taken
"""

GIVE_UP = "celery.give_up_group"  # like all tasks that an app has by itself: programs leave out names like this
UNPLACED = -1  # the position, in `batch`, of the member whose place the group decides
KEPT = f"SELECT 1 FROM liteq_places WHERE group_id = ? AND position <> {UNPLACED} LIMIT 1"


def placeholder(id_: str, group: Group, queue: str, *, patience_ms: int, now_ms: int) -> Message:
    """The message that keeps `group` open, until nobody has sent a member for so long."""
    return Message(
        id_, GIVE_UP, encode([[group.id], {}], what="a group's placeholder"), queue, due_ms=now_ms + patience_ms,
        root_id=group.root_id, group_id=group.id, position=UNPLACED, flags=Flag.LINKED | Flag.IGNORE_RESULT,
        delay_ms=patience_ms,
    )  # fmt: skip


def append(tx: Transaction, group_id: str, batch: Batch, *, now_ms: int) -> list[str]:
    """Add `batch`, whose member of the group has the position UNPLACED, as its last; [] when the group is done.

    A member that is there already under its own id is not added again. Raises CanvasConflict for one whose id is that
    of something else.
    """
    rows = tx.execute(APPEND, (group_id,))
    if not rows:
        return []
    last = rows[0][0] - 1
    if tx.execute(KEPT, (group_id,)):  # it is open, and does not count those that have not come yet
        last = max(last, tx.execute(LAST, {"id": group_id})[0][0] + 1)
    messages = [
        replace(m, position=last) if m.group_id == group_id and m.position == UNPLACED else m for m in batch.messages
    ]
    groups = [
        replace(g, position=last) if g.group_id == group_id and g.position == UNPLACED else g for g in batch.groups
    ]
    stands = _place(tx, group_id, Batch(messages, groups), now_ms)
    return [stands.get(node.id, node.id) for node in batch.nodes()]


def _place(tx: Transaction, group_id: str, batch: Batch, now_ms: int, again: Collection[str] = ()) -> Mapping[str, str]:
    """Write members of a group that has been told how many they are; the ids that others stand for."""
    members = {node.id for node in batch.nodes() if node.group_id == group_id}
    placed = place(tx, batch, now_ms=now_ms, again=again, waiter=Waiter(group_id, members))
    there = members.intersection(placed.standing)
    if there:
        tx.executemany(UNGROW, [{"id": group_id, "n": len(there)}])
    return placed.stands


def extend(
    tx: Transaction, group_id: str, placeholder: str, batch: Batch, members: int, *, due_ms: int, now_ms: int,
    again: Collection[str] = (),
) -> bool:  # fmt: skip
    """Add `batch`, with `members` more of the group, and put `placeholder` off to `due_ms`; False when it has run."""
    if not tx.execute(
        POSTPONE, {"placeholder": placeholder, "due_ms": due_ms, "delay_ms": due_ms - now_ms}
    ) or not tx.execute(EXTEND, {"id": group_id, "n": members}):
        return False
    _place(tx, group_id, batch, now_ms, again)
    return True


def complete(tx: Transaction, group_id: str, placeholder: str, *, now_ms: int) -> None:
    """The group has all its members: it finishes without its placeholder. In the transaction of its last `extend`."""
    tx.execute(LET_GO, (placeholder,))
    tx.execute(SHRINK, (group_id,))
    continuation.propagate(tx, [End(placeholder, True, group_id)], now_ms=now_ms)
