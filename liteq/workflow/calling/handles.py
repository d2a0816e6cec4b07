"""`Handle`: a call that was spawned and is not waited for yet; and what a race takes beside: timers and events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from liteq.exceptions import WorkflowError
from liteq.message import StepRow
from liteq.storage.runs.records import DONE, UNDONE
from liteq.workflow.calling.scope import Scope
from liteq.workflow.calling.waits import payload_of
from liteq.workflow.declared.step import Step
from liteq.workflow.history.calls import Call, called
from liteq.workflow.history.codec import Form
from liteq.workflow.history.errors import raised_of
from liteq.workflow.history.frames import here
from liteq.workflow.history.machine import Machine
from liteq.workflow.history.places import Place, Wait

__all__ = [
    "AsyncHandle", "Failure", "Handle", "cancel", "cancel_open", "due_of", "ended", "is_done", "look", "result_of",
    "value_of",
]  # fmt: skip

R_co = TypeVar("R_co", covariant=True)  # a list of handles of several kinds goes into one race


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands in a list of results for a call that failed: `error` is its exception (`on_error="collect"`)."""

    error: Exception


class Handle(Generic[R_co]):
    """A call that runs in the pool, or something else that is awaited. Of the run that made it, in this activation."""

    _step: Step[Any, Any] | None = None  # that it is, until the saga has its compensation

    def __init__(self, machine: Machine, place: Place, id: str | None, form: Form | None, what: str) -> None:
        self._machine = machine
        self._place = place
        self._form = form
        self._what = what
        self.id = id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._what}>"

    @property
    def row(self) -> StepRow | None:
        """Its row, as far as this activation knows."""
        return self._machine.rows.get(self._place)

    @property
    def done(self) -> bool:
        """Whether it has ended; the same in each replay. Where the run is for the first time, the file is asked."""
        return is_done(self._scope("handle.done"), self)

    def result(self) -> R_co:
        """Wait for its end: its result. Raises its exception."""
        return result_of(self._scope("handle.result()"), self)  # type: ignore[no-any-return]

    def cancel(self) -> None:
        """Cancel it, if it has not ended. A timer, or a wait for an event, ends with the race."""
        cancel(self._scope("handle.cancel()"), [self])

    def outcome(self, row: StepRow) -> R_co:
        """The result that `row`, which has ended, holds. Raises its exception."""
        if row.error is not None:
            raise raised_of(row.error)
        data = row.output or b"null"
        if self._form is None:
            return self._machine.app.result_content.read(data)  # type: ignore[no-any-return]
        return self._form.decode(data)  # type: ignore[no-any-return]

    def _scope(self, what: str) -> Scope:
        frame = here()
        if frame is None or getattr(frame, "machine", None) is not self._machine:
            raise WorkflowError(f"{what}: use a handle only in the body that made it, and in the same activation")
        if not hasattr(frame, "place") or not hasattr(frame, "branch"):
            frame.refuse(what)
        return frame  # type: ignore[no-any-return]


class AsyncHandle(Handle[R_co]):
    """As `Handle`, of an async body: `await handle.result()`."""

    def result(self) -> Call[R_co]:  # type: ignore[override]
        """Wait for its end; to be awaited."""
        return called(self._machine, result_of, self._scope("handle.result()"), self)

    def cancel(self) -> Call[None]:  # type: ignore[override]
        """Cancel it, if it has not ended; to be awaited."""
        return called(self._machine, cancel, self._scope("handle.cancel()"), [self])


# -- the end of handles ----------------------------------------------------------------------------------------------


def result_of(scope: Scope, handle: Handle[Any]) -> Any:
    """The result of one handle, waited for."""
    place, _ = scope.place("result", handle._what)
    row = ended(scope, place, [handle])[0]
    scope.reach(row)
    return value_of(scope, handle, row)


def value_of(scope: Scope, handle: Handle[Any], row: StepRow) -> Any:
    """The result of a handle whose `row` has ended; a saga undoes it from now on. Raises its exception."""
    if row.kind == "event":
        return payload_of(row, row.name, handle._form)
    value = handle.outcome(row)
    step, handle._step = handle._step, None
    if step is not None and step.compensate is not None:
        scope.compensate(step, value)
    return value


def ended(scope: Scope, place: Place, handles: Sequence[Handle[Any]], *, fragile: bool = False) -> list[StepRow]:
    """The rows of `handles`, once all have ended, or (`fragile`) one has failed."""
    rows = [handle.row for handle in handles]
    if fragile and any(row is not None and row.error is not None for row in rows):
        look(scope, handles)  # another one may have failed before
        rows = [handle.row for handle in handles]
    open_ = [handle for handle, row in zip(handles, rows, strict=True) if row is None or row.ended_ms is None]
    if not open_ or (fragile and any(row is not None and row.error is not None for row in rows)):
        return [row for row in rows if row is not None]
    need = len({handle._place for handle in open_ if handle.id is not None})  # one may be named twice, and ends once
    scope.wait(Wait(place, due_ms=due_of(open_), need=need, fragile=fragile))


def look(scope: Scope, handles: Iterable[Handle[Any]]) -> None:
    """Learn what has ended since the run was claimed, where one of `handles` is open and the run is here first.

    Of several that have ended the first one counts, and in each replay it must be the same one. So whenever an end is
    known, all ends before it have to be known.
    """
    if any((row := one.row) is None or row.ended_ms is None for one in handles) and not scope.passed():
        machine = scope.machine
        _learn(machine, machine.reading(lambda: machine.runs.ended_since(machine.hold, machine.facts.ends)))


def _learn(machine: Machine, rows: Iterable[StepRow]) -> None:
    """Take in the rows of calls that have ended meanwhile."""
    for row in rows:
        if row.ended_ms is not None:
            machine.rows[row.scope, row.pos] = row


def due_of(handles: Iterable[Handle[Any]]) -> int | None:
    """When the first of the timers and events among `handles` is over."""
    dues = [row.due_ms for handle in handles if handle.id is None and (row := handle.row) and row.due_ms is not None]
    return min(dues, default=None)


def cancel_open(scope: Scope, handles: Sequence[Handle[Any]], *, events: bool = False) -> None:
    """Cancel what has not ended; with `events` also what an event has ended, which is then the next wait's."""
    places = [
        one._place
        for one in handles
        if (row := one.row) is None or row.ended_ms is None or (events and row.kind == "event")
    ]
    if places and not scope.passed():
        machine = scope.machine
        machine.mark_denied()
        marks = machine.take_marks()
        _learn(machine, machine.reading(lambda: machine.runs.cancel_children(machine.hold, places, marks)))


def cancel(scope: Scope, handles: Sequence[Handle[Any]]) -> None:
    """Cancel those of `handles` that have not ended."""
    scope.machine.check()
    cancel_open(scope, handles)


def is_done(scope: Scope, handle: Handle[Any]) -> bool:
    """Whether a handle has ended: as of now, where the run is here for the first time."""
    machine = scope.machine
    machine.check()
    if handle.id is not None:
        look(scope, [handle])
    row = handle.row
    over = row is not None and row.ended_ms is not None
    scope.uuids += 1
    which = f"{scope.name}/{scope.pos}/{scope.uuids} {handle._place[0]}/{handle._place[1]}"
    return scope.decide(DONE + which, over, unless=UNDONE + which)
