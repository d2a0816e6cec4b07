"""The rows of a canvas as a graph: a pure function.

The compiler has left edges alone: a row awaits one id, a group counts its members (docs/adr/0007). Here they become
series and lanes again. A chain goes on from a row to the one that awaits it; where several do, they are the lanes of
the group that counts their ends. What nothing awaits, and what awaits nothing, hangs below the row that sent it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from liteq.message import Flag
from liteq.monitor.graphs.graph import Hung, Node, Parallel, Series, Times, strip

__all__ = ["GroupRow", "MessageRow", "canvas_graph"]

DEEPEST = 6  # of what tasks send that were sent themselves; a task that sends itself for ever is no tower
NESTED = 120  # forks in each other: the compiler makes no more than 100


class MessageRow(Protocol):
    """The columns of a message that its place in a canvas is told by. Times in ms since the epoch."""

    @property
    def id(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def awaits(self) -> str | None: ...
    @property
    def group_id(self) -> str | None: ...
    @property
    def position(self) -> int: ...
    @property
    def parent_id(self) -> str | None: ...
    @property
    def flags(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def created_ms(self) -> int: ...
    @property
    def due_ms(self) -> int | None: ...
    @property
    def started_ms(self) -> int | None: ...
    @property
    def finished_ms(self) -> int | None: ...


class GroupRow(Protocol):
    """The columns of a group."""

    @property
    def id(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def group_id(self) -> str | None: ...
    @property
    def position(self) -> int: ...


class _Place(NamedTuple):
    """The group that counts a node, and its place in it."""

    group_id: str
    position: int


@dataclass
class _Fragment:
    """A series in the making: from the row `first` to the node `last`, a message or a group."""

    first: str
    last: str
    parts: list[Node | Parallel]


def canvas_graph(rows: Iterable[MessageRow], groups: Iterable[GroupRow] = ()) -> Series:
    """The graph of `rows` and the groups among them, in the order in which they were sent.

    Each row is in it once, but for those that are counted in one of the strips of what lies too deep.
    """
    return _Canvas(list(rows), list(groups)).series()


class _Canvas:
    """The indexes over the rows, and what has been made of them."""

    def __init__(self, rows: list[MessageRow], groups: list[GroupRow]) -> None:
        self.rows = {row.id: row for row in rows}
        self.groups = {group.id: group for group in groups}
        for row in rows:
            if row.group_id is not None and row.group_id not in self.groups:
                self.groups[row.group_id] = _Unknown(row.group_id)
        self.made = dict[str, Node | Parallel]()
        self.after = defaultdict[str, list[MessageRow]](list)
        self.beside = defaultdict[str, list[MessageRow]](list)
        self.members = defaultdict[str, int](int)
        self.waiting = defaultdict[str, list[_Fragment]](list)
        self.starts = list[MessageRow]()
        self._index()

    def _index(self) -> None:
        callback = Flag.CALLBACK | Flag.ON_FAILURE
        for row in self.rows.values():
            awaited = self._awaited(row) if row.awaits is not None else None
            if awaited is None:
                self.starts.append(row)
            elif row.flags & callback:
                self.beside[awaited].append(row)
            else:
                self.after[awaited].append(row)
            if row.group_id is not None:
                self.members[row.group_id] += 1
        for group in self.groups.values():
            if group.group_id is not None and group.group_id in self.groups and group.group_id != group.id:
                self.members[group.group_id] += 1

    def _awaited(self, row: MessageRow) -> str | None:
        """The node that a row stands behind; None for the first of a canvas."""
        if row.flags & Flag.ALIAS:  # it awaits what replaced it; what it awaited before is told by its parent
            sent_with = self.rows.get(row.parent_id or "")
            is_of_one_batch = sent_with is not None and sent_with.created_ms == row.created_ms
            return self._group_of(row, sent_with.id) if sent_with is not None and is_of_one_batch else None
        awaits = row.awaits
        return awaits if awaits in self.rows or awaits in self.groups else None

    def _group_of(self, row: MessageRow, id_: str) -> str | None:
        """The node that ends with the message `id_` from the view of `row`: the largest group that `row` is not in."""
        own, seen = row.group_id, {row.id}
        at: MessageRow | GroupRow = self.rows[id_]
        while at.group_id is not None and at.group_id != own and at.group_id in self.groups and at.id not in seen:
            seen.add(at.id)
            at = self.groups[at.group_id]
        return None if at.id == row.id else at.id

    # -- series and lanes

    def series(self) -> Series:
        """The whole graph."""
        fragments = self._resolved(self.starts, 0)
        while left := [id_ for id_, lanes in self.waiting.items() if lanes]:
            # Groups that lack members here: not all were read, or some were deleted. The innermost first.
            for id_ in sorted(left, key=self._nesting, reverse=True):
                if self.waiting.get(id_):
                    fragments += self._advanced([self._closed(id_)], 0)
        circle = [row for row in self.rows.values() if row.id not in self.made]
        while circle:  # rows that await each other; no sender makes such, a damaged file may hold them
            fragments += self._resolved(circle[:1], 0)
            circle = [row for row in circle if row.id not in self.made]
        return _Hanging(self, fragments).series()

    def _resolved(self, starts: Sequence[MessageRow], depth: int) -> list[_Fragment]:
        """The fragments that begin with these rows; those that a group waits for are not among them."""
        begun = list[_Fragment]()
        for row in starts:
            if row.id not in self.made:
                begun.append(_Fragment(row.id, row.id, [self._node(row, depth)]))
        return self._advanced(begun, depth, closes=depth > 0)

    def _advanced(self, todo: list[_Fragment], depth: int, *, closes: bool = False) -> list[_Fragment]:
        """`todo`, each led on to its end. `closes`: the fork behind which they stand goes on with what joins them."""
        todo.reverse()
        ended, parked = list[_Fragment](), set[str]()
        while todo:
            one = todo.pop()
            if closes and not todo and not ended and not parked and one.last in self.groups:
                return [one]  # all that forked is one again: the series before the fork goes on with it
            place = self._advance(one, depth)
            if place is None:
                ended.append(one)
                continue
            lanes = self.waiting[place.group_id]
            lanes.append(one)
            parked.add(one.first)
            if len(lanes) >= self.members[place.group_id]:
                parked -= {lane.first for lane in lanes}
                todo.append(self._closed(place.group_id))
        return ended

    def _nesting(self, group_id: str) -> int:
        n, at = 0, self.groups.get(group_id)
        while at is not None and at.group_id is not None and n <= NESTED:
            n, at = n + 1, self.groups.get(at.group_id)
        return n

    def _advance(self, one: _Fragment, depth: int) -> _Place | None:
        """Lead a fragment on as far as it goes; the group that counts it, if one does."""
        while True:
            place = self._place(one.last)
            after = [row for row in self.after.get(one.last, ()) if row.id not in self.made]
            if place is not None or not after:
                return place
            if len(after) == 1:
                one.parts.append(self._node(after[0], depth))
                one.last = after[0].id
                continue
            if depth >= NESTED:
                return None
            lanes = self._resolved(after, depth + 1)
            if len(lanes) != 1:
                if lanes:
                    one.parts.append(Parallel([Series(lane.parts) for lane in lanes]))
                return None
            one.parts += lanes[0].parts
            one.last = lanes[0].last

    def _place(self, id_: str) -> _Place | None:
        node: MessageRow | GroupRow | None = self.rows.get(id_) or self.groups.get(id_)
        if node is None or node.group_id is None or node.group_id not in self.groups or node.group_id == id_:
            return None
        return None if node.group_id in self.made else _Place(node.group_id, node.position)

    def _closed(self, group_id: str) -> _Fragment:
        """The fragment of a group whose lanes have come."""
        lanes = sorted(self.waiting.pop(group_id), key=self._position)
        group = self.groups[group_id]
        part = Parallel([Series(lane.parts) for lane in lanes], group_id, max(group.size, len(lanes)))
        self.made[group_id] = part
        self._hang_beside(part, group_id, 0)
        return _Fragment(lanes[0].first, group_id, [part])

    def _position(self, lane: _Fragment) -> int:
        node = self.rows.get(lane.last) or self.groups.get(lane.last)
        return node.position if node is not None else 0

    # -- nodes

    def _node(self, row: MessageRow, depth: int) -> Node:
        is_run = bool(row.flags & Flag.RUN) and not row.flags & Flag.STEP
        status = "retrying" if row.state == "scheduled" and row.retries else str(row.state)
        ready_ms = row.due_ms if row.due_ms is not None else row.created_ms
        node = Node(
            -1, "run" if is_run else "", row.task, status, attempts=row.retries + 1, id=row.id,
            detail=f"run {row.id}" if is_run else "",
            times=Times(ready_ms, row.started_ms, row.finished_ms),
        )  # fmt: skip
        self.made[row.id] = node
        self._hang_beside(node, row.id, depth)
        return node

    def _hang_beside(self, part: Node | Parallel, id_: str, depth: int) -> None:
        for row in self.beside.get(id_, ()) if depth < NESTED else ():
            kind = "errback" if row.flags & Flag.ON_FAILURE else "callback"
            part.hung.extend(Hung(kind, Series(one.parts)) for one in self._resolved([row], depth + 1))


class _Unknown(NamedTuple):
    """A group whose own row is not there any more."""

    id: str
    size: int = 0
    group_id: str | None = None
    position: int = 0


class _Hanging:
    """Fragments hung below the rows that sent them, or that they replaced."""

    def __init__(self, canvas: _Canvas, fragments: list[_Fragment]) -> None:
        self.canvas = canvas
        self.fragments = fragments
        self.home = dict[str, int]()  # of a message: the number of its fragment
        for i, one in enumerate(fragments):
            for id_ in _ids(one.parts):
                self.home.setdefault(id_, i)
        aliases = [row for row in canvas.rows.values() if row.flags & Flag.ALIAS and row.awaits is not None]
        self.stands_for = {row.awaits: row.id for row in aliases}

    def series(self) -> Series:
        """The fragments that hang nowhere, side by side; all others below them."""
        owners = [self._owner(i) for i in range(len(self.fragments))]
        levels = self._levels(owners)
        main = list[Series]()
        deep = defaultdict[str, list[Series]](list)
        below = dict[int, str]()  # of a fragment that lies too deep: the message below which it is counted
        for i in sorted(range(len(self.fragments)), key=lambda i: levels[i]):
            owner, series = owners[i], Series(self.fragments[i].parts)
            if owner is None or levels[i] == 0:
                main.append(series)
            elif levels[i] <= DEEPEST:
                self.canvas.made[owner.id].hung.append(Hung(owner.kind, series))
            else:
                below[i] = below.get(self.home[owner.id], owner.id)
                deep[below[i]].append(series)
        for id_, lanes in deep.items():
            more = lanes[0] if len(lanes) == 1 else Series([strip(lanes)])
            self.canvas.made[id_].hung.append(Hung("child", more))
        return main[0] if len(main) == 1 else Series([Parallel(main)] if main else [])

    def _owner(self, i: int) -> _Owner | None:
        one = self.fragments[i]
        alias = self.stands_for.get(one.last)
        if alias is not None and self.home.get(alias) not in {None, i}:
            return _Owner(alias, "replaced")
        parent = self.canvas.rows[one.first].parent_id if one.first in self.canvas.rows else None
        if parent is not None and self.home.get(parent) not in {None, i}:
            return _Owner(parent, "child")
        return None

    def _levels(self, owners: list[_Owner | None]) -> list[int]:
        """How deep each fragment hangs; 0 also for those that hang below themselves, in a damaged file."""
        levels = dict[int, int]()
        for i in range(len(owners)):
            path, at = dict[int, None](), i
            while at not in levels and at not in path and (owner := owners[at]) is not None:
                path[at] = None
                at = self.home[owner.id]
            if at in path:
                levels |= dict.fromkeys(path, 0)
                continue
            level = levels.setdefault(at, 0)
            for one in reversed(path):
                level += 1
                levels[one] = level
        return [levels[i] for i in range(len(owners))]


class _Owner(NamedTuple):
    id: str
    kind: str


def _ids(parts: list[Node | Parallel]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, Node):
            if part.id is not None:
                yield part.id
        else:
            for lane in part.lanes:
                yield from _ids(lane.parts)
        for hung in part.hung:
            yield from _ids(hung.series.parts)
