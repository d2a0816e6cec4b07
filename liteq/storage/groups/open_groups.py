"""Groups whose members come one by one, each from whoever sends it: opened, entered, and closed.

An open group counts one member more than has come: its placeholder, a message that comes due when no member has come
for long, and then fails (`append_members`). So the group neither ends before its sender has said that it is whole, nor
waits for ever where that sender has died. Inner groups are held open likewise.

The places of the members may be known by their ids from the start: then these decide, whatever a member says of itself.
A member that comes when the group is closed was counted when it closed; one that comes when the group has been given
up, or has no place in it, is a message without a group.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from liteq.message import Batch, Flag, Message
from liteq.states import FINISHED, State
from liteq.storage.canvases.continuation import End, propagate
from liteq.storage.canvases.follow import Waiter
from liteq.storage.driver import LOCK, Transaction
from liteq.storage.groups.append_members import LAST, NOT_CLAIMED, UNPLACED
from liteq.storage.sending.enqueue import place
from liteq.utils.records import NamedTuple

__all__ = ["PATIENCE_MS", "Seat", "close", "enter", "expect", "give_up", "open_group", "take_seat"]

PUT = """
INSERT INTO liteq_places (member, group_id, position, created_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
SEAT = "SELECT group_id, position FROM liteq_places WHERE member = ?"
LEAVE = "DELETE FROM liteq_places WHERE member = ?"
FREE = f"SELECT count(*) FROM liteq_places WHERE group_id = ? AND position <> {UNPLACED}"
PLACEHOLDER = f"SELECT member FROM liteq_places WHERE group_id = ? AND position = {UNPLACED}"
FORGET = "DELETE FROM liteq_places WHERE group_id = ?"
# Put off once half of the time is over, not with each member: a chord of 1,000 is sent in a moment.
POSTPONE = f"""
UPDATE liteq_messages SET state = 'scheduled', due_ms = :due_ms, delay_ms = :delay_ms
 WHERE id = :id AND state IN {NOT_CLAIMED} AND due_ms < :half_ms
"""
LET_GO = f"DELETE FROM liteq_messages WHERE id = ? AND state IN {NOT_CLAIMED}"
GROW = "UPDATE liteq_groups SET size = size + :n, remaining = remaining + :n WHERE id = :id AND remaining > 0"
SHRINK = "UPDATE liteq_groups SET size = size - 1 WHERE id = ?"
# Locked: a member that comes and a close of its group see each other.
COUNTS = f"SELECT size, remaining FROM liteq_groups WHERE id = ? {LOCK}"
STANDS = f"SELECT group_id, position, state FROM liteq_messages WHERE id = ? AND flags & {Flag.SHOWN} = 0"
INNER = "SELECT id FROM liteq_groups WHERE group_id = ?"


class Seat(NamedTuple):
    """The place of a member: its group, and its position in the group's result. `group_id` None: in no group."""

    group_id: str | None
    position: int


PATIENCE_MS: Final = 3_600_000  # between two members; then the sender is taken for dead


def open_group(
    tx: Transaction, batch: Batch, placeholders: Sequence[Message], places: Mapping[str, Seat], *, now_ms: int,
    again: Collection[str] = (),
) -> bool:  # fmt: skip
    """Write the groups of `batch` with the rows that await them, and hold each open by its placeholder.

    False, and nothing is written, where they are there already; under an id of `again`, what has ended makes room.
    """
    for group in batch.groups:
        if any(group.id not in again or remaining > 0 for _, remaining in tx.execute(COUNTS, (group.id,))):
            return False
    inner = [group.group_id for group in batch.groups]
    groups = [replace(group, size=1 + inner.count(group.id)) for group in batch.groups]
    placed = place(tx, Batch([*batch.messages, *placeholders], groups), now_ms=now_ms, again=again)
    if any(group.id in placed.standing for group in groups):  # another has opened it since the look above
        return False
    tx.executemany(FORGET, [(group.id,) for group in groups])
    rows = [(one.id, one.group_id, UNPLACED, now_ms) for one in placeholders]
    tx.executemany(PUT, rows + [(id_, *seat, now_ms) for id_, seat in places.items()])
    for group_id, size in batch.closing:
        close(tx, group_id, size, now_ms=now_ms)
    return True


def seat_of(tx: Transaction, member: str) -> Seat | None:
    """The place that is kept for `member`; None for none."""
    return next((Seat._make(row) for row in tx.execute(SEAT, (member,))), None)


def expect(tx: Transaction, group_id: str, members: Sequence[str], *, now_ms: int) -> bool:
    """Keep places for more members, behind all others; False where the group has finished or is not known."""
    if not _is_unfinished(tx, group_id):
        return False
    (last,) = tx.execute(LAST, {"id": group_id})[0]
    first = (UNPLACED if last is None else last) + 1
    tx.executemany(PUT, [(id_, group_id, first + n, now_ms) for n, id_ in enumerate(members)])
    if not tx.execute(PLACEHOLDER, (group_id,)):  # it is closed: who comes is counted already
        tx.executemany(GROW, [{"id": group_id, "n": len(members)}])
    return True


def enter(
    tx: Transaction, batch: Batch, *, patience_ms: int, now_ms: int, again: Collection[str] = ()
) -> list[str]:  # fmt: skip
    """Write `batch`, of which messages may be members of groups that were opened; the ids that stand for its messages.

    The placeholder of an open group waits for `patience_ms` from now on. Last the groups of `batch.closing` close.
    """
    own = {group.id for group in batch.groups}
    messages: list[Message] = []
    came: dict[str, set[str]] = {}
    for m in batch.messages:
        seat = None if m.group_id in own else _there(tx, m.id, again)
        if seat is None and m.group_id not in own:
            seat = take_seat(tx, m.id, m.group_id, m.position, patience_ms=patience_ms, now_ms=now_ms, again=again)
            if seat is not None:
                came.setdefault(seat.group_id or "", set()).add(m.id)
        if seat is not None and seat.group_id is not None:
            m = replace(m, **seat._asdict(), flags=m.flags | Flag.LINKED)  # noqa: PLW2901
        elif m.group_id is not None and m.group_id not in own:
            m = replace(m, group_id=None, position=0)  # noqa: PLW2901
        messages.append(m)
    waiter = Waiter(*next(iter(came.items()))) if came else None
    placed = place(tx, Batch(messages, batch.groups), now_ms=now_ms, again=again, waiter=waiter)
    for group_id, size in batch.closing:
        close(tx, group_id, size, now_ms=now_ms)
    return [placed.stands.get(m.id, m.id) for m in messages]


def _there(tx: Transaction, id_: str, again: Collection[str]) -> Seat | None:
    """The place of the message of this id that stands in the file, so that it is not counted twice.

    A member that has ended makes no room for another one before its group has.
    """
    for group_id, position, state in tx.execute(STANDS, (id_,)):
        ended = id_ in again and State(state) in FINISHED
        if not ended or (group_id is not None and _is_unfinished(tx, group_id)):
            return Seat(group_id, position)
    return None


def take_seat(
    tx: Transaction, member: str, group_id: str | None, position: int, *, patience_ms: int, now_ms: int,
    again: Collection[str] = (),
) -> Seat | None:  # fmt: skip
    """The place of `member`, which is about to come: that which is kept for it, else in an open group the one named.

    An open group counts it from now on; not again where it has come since the caller's look. None where no place is
    kept for it, or its group has finished.
    """
    kept = seat_of(tx, member)
    wanted = group_id if kept is None else kept.group_id
    if wanted is None or not _is_unfinished(tx, wanted):
        return None
    kept = seat_of(tx, member)  # again: the group is locked now
    if kept is None and (there := _there(tx, member, again)) is not None:
        return there
    placeholder = next((id_ for (id_,) in tx.execute(PLACEHOLDER, (wanted,))), None)
    if placeholder is not None:
        due = {"due_ms": now_ms + patience_ms, "delay_ms": patience_ms, "half_ms": now_ms + patience_ms // 2}
        tx.executemany(POSTPONE, [{"id": placeholder, **due}])
        tx.executemany(GROW, [{"id": wanted, "n": 1}])
    elif kept is None:
        return None
    tx.executemany(LEAVE, [(member,)])
    return Seat(wanted, position) if kept is None else kept


def close(tx: Transaction, group_id: str, size: int | None, *, now_ms: int) -> None:
    """Count the members that have not come yet, and let the placeholders go; a group that was given up stays so.

    `size`: of all members, those of inner groups too; None: those that have come or have a place.
    """
    tx.execute(COUNTS, (group_id,))  # locked, before it is looked who has come
    groups = list(_open_in(tx, group_id))
    if not groups:
        return
    known, to_come = 0, dict[str, int]()
    for id_, _, inner in groups:
        (here, _), (kept,) = tx.execute(COUNTS, (id_,))[0], tx.execute(FREE, (id_,))[0]
        known += here - 1 - inner + kept
        to_come[id_] = kept
    if size is not None and size > known:  # of a generator
        to_come[group_id] += size - known
    for id_, placeholder, _ in groups:
        if tx.executemany(LET_GO, [(placeholder,)]):
            tx.executemany(LEAVE, [(placeholder,)])
            tx.executemany(GROW, [{"id": id_, "n": to_come[id_]}])
            tx.executemany(SHRINK, [(id_,)])
            propagate(tx, [End(placeholder, True, id_)], now_ms=now_ms)


def give_up(tx: Transaction, group_id: str, error: bytes, *, now_ms: int) -> bool:
    """End a group that is held open, as its sender has ended without it: it fails, with what awaits it.

    False where it is not open. A member that comes later is a message without a group.
    """
    tx.execute(COUNTS, (group_id,))
    found = False
    for id_, placeholder, _ in list(_open_in(tx, group_id)):
        if tx.executemany(LET_GO, [(placeholder,)]):
            tx.executemany(FORGET, [(id_,)])
            propagate(tx, [End(placeholder, False, id_, error)], now_ms=now_ms)
            found = True
    return found


def _open_in(tx: Transaction, group_id: str) -> Iterator[tuple[str, str, int]]:
    """The group, and those inside it, that are held open: id, placeholder, number of groups that it counts."""
    inner = [id_ for (id_,) in tx.execute(INNER, (group_id,))]
    for (placeholder,) in tx.execute(PLACEHOLDER, (group_id,)):
        yield group_id, placeholder, len(inner)
    for id_ in sorted(inner):
        tx.execute(COUNTS, (id_,))
        yield from _open_in(tx, id_)


def _is_unfinished(tx: Transaction, group_id: str) -> bool:
    return any(remaining > 0 for _, remaining in tx.execute(COUNTS, (group_id,)))
