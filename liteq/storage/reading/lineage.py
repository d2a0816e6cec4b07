"""Reading: the messages that belong together, of a canvas, of a run and its children, around one message.

By indexes: of the root, of what is awaited, of a group. The header of a chord that was sent by itself bears no root: it
is found by its group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from liteq.message import Flag
from liteq.storage.driver import Row, Transaction
from liteq.storage.reading.inspect import GroupRecord, find_group
from liteq.utils.records import NamedTuple

__all__ = ["MOST", "Kin", "Lineage", "Near", "lineage", "near", "newest", "root_of"]

MOST: Final = 20_000  # rows of one canvas
MANY: Final = 128  # messages of one question
COUNTERS: Final = 1_000  # groups of a canvas that has too many rows
LAST: Final = 20  # messages of a canvas, sent last, of which a list tells the state
LOOKS: Final = 500  # roots that are looked at for one page of canvases
CHOSEN: Final = 100  # ... of which so many have ids that are not made of the time
MADE: Final = "g"  # ids that are made are hexadecimal: they come before this
_KIN: Final = """
SELECT m.seq, m.id, m.task, m.queue, m.state, m.priority, m.created_ms, m.due_ms, m.started_ms, m.finished_ms,
       m.retries, m.crashes, m.root_id, m.parent_id, m.awaits, m.group_id, m.position, m.flags, m.error, w.name
  FROM liteq_messages AS m LEFT JOIN liteq_workers AS w ON w.id = m.worker
"""
BY_ID: Final = f"{_KIN} WHERE m.id = ?"
OF_ROOT: Final = f"{_KIN} WHERE m.root_id IS NOT NULL AND m.root_id = :node ORDER BY m.seq LIMIT :limit"
LAST_OF_ROOT: Final = OF_ROOT.replace("ORDER BY m.seq", "ORDER BY m.seq DESC")
OF_GROUP: Final = f"{_KIN} WHERE m.group_id IS NOT NULL AND m.group_id = :node ORDER BY m.position, m.seq LIMIT :limit"
AWAITING: Final = f"{_KIN} WHERE m.awaits IS NOT NULL AND m.awaits = :node ORDER BY m.seq LIMIT :limit"
# There is no index by parent: a task's own messages bear the root that it has.
SENT: Final = f"""
{_KIN}
  JOIN (SELECT seq, parent_id FROM liteq_messages WHERE root_id IS NOT NULL AND root_id = :root
         ORDER BY seq LIMIT :most) AS own ON own.seq = m.seq
 WHERE own.parent_id = :node ORDER BY own.seq LIMIT :limit
"""
AWAITING_MANY: Final = f"{_KIN} WHERE m.awaits IS NOT NULL AND m.awaits IN ({', '.join('?' * MANY)}) LIMIT ?"
GROUPS_OF: Final = """
SELECT id, size, remaining, failed, group_id, root_id, created_ms, finished_ms, position FROM liteq_groups
 WHERE group_id IS NOT NULL AND group_id = :node ORDER BY position LIMIT :limit
"""
# From one root to the one before it, by the order of their ids, which is that of time.
GROUP_BEFORE: Final = "SELECT max(id) FROM liteq_groups WHERE id < ?"
ROOT_BEFORE: Final = """
SELECT max(root_id) FROM liteq_messages WHERE root_id IS NOT NULL AND root_id < ?
"""


class Kin(NamedTuple):
    """A message among those that belong together. Times are ms since the epoch."""

    seq: int
    id: str
    task: str
    queue: str
    state: str
    priority: int
    created_ms: int
    due_ms: int
    started_ms: int | None
    finished_ms: int | None
    retries: int
    crashes: int
    root_id: str | None
    parent_id: str | None
    awaits: str | None
    group_id: str | None
    position: int
    flags: int
    error: bytes | None
    worker: str | None


class Lineage(NamedTuple):
    """The messages of a canvas in the order of sending, and its groups; not `complete` where there are more."""

    root: str
    rows: list[Kin]
    groups: list[GroupRecord]
    complete: bool


class Near(NamedTuple):
    """The messages around one. `awaits` is what it waits for: a message, or the members of a group."""

    root: list[Kin]
    parent: list[Kin]
    awaits: list[Kin]
    awaited_by: list[Kin]
    sent: list[Kin]
    members: list[Kin]
    group: GroupRecord | None

    def lines(self) -> dict[str, list[Kin]]:
        """The lists by name."""
        return {name: kin for name, kin in self._asdict().items() if name != "group"}


def _kin(rows: Iterable[Row]) -> list[Kin]:
    return [Kin._make(row) for row in rows]


def root_of(tx: Transaction, id_: str) -> str | None:
    """The root of a message or a group; None where there is none of that id."""
    for row in tx.execute(BY_ID, (id_,)):
        return Kin._make(row).root_id or id_
    group = find_group(tx, id_)
    return None if group is None else group.root_id or id_


def lineage(tx: Transaction, id_: str, *, limit: int = MOST) -> Lineage | None:
    """The canvas that a message or a group of this id is a part of; None where nothing is known of it."""
    root = root_of(tx, id_)
    if root is None:
        return None
    gathering = _Gathering(tx, limit)
    gathering.add(tx.execute(BY_ID, (root,)))
    gathering.of(OF_ROOT, root)
    if id_ != root:
        gathering.add(tx.execute(BY_ID, (id_,)))
    gathering.widen({root, id_})
    gathering.counters()
    rows = sorted(gathering.rows.values(), key=lambda one: one.seq)
    return Lineage(root, rows[:limit], list(gathering.groups.values()), complete=not gathering.is_full)


class _Gathering:
    """Rows that belong together, until no more come or there are enough."""

    def __init__(self, tx: Transaction, limit: int) -> None:
        self._tx, self._limit = tx, limit
        self.rows: dict[int, Kin] = {}
        self.groups: dict[str, GroupRecord] = {}
        self._ids: set[str] = set()
        self._members = Counter[str]()
        self._asked: set[str] = set()
        self.is_full = False

    def add(self, rows: Sequence[Row]) -> list[Kin]:
        fresh = [one for one in _kin(rows) if one.seq not in self.rows]
        self.rows |= {one.seq: one for one in fresh}
        self._ids.update(one.id for one in fresh)
        self._members.update(one.group_id for one in fresh if one.group_id is not None)
        self.is_full |= len(self.rows) > self._limit
        return fresh

    def of(self, sql: str, node: str) -> list[Kin]:
        if self.is_full:
            return []
        return self.add(self._tx.execute(sql, {"node": node, "limit": self._limit + 1 - len(self.rows)}))

    def widen(self, nodes: set[str]) -> None:
        """Follow groups and waits to what bears no root."""
        rootless = {one.id for one in self.rows.values() if one.root_id is None}
        names = {name for one in self.rows.values() for name in (one.group_id, one.awaits) if name} - self._ids
        left = [*sorted(nodes | names | rootless)]
        messages = list[str]()
        while (left or messages) and not self.is_full:
            if not left:
                some, messages = messages[:MANY], messages[MANY:]
                fresh = self._awaiting(some)
            else:
                node = left.pop()
                if node in self._asked:
                    continue
                self._asked.add(node)
                if node in self._ids:
                    messages.append(node)
                    continue
                fresh = self._around(node)
            for one in fresh:
                left += [name for name in (one.group_id, one.awaits) if name]
                if one.root_id is None:
                    left.append(one.id)

    def _awaiting(self, messages: list[str]) -> list[Kin]:
        """The messages that await these: ten thousand members of a group are asked for in some eighty questions."""
        asked = [*messages, *messages[-1:] * (MANY - len(messages))]
        return self.add(self._tx.execute(AWAITING_MANY, (*asked, self._limit + 1 - len(self.rows))))

    def counters(self) -> None:
        """The counters of groups that were not followed: of those with more members than there is room for."""
        names = dict.fromkeys(one.group_id for one in self.rows.values() if one.group_id is not None)
        for name in list(names)[:COUNTERS]:
            if name not in self.groups and (group := find_group(self._tx, name)) is not None:
                self.groups[name] = group

    def _around(self, node: str) -> list[Kin]:
        fresh = self.of(AWAITING, node)
        group = find_group(self._tx, node)
        if group is None:
            return [*fresh, *self.add(self._tx.execute(BY_ID, (node,)))]
        self.groups[node] = group
        if self._members[node] < group.size:
            fresh += self.of(OF_GROUP, node)
        inner = [GroupRecord._make(row) for row in self._tx.execute(GROUPS_OF, {"node": node, "limit": self._limit})]
        for one in (*inner, *([find_group(self._tx, group.group_id)] if group.group_id else [])):
            if one is not None and one.id not in self._asked:
                self._asked.add(one.id)
                fresh += self._around(one.id)
        return fresh


def near(tx: Transaction, id_: str, *, limit: int) -> Near:
    """The messages around the one of this id, of each kind `limit` at most."""
    own = _kin(tx.execute(BY_ID, (id_,)))
    if not own:
        return Near([], [], [], [], [], [], None)
    one = own[0]

    def by_id(name: str | None) -> list[Kin]:
        return _kin(tx.execute(BY_ID, (name,))) if name is not None and name != id_ else []

    def around(sql: str, node: str | None) -> list[Kin]:
        if node is None:
            return []
        return [kin for kin in _kin(tx.execute(sql, {"node": node, "limit": limit})) if kin.id != id_]

    sent = _kin(tx.execute(SENT, {"root": one.root_id or id_, "most": MOST, "node": id_, "limit": limit}))
    return Near(
        root=by_id(one.root_id),
        parent=by_id(one.parent_id),
        awaits=by_id(one.awaits) or around(OF_GROUP, one.awaits),
        awaited_by=[*around(AWAITING, id_), *around(AWAITING, one.group_id)],
        sent=sent,
        members=around(OF_GROUP, one.group_id),
        group=None if one.group_id is None else find_group(tx, one.group_id),
    )


def newest(tx: Transaction, *, after: str | None, limit: int, rows: int) -> list[Lineage]:
    """The canvases behind the id `after`, the newest first by the ids of their roots; of each `rows` messages at most.

    Runs are left out, which have lists of their own. Of roots with ids that somebody chose only some are looked at:
    those of thousands of runs may stand before those that are made of the time.
    """
    found: list[Lineage] = []
    last, chosen = after if after is not None else "\U0010ffff", CHOSEN
    for _ in range(LOOKS):
        here = _before(tx, last) if len(found) < limit else None
        if here is None:
            break
        last = here
        if last >= MADE:
            chosen -= 1
            if chosen <= 0:
                last = MADE
                continue
        if (one := _canvas(tx, last, rows)) is not None:
            found.append(one)
    return found


def _before(tx: Transaction, last: str) -> str | None:
    """The next id of a root, or of a group that bears none, before `last`."""
    root: str | None = tx.execute(ROOT_BEFORE, (last,))[0][0]
    group: str | None = tx.execute(GROUP_BEFORE, (last,))[0][0]
    return max((one for one in (root, group) if one is not None), default=None)


def _canvas(tx: Transaction, id_: str, rows: int) -> Lineage | None:
    """The canvas that is listed under this id; None for a run, and where it is listed under another."""
    group = find_group(tx, id_)
    if group is not None:
        return lineage(tx, id_, limit=rows) if group.group_id is None and group.root_id is None else None
    root = next(iter(_kin(tx.execute(BY_ID, (id_,)))), None)
    if root is not None and (root.flags & Flag.RUN or (root.root_id is not None and root.root_id != id_)):
        return None
    if root is not None and root.group_id is not None and find_group(tx, root.group_id) is not None:
        return None  # a chord's header bears no root: it is listed under its group
    found = lineage(tx, id_, limit=rows)
    if found is None or not found.rows or found.complete:
        return found if found is not None and found.rows else None
    known = {row.seq for row in found.rows}
    last = _kin(reversed(tx.execute(LAST_OF_ROOT, {"node": id_, "limit": LAST})))
    return found._replace(rows=[*found.rows, *(row for row in last if row.seq not in known)])
