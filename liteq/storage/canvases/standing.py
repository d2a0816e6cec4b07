"""A canvas that is sent under ids which are there already.

Each connected part of a batch is judged alone, and as a whole:

- none of its ids is there: it is new;
- its ids are used again (ADR 0014), and what had them has ended and is waited for by nobody: that steps aside, and the
  part is new;
- it is the same canvas as the one that is there, each row behind the same one: that one stands for it, and nothing is
  written. Ids that its sender did not choose differ at each call; those of the standing one are found by its shape.
  What has been replaced since, or has become another message, is the one that was sent, at its place;
- anything between is refused: CanvasConflict names the id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from liteq.exceptions import CanvasConflict
from liteq.message import Batch, Flag, Group, Message, new_id
from liteq.states import FINISHED, State, sql_list
from liteq.storage.driver import LOCK, Row, Transaction
from liteq.storage.rows import aside
from liteq.storage.rows.aside import with_note
from liteq.storage.rows.needed import OPEN, needed
from liteq.utils.records import NamedTuple

__all__ = ["conflict", "is_plain", "parts_of", "standing", "step_aside"]

ROW = f"""
SELECT id, task, state, flags, awaits, group_id, position, parent_id FROM liteq_messages
 WHERE id = ? AND flags & {Flag.SHOWN} = 0 {LOCK}
"""
GROUP = f"SELECT id, size, group_id, position FROM liteq_groups WHERE id = ? {LOCK}"
BEHIND: Final = f"SELECT id, flags FROM liteq_messages WHERE awaits = ? AND flags & {Flag.FOLLOWS} = 0 ORDER BY seq"
COUNTED: Final = """
SELECT position, id FROM liteq_messages WHERE group_id = :id
UNION ALL SELECT position, id FROM liteq_groups WHERE group_id = :id
"""
FREE = (
    f"SELECT 1 FROM liteq_messages AS m WHERE m.id = ? AND m.state IN {sql_list(FINISHED)} AND NOT {needed('m', OPEN)}"
)
FREE_GROUP = f"""
SELECT 1 FROM liteq_groups AS m
 WHERE m.id = ? AND m.remaining = 0 AND NOT {needed("m", OPEN)}
"""
MAY_BE_REPLAYED = f"SELECT 1 FROM liteq_messages AS m WHERE m.id = ? AND {needed('m')}"
GROUP_MAY_BE_REPLAYED = f"SELECT 1 FROM liteq_groups AS m WHERE m.id = ? AND {needed('m')}"

GROUP_OF = "SELECT g.id FROM liteq_messages AS m JOIN liteq_groups AS g ON g.id = m.group_id WHERE m.id = ?"
GROUP_OF_GROUP = "SELECT g.id FROM liteq_groups AS m JOIN liteq_groups AS g ON g.id = m.group_id WHERE m.id = ?"

# A message that has ended goes, and nothing refers to its id. Where its result may be asked for, it got another id.
GO = "DELETE FROM liteq_messages WHERE id = ?"
GO_GROUP = "DELETE FROM liteq_groups WHERE id = ?"
RENAME_GROUP = "UPDATE liteq_groups SET id = :to WHERE id = :id"

KINDS: Final = Flag.ON_FAILURE | Flag.CALLBACK  # of those that await one node


class _Row(NamedTuple):
    """The columns of a message in the file that are compared."""

    id: str
    task: str
    state: str
    flags: int
    awaits: str | None
    group_id: str | None
    position: int
    parent_id: str | None


def is_plain(part: Batch) -> bool:
    """Whether it is one call alone: no canvas."""
    return not part.groups and all(m.awaits is None and m.group_id is None for m in part.messages)


def parts_of(batch: Batch) -> Iterator[Batch]:
    """The connected parts of `batch`, each a canvas or a call, in the order of their first rows."""
    above: dict[str, str] = {}

    def top(node: str) -> str:
        while (higher := above.setdefault(node, node)) != node:
            above[node] = node = above[higher]
        return node

    inside = {node.id for node in batch.nodes()}
    for node in batch.nodes():
        for other in (node.group_id, getattr(node, "awaits", None)):
            if other in inside:
                above[top(node.id)] = top(other)
    parts: dict[str, Batch] = {}
    for message in batch.messages:
        parts.setdefault(top(message.id), Batch()).messages.append(message)
    for group in batch.groups:
        parts.setdefault(top(group.id), Batch()).groups.append(group)
    return iter(parts.values())


def standing(tx: Transaction, part: Batch, *, again: Collection[str]) -> dict[str, str] | None:
    """The ids that stand for those of `part`, a connected one, where it is there already; None where it is to be made.

    Of what had one of its ids before, the rest that may still be asked for steps aside. Raises CanvasConflict.
    """
    plain = is_plain(part)
    if not plain:
        _check_apart(part)
    messages = [m for m in part.messages if tx.execute(ROW, (m.id,))]
    groups = [g for g in part.groups if tx.execute(GROUP, (g.id,))]
    for node in part.messages:
        if node.id in again and tx.execute(GROUP, (node.id,)):
            raise conflict(node.id, "is that of a group")
    for group in part.groups:
        if tx.execute(ROW, (group.id,)):
            raise conflict(group.id, "is that of a message")
    there = Batch(messages, groups).nodes()
    if not there:
        return None
    if all(_is_free(tx, m.id, again, FREE) for m in messages) and all(
        _is_free(tx, g.id, again, FREE_GROUP) for g in groups
    ):
        perhaps = {m.id for m in messages if m.flags & Flag.PERHAPS}
        names = step_aside(tx, [m.id for m in messages], [g.id for g in groups], perhaps)
        part.messages[:] = [with_note(m, names[m.id]) if m.id in perhaps else m for m in part.messages]
        return None
    if plain:
        if any(row[2] == State.BLOCKED and row[3] & Flag.PERHAPS for m in messages for row in tx.execute(ROW, (m.id,))):
            raise conflict(there[0].id, "is that of an errback, which may never be called")
        return {}
    same = _Match(tx, part).of([node.id for node in there])
    if same is None:
        raise conflict(there[0].id, "belongs to what is in the queue already and is not this canvas")
    return {new: old for new, old in same.items() if new != old}


def conflict(id_: str, why: str) -> CanvasConflict:
    """The error of a canvas that is refused because of what has one of its ids."""
    return CanvasConflict(
        f"nothing was sent: the id {id_!r} {why}; give this part an id of its own (clone() a signature before it is "
        "used again)"
    )


def _check_apart(part: Batch) -> None:
    seen = set[str]()
    for node in part.nodes():
        if node.id in seen:
            raise conflict(node.id, "is that of two parts of it")
        seen.add(node.id)


def _is_free(tx: Transaction, id_: str, again: Collection[str], sql: str) -> bool:
    return id_ in again and bool(tx.execute(sql, (id_,)))


def step_aside(
    tx: Transaction, messages: list[str], groups: list[str], perhaps: Collection[str] = ()
) -> dict[str, str]:
    """Free these ids of what has ended: it goes, or has another id where its result may still be asked for.

    `perhaps`: ids for which nothing may come in its place. The new ids, by the old ones.
    """
    stay = [
        id_
        for id_ in messages
        if id_ in perhaps or tx.execute(MAY_BE_REPLAYED, (id_,)) or _stays(tx.execute(GROUP_OF, (id_,)), groups)
    ]
    groups_stay = [
        id_
        for id_ in groups
        if tx.execute(GROUP_MAY_BE_REPLAYED, (id_,)) or _stays(tx.execute(GROUP_OF_GROUP, (id_,)), groups)
    ]
    names = {id_: new_id() for id_ in (*stay, *groups_stay)}
    changes = [{"id": id_, "to": names.get(id_)} for id_ in (*messages, *groups)]
    aside.refer(tx, changes)
    aside.rename(tx, [{"id": id_, "to": names[id_]} for id_ in stay])
    tx.executemany(RENAME_GROUP, [{"id": id_, "to": names[id_]} for id_ in groups_stay])
    tx.executemany(GO, [(id_,) for id_ in messages if id_ not in names])
    tx.executemany(GO_GROUP, [(id_,) for id_ in groups if id_ not in names])
    return names


def _stays(counted_by: list[Row], going: list[str]) -> bool:
    """Whether one of the groups that count a node is not `going`: it has the node as a member then."""
    return any(group not in going for (group,) in counted_by)


class _Match:
    """Finds for each node of a part the one in the file that stands at the same place."""

    def __init__(self, tx: Transaction, part: Batch) -> None:
        self._tx = tx
        self._messages = {m.id: m for m in part.messages}
        self._groups = {g.id: g for g in part.groups}
        self._behind: dict[str, list[Message]] = {}
        self._counted: dict[str, list[Message | Group]] = {}
        for m in part.messages:
            if m.awaits is not None:
                self._behind.setdefault(m.awaits, []).append(m)
        for node in part.nodes():
            if node.group_id is not None:
                self._counted.setdefault(node.group_id, []).append(node)
        self._own: set[str] = set()  # those that are there under their own ids
        self._same: dict[str, str] = {}
        self._rows: dict[str, _Row] = {}

    def of(self, ids: list[str]) -> Mapping[str, str] | None:
        """The standing node for each node, from `ids`, which are their own, along all edges; None: there is none."""
        self._own.update(ids)
        todo = [(id_, id_) for id_ in ids]
        while todo:
            new, old = todo.pop()
            if new in self._same:
                if self._same[new] != old:
                    return None
                continue
            self._same[new] = old
            around = self._around_group(new, old) if new in self._groups else self._around_message(new, old)
            if around is None:
                return None
            todo += around
            todo += self._pairs_behind(new, old)
        missing = [m for m in self._messages.values() if m.id not in self._same]
        gone = set[str]()
        for m in missing:
            if not self._has_gone(m, gone):
                return None
            gone |= {m.id} if m.group_id is None else {m.id, m.group_id}
        return self._same if all(g in self._same or g in gone for g in self._groups) else None

    def _around_message(self, new: str, old: str) -> list[tuple[str, str]] | None:
        """The pairs that follow from a pair of messages; None where they are not the same."""
        m = self._messages[new]
        found = self._tx.execute(ROW, (old,))
        if not found:
            return None
        row = self._rows[new] = _Row._make(found[0])
        became = row.flags & Flag.BECAME
        if (row.task != m.task and not became) or (m.flags & Flag.LINKED and not row.flags & Flag.LINKED):
            return None
        pairs = []
        moved = bool(row.flags & Flag.ALIAS or became or (row.awaits is None and row.flags & Flag.ON_FAILURE))
        if m.awaits is not None and not (moved and (m.awaits in self._own or m.awaits == row.awaits)):
            before = self._origin(m.awaits, row) if moved else row.awaits
            if before is None:
                return None
            if m.awaits in self._messages or m.awaits in self._groups:
                pairs.append((m.awaits, before))
            elif m.awaits != before:
                return None
        elif m.awaits is None and row.awaits is not None and not moved:
            return None
        counted = self._counted_by(m.group_id, row.group_id)
        return None if counted is None else pairs + counted

    def _around_group(self, new: str, old: str) -> list[tuple[str, str]] | None:
        group = self._groups[new]
        found = self._tx.execute(GROUP, (old,))
        if not found or found[0][1] < group.size:
            return None
        members: dict[int, str] = dict(self._tx.execute(COUNTED, {"id": old}))
        pairs = [(m.id, members[m.position]) for m in self._counted.get(new, ()) if m.position in members]
        counted = self._counted_by(group.group_id, found[0][2])
        return None if counted is None else pairs + counted

    def _counted_by(self, new: str | None, old: str | None) -> list[tuple[str, str]] | None:
        if new is None or old is None:
            return [] if new == old else None
        if new in self._groups:
            return [(new, old)]
        return [] if new == old else None  # a group of the file that this part is added to

    def _pairs_behind(self, new: str, old: str) -> list[tuple[str, str]]:
        """Those that await the one and the other, kind by kind in their order; [] for a kind of which some are gone.

        Those that are there under their own ids are looked at anyway. An errback that was called is behind nothing by
        now, where a copy of it waits to be called again.
        """
        pairs: list[tuple[str, str]] = []
        mine, theirs = self._behind.get(new, []), self._tx.execute(BEHIND, (old,))
        for kind in {m.flags & KINDS for m in mine}:
            own = [m.id for m in mine if m.flags & KINDS == kind and m.id not in self._own]
            other = [id_ for id_, flags in theirs if flags & KINDS == kind and id_ not in self._own]
            if len(own) == len(other):
                pairs += zip(own, other, strict=True)
        return pairs

    def _origin(self, awaited: str, row: _Row) -> str | None:
        """The node that `row`, which awaits another now, awaited when it was sent: its parent, or that one's group."""
        if awaited in self._messages or row.parent_id in {None, awaited}:
            return row.parent_id
        parent = self._tx.execute(ROW, (row.parent_id,))
        return _Row._make(parent[0]).group_id if parent else None

    def _has_gone(self, m: Message, gone: set[str]) -> bool:
        """Whether `m` has been there and is not needed any more: an errback, or the last that kept no result."""
        if m.flags & Flag.ON_FAILURE or m.awaits in gone:
            return True
        before = self._rows.get(m.awaits or "")
        ended = before is not None and before.state in FINISHED
        return ended and bool(m.flags & Flag.IGNORE_RESULT) and not m.flags & Flag.LINKED
