"""`Ahead`: the part of history that a body has yet to come to, as far as the places of its calls tell."""

from __future__ import annotations

from collections.abc import Mapping

from liteq.message import StepRow
from liteq.workflow.history.places import Place, Point

__all__ = ["Ahead"]


INNER = "/#"  # how the name of a scope inside the body begins; others have one of their own (agents' tools)


class Ahead:
    """How far the history of a run goes in each scope of its body.

    A map has no row of its own but those of its items, a branch stands in the code that begins it, and a call with a
    key stands in no scope: they are found here under the place of the code that has made them.
    """

    __slots__ = ("_branches", "_keyed", "_last", "maps")

    def __init__(self) -> None:
        self._last: dict[str, int] = {}  # the last position, by scope
        self._branches: dict[str, int] = {}  # the last branch, by the scope that it was begun in
        self._keyed: list[tuple[int, str]] = []  # calls with a key, by when they began
        self.maps: dict[Place, StepRow] = {}  # the first row of a map, by its place

    def note(self, rows: Mapping[Place, StepRow]) -> None:
        """Take in the rows of a history."""
        last = self._last
        for scope, pos in rows:
            if pos > last.get(scope, -1):
                last[scope] = pos
        for scope in [*last]:
            if not scope:
                continue
            if scope[0] == "=":
                row = rows.get((scope, 0))
                if row is not None:
                    self._keyed.append((row.started_ms, scope))
            elif scope[0] in INNER and "?" not in scope:  # a question about a step, or of a budget, is no call
                self._note_inner(scope, rows)
        self._keyed.sort()

    def _note_inner(self, scope: str, rows: Mapping[Place, StepRow]) -> None:
        """Take in a scope that is inside another: that of a map's items, or of a branch."""
        outer, found, pos = scope.rpartition("#")
        if found:
            place = (outer, int(pos))
            items = (rows.get((scope, n)) for n in range(1, self._last[scope] + 1))
            self.maps[place] = next(row for row in items if row is not None)
            self._last[outer] = max(place[1], self._last.get(outer, -1))
            scope = outer
        while scope:
            scope, _, number = scope.rpartition("/")
            self._branches[scope] = max(int(number), self._branches.get(scope, 0))

    def is_behind(self, scope: Point, met: set[str]) -> bool:
        """Whether history holds a call that code of `scope` has yet to come to. `met`: the keys' scopes that it has."""
        name = scope.name
        if self._last.get(name, 0) > scope.pos or self._branches.get(name, 0) > scope.branches:
            return True
        if name or scope.branches:  # others run beside it: whose the calls with keys are is not known
            return False
        keyed = self._keyed
        while keyed and keyed[-1][1] in met:
            keyed.pop()
        # One that a removed call has left behind began before what the body has got since.
        return bool(keyed) and keyed[-1][0] >= scope.reached_ms

    def last(self, scope: str) -> int:
        """The last position in a scope at which history holds a call, or a map."""
        return self._last.get(scope, 0)

    def unused(self, scope: Point, rows: Mapping[Place, StepRow]) -> StepRow | None:
        """The first call of the body itself that it has not come to; None for none."""
        name, pos = scope.name, scope.pos
        if self._last.get(name, 0) <= pos:
            return None
        left = {at: row for at, row in [*self.maps.items(), *rows.items()] if at[0] == name and at[1] > pos}
        return left[min(left)] if left else None
