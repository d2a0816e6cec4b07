"""The calls of a retried run that are answered by what stood aside for them (aside.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liteq.exceptions import WorkflowCancelled
from liteq.message import StepRow
from liteq.storage.runs.records import Asked
from liteq.workflow.history.codec import hashes_under
from liteq.workflow.history.machine import Machine
from liteq.workflow.history.places import Place, Point

__all__ = ["leave_aside", "stood_aside", "take_back", "taken_back"]


def taken_back(row: StepRow, place: Place, arghash: bytes | None, *, now_ms: int) -> StepRow:
    """A row that stood aside, for `place`: its times are now, so it comes behind the rows that are in place already."""
    return row._replace(scope=place[0], pos=place[1], arghash=arghash, started_ms=now_ms, ended_ms=now_ms)


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
