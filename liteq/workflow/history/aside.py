"""`Aside`: what the body of a retried run did behind the step that had failed.

The body may take the same way now, or another one. So these rows stand in no place: a call that is made again finds its
row by what it calls, and takes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liteq.exceptions import WorkflowCancelled
from liteq.message import StepRow
from liteq.storage.runs.records import Asked, in_place
from liteq.workflow.history.codec import hashes_under
from liteq.workflow.history.places import Place, Point

if TYPE_CHECKING:
    from liteq.workflow.history.machine import Machine

__all__ = ["Aside", "leave_aside", "stood_aside", "take_back", "taken_back"]

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


def taken_back(row: StepRow, place: Place, arghash: bytes | None, *, now_ms: int) -> StepRow:
    """A row that stood aside, for `place`: its times are now, so it comes behind the rows that are in place already."""
    return row._replace(scope=place[0], pos=place[1], arghash=arghash, started_ms=now_ms, ended_ms=now_ms)


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


# -- of a machine ----------------------------------------------------------------------------------------------------


def stood_aside(
    machine: Machine, scope: str, kind: str, name: str, arghash: bytes | None, args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> list[StepRow]:  # fmt: skip
    """The row that stands aside for a call, and behind it those that its body has left out; [] for none."""
    if machine.aside is None:
        return []
    hashes = [arghash, *(hashes_under(machine.kin, machine.run_id, args, kwargs) if machine.kin else ())]
    return machine.aside.take(scope, kind, name, hashes)


def take_back(machine: Machine, scope: Point, place: Place, rows: list[StepRow], aside: list[StepRow]) -> None:
    """Record `rows`, which stood aside, at their new places, and delete the rows `aside`.

    Raises WorkflowCancelled where the run is cancelled at `place`: then they stand aside as before, for its clean-up.
    """

    def write() -> Asked | None:
        asked, rows[:] = machine.runs.take_back(machine.hold, rows, aside)
        return asked

    try:
        machine.front(scope, place)
        rows[0] = rows[0]._replace(marks=machine.take_marks())  # not before: a cancel here writes them elsewhere
        machine.written_once(scope, place, write, rows)
    except WorkflowCancelled:
        assert machine.aside is not None
        machine.aside.put_back(aside)
        raise


def leave_aside(machine: Machine) -> None:
    """Delete the rows that still stand aside: the body has ended well without them."""
    if machine.aside is not None and machine.aside.rows:
        left = [*machine.aside.rows.values()]
        machine.reading(lambda: machine.runs.leave_aside(machine.hold, left))
