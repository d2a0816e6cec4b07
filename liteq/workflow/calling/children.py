"""Calls that run in the pool: spawned, called, mapped; and what waits for several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from liteq.exceptions import CanvasConflict, WorkflowError
from liteq.message import Batch, StepRow
from liteq.storage.runs.executing import Slots
from liteq.utils.durations import Duration, to_span_ms
from liteq.workflow.calling.handles import (
    AsyncHandle,
    Failure,
    Handle,
    cancel,
    cancel_open,
    due_of,
    ended,
    look,
    value_of,
)
from liteq.workflow.calling.scope import Scope
from liteq.workflow.calling.targets import Target, target_of
from liteq.workflow.calling.waits import event_row
from liteq.workflow.declared.step import is_count
from liteq.workflow.history.codec import hash_of
from liteq.workflow.history.errors import document_of, raised_of
from liteq.workflow.history.places import Place, Wait
from liteq.workflow.history.taking import stood_aside, take_back, taken_back

__all__ = ["call", "event", "gather", "map_", "race", "spawn", "timer"]

CHUNK = 1_000  # children that are sent in one transaction
ON_ERROR = frozenset({"raise", "wait", "collect"})


def _handle(scope: Scope, place: Place, target: Target, id_: str | None) -> Handle[Any]:
    handle = _made(scope, place, id_, target.form, target.name)
    handle._step = target.step
    return handle


def _made(scope: Scope, place: Place, id_: str | None, form: Any, what: str) -> Handle[Any]:
    """A handle whose methods are awaited in an async body."""
    kind = AsyncHandle if scope.machine.is_async else Handle
    return kind(scope.machine, place, id_, form, what)


def _sent(scope: Scope, kind: str, target: Target, args: Sequence[Any], kwargs: dict[str, Any]) -> Handle[Any]:
    """The handle of a child at the next place: sent now, where history does not hold it."""
    machine = scope.machine
    given, named = (args, kwargs) if target.given is None else (target.given, {})
    arghash = hash_of(given, named, target.name)
    place, row = scope.place(kind, target.name, arghash, target.key, given, named)
    if row is None:
        machine.front(scope, place)
        batch, child = target.batch(machine, args, kwargs)
        new = StepRow(*place, kind, target.name, target.key, arghash, child=child, started_ms=machine.now_ms())
        new = new._replace(marks=machine.take_marks())
        row = _spawned(scope, place, new, batch)
    if row.child is None and row.error is not None and machine.recorded is None:
        scope.reach(row)
        raise raised_of(row.error)
    machine.attached.add(place)
    return _handle(scope, place, target, row.child)


def _spawned(scope: Scope, place: Place, new: StepRow, batch: Batch) -> StepRow:
    """The row of a child that is sent now; of one that is refused, its error, as each replay is to find it."""
    machine = scope.machine
    try:
        machine.written_once(scope, place, lambda: machine.runs.spawn(machine.hold, [new], batch), [new])
    except CanvasConflict as exc:
        error = document_of(exc, machine.error_limit, traced=False)
        new = new._replace(child=None, error=error, ended_ms=machine.now_ms())
        machine.checkpoint(new)
        machine.rows[place] = new
    return new


def spawn(scope: Scope, target: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]:
    """Send a task, workflow, step or canvas, and go on; a handle of it."""
    return _sent(scope, "spawn", target_of(scope.machine.app, target), args, kwargs)


def call(scope: Scope, target: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Send a task, workflow, step or canvas, and wait for it; its result."""
    handle = _sent(scope, "call", target_of(scope.machine.app, target), args, kwargs)
    row = handle.row
    if row is None or row.ended_ms is None:
        scope.wait(Wait(handle._place, need=1))
    scope.reach(row)
    return value_of(scope, handle, row)


def _order(row: StepRow) -> int:
    return row.ended or 0


def gather(scope: Scope, handles: Iterable[Handle[Any]], *, on_error: str = "raise") -> list[Any]:
    """The results of all `handles`, in their order."""
    _checked(on_error)
    handles = _handles("gather", handles)
    place, _ = scope.place("gather", "gather")
    return _results(scope, place, handles, on_error)


def _results(scope: Scope, place: Place, handles: Sequence[Handle[Any]], on_error: str) -> list[Any]:
    """The results of `handles` once all that `on_error` asks for have ended."""
    rows = ended(scope, place, handles, fragile=on_error == "raise")
    failed = sorted((row for row in rows if row.error is not None), key=_order)
    if failed and on_error == "raise":
        cancel(scope, handles)
    if failed and on_error != "collect":
        _undo_the_others(scope, handles, before=_order(failed[0]) if on_error == "raise" else None)
        scope.reach(failed[0])
        raise _failure(failed[0])
    for row in rows:
        scope.reach(row)
    take: Callable[[Any, Any, Any], Any] = _collected if on_error == "collect" else value_of
    return [take(scope, handle, row) for handle, row in zip(handles, rows, strict=True)]


def _undo_the_others(scope: Scope, handles: Sequence[Handle[Any]], *, before: int | None) -> None:
    """Have the saga undo what has succeeded, though the body gets no result of it.

    `before`: the first failure; what ends behind it is not known to each replay.
    """
    for handle in handles:
        row = handle.row
        if handle._step is None or row is None or row.ended_ms is None or row.error is not None:
            continue
        if before is None or _order(row) < before:
            value_of(scope, handle, row)


def _failure(row: StepRow) -> Exception:
    assert row.error is not None
    return raised_of(row.error)


def _collected(scope: Scope, handle: Handle[Any], row: StepRow) -> Any:
    try:
        return value_of(scope, handle, row)
    except Exception as exc:  # noqa: BLE001 - it is what the caller asked for
        return Failure(exc)


def _handles(verb: str, given: Any) -> list[Handle[Any]]:
    """The handles that `verb` waits for. Raises TypeError for what is no handle, as a result, and for one alone."""
    handles = [given] if isinstance(given, Handle) or not isinstance(given, Iterable) else list(given)
    wrong = given if isinstance(given, Handle) else next((one for one in handles if not isinstance(one, Handle)), None)
    if wrong is not None:
        raise TypeError(
            f"{verb} takes a list of handles, as ctx.spawn(), ctx.timer() and ctx.event() give them, not {wrong!r:.80}"
        )
    return handles


def _checked(on_error: str) -> None:
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error is 'raise', 'wait' or 'collect', not {on_error!r}")


def race(scope: Scope, handles: Iterable[Handle[Any]], *, cancel: bool = True) -> tuple[int, Any]:
    """(index, result) of the first of `handles` that ends; the same one in each replay."""
    handles = _handles("race", handles)
    if not handles:
        raise ValueError("a race of nothing has no winner")
    place, _ = scope.place("race", "race")
    winner = _first(scope, place, handles)
    row = handles[winner].row
    assert row is not None
    scope.reach(row)
    if cancel:
        won = handles[winner]._place  # which may be named twice
        cancel_open(scope, [one for one in handles if one._place != won], events=True)
    return winner, value_of(scope, handles[winner], row)


def _first(scope: Scope, place: Place, handles: Sequence[Handle[Any]]) -> int:
    look(scope, handles)
    over = []
    for i, handle in enumerate(handles):
        row = handle.row
        if row is not None and row.ended_ms is not None:
            over.append((row.ended or 0, i))
    if over:
        return min(over)[1]
    need = 1 if any(handle.id is not None for handle in handles) else 0
    scope.wait(Wait(place, due_ms=due_of(handles), need=need))


def timer(scope: Scope, duration: Duration) -> Handle[None]:
    """A handle that ends after `duration`, for a race."""
    span_ms = to_span_ms(duration, "a timer")
    place, row = scope.place("timer", "timer")
    machine = scope.machine
    if row is None:
        machine.front(scope, place)
        now_ms = machine.now_ms()
        machine.checkpoint(row := StepRow(*place, "timer", "timer", due_ms=now_ms + span_ms, started_ms=now_ms))
        machine.rows[place] = row
    return _made(scope, place, None, None, "timer")


def event(scope: Scope, name: str, *, type: Any = None) -> Handle[Any]:
    """A handle that ends with the next event `name`, for a race."""
    machine = scope.machine
    place, row = event_row(scope, name, None)
    if place not in machine.rows:
        machine.checkpoint(row)
        machine.rows[place] = row
    return _made(scope, place, None, type, f"event {name!r}")


# -- map -------------------------------------------------------------------------------------------------------------


def map_(
    scope: Scope, target: Any, items: Iterable[Any], *, limit: int | None = None, on_error: str = "raise"
) -> list[Any]:
    """`target` of each of `items` in the pool, at most `limit` at once; the results in the order of `items`."""
    _checked(on_error)
    if limit is not None and (not is_count(limit) or limit < 1):
        raise ValueError(f"the limit of a map is a whole number from 1, not {limit!r}")
    items = list(items)
    goal = target_of(scope.machine.app, target)
    if goal.given is not None:
        raise WorkflowError("map takes a task, a workflow or a step; a canvas has its arguments already")
    if goal.id is not None:
        raise WorkflowError(f"map begins a run for each item, and one id is for one: leave id={goal.id!r} out")
    place, _ = scope.place("map", goal.name)
    inner = f"{scope.name}#{place[1]}"
    machine = scope.machine
    if (extra := machine.rows.get((inner, len(items) + 1))) is not None:
        machine.diverged(
            place, f"a map over more than {len(items)} items", f"a map of {extra.name!r} over {len(items)}"
        )
    handles = _mapped(scope, place, inner, goal, items, limit)
    return _results(scope, place, handles, on_error)


def _mapped(
    scope: Scope, place: Place, inner: str, goal: Target, items: list[Any], limit: int | None
) -> list[Handle[Any]]:
    """The handles of a map's items; those that history does not hold are sent now, in chunks."""
    machine = scope.machine
    machine.calls += len(items)
    handles: list[Handle[Any]] = []
    new: list[tuple[StepRow, Any]] = []
    again, aside = list[StepRow](), list[StepRow]()  # of a map that the run has made before its retry
    for pos, item in enumerate(items, 1):
        where, arghash = (inner, pos), hash_of((item,), {}, goal.name)
        row = machine.rows.get(where)
        if row is None and machine.recorded is not None:
            row = machine.recorded.answer(scope, where, "map", goal.name, arghash, None, (item,))
        if row is None and (found := stood_aside(machine, f"{scope.name}#", "map", goal.name, arghash, (item,), {})):
            row = taken_back(found[0], where, arghash, now_ms=machine.now_ms())
            again.append(row)
            aside += found
        if row is None:
            row = StepRow(inner, pos, "map", goal.name, None, arghash, started_ms=machine.now_ms())
            new.append((row, item))
        elif row.name != goal.name or (row.arghash != arghash and not machine.was_given(row, (item,), {})):
            machine.diverged(where, f"map {row.name!r}", f"map {goal.name!r} with other arguments")
        machine.attached.add(where)
        handles.append(_handle(scope, where, goal, row.child))
    if new and scope.went_on(place):
        known = f"a map over {len(items) - len(new)} items" if len(new) < len(items) else "no items of a map"
        machine.diverged(place, known, f"a map of {goal.name!r} over {len(items)}")
    if again:
        take_back(machine, scope, place, again, aside)
    for start in range(0, len(new), CHUNK):
        machine.front(scope, place)
        _send_chunk(scope, place, goal, new[start : start + CHUNK], limit)
    for handle in handles:
        if (row := handle.row) is not None:
            handle.id = row.child
    return handles


def _send_chunk(scope: Scope, place: Place, goal: Target, chunk: list[tuple[StepRow, Any]], limit: int | None) -> None:
    machine = scope.machine
    rows, batch = [], Batch()
    for row, item in chunk:
        made, child = goal.batch(machine, (item,), {})
        batch.messages += made.messages
        batch.groups += made.groups
        rows.append(row._replace(child=child))
    rows[0] = rows[0]._replace(marks=machine.take_marks())
    slots = None if limit is None else Slots(rows[0].scope, limit)
    machine.written_once(scope, place, lambda: machine.runs.spawn(machine.hold, rows, batch, slots=slots), rows)
