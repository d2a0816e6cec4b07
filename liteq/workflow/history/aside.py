"""`Aside`: what the body of a retried run did behind the step that had failed.

The body may take the same way now, or another one. So these rows stand in no place: a call that is made again finds its
row by what it calls, and takes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from liteq.message import StepRow
from liteq.storage.runs.records import in_place
from liteq.workflow.history.places import Place

__all__ = ["Aside"]

Called = tuple[str, str, str, bytes | None]  # a scope, the kind, the name, the hash of the arguments


class Aside:
    """The rows of a history that stand aside. Those that calls of a body have taken are gone from here."""

    def __init__(self, rows: Iterable[StepRow]) -> None:
        self._have(rows)

    def _have(self, rows: Iterable[StepRow]) -> None:
        self.rows: dict[Place, StepRow] = {}
        self._called: dict[Called, deque[Place]] = {}
        self._order: dict[str, deque[Place]] = {}  # by scope, in the order of its calls
        # Of several retries, what was done last is taken first.
        for row in sorted(rows, key=lambda row: (-round_of(row), row.scope, row.pos)):
            place = (row.scope, row.pos)
            self.rows[place] = row
            scope = inner_scope(row)
            for one in {scope, branches(scope)}:
                self._called.setdefault((one, row.kind, row.name, row.arghash), deque()).append(place)
            self._order.setdefault(row.scope, deque()).append(place)

    def take(self, scope: str, kind: str, name: str, hashes: Sequence[bytes | None]) -> list[StepRow]:
        """The row of a call in `scope`, and behind it those that the body has left out on its way; [] for none.

        `scope`: for an item of a map, that of the map with a "#". `hashes`: those that the arguments may have had.
        """
        for one in dict.fromkeys((scope, branches(scope))):
            for arghash in hashes:
                places = self._called.get((one, kind, name, arghash))
                while places:
                    row = self.rows.pop(places.popleft(), None)
                    if row is not None:
                        return [row] if kind == "map" or one != scope else [row, *self._before(row)]
        return []

    def put_back(self, rows: Iterable[StepRow]) -> None:
        """Have rows here again that a call has taken which then was not made."""
        self._have([*self.rows.values(), *rows])

    def _before(self, row: StepRow) -> list[StepRow]:
        """Take out what stood before `row` in the same code."""
        order, left = self._order[row.scope], list[StepRow]()
        while order and order[0] < (row.scope, row.pos):
            skipped = self.rows.pop(order.popleft(), None)
            if skipped is not None:
                left.append(skipped)
        return left


def round_of(row: StepRow) -> int:
    """The number of the retry that has set `row` aside."""
    return int(row.scope[1:].partition("~")[0])


def branches(scope: str) -> str:
    """The scope that stands for all branches, for that of one: on another way a branch may have another number."""
    return ("/#" if scope.endswith("#") else "/") if scope.startswith("/") else scope


def inner_scope(row: StepRow) -> str:
    """The scope in which the call of `row` is looked for; for an item of a map, that of the map with a "#"."""
    scope = in_place(row.scope) or ""
    return f"{scope.rpartition('#')[0]}#" if row.kind == "map" else scope
