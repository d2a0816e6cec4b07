"""Waits of a body: sleep, an event, a person's approval; and the timer and the event that a race takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, get_origin

import orjson

from liteq.clock import from_ms, to_ms
from liteq.exceptions import ApprovalTimeout, EventTimeout, NotSerializable
from liteq.message import StepRow
from liteq.serialization import decode, encode
from liteq.utils.durations import Duration, to_span_ms
from liteq.utils.names import checked_name
from liteq.workflow.calling.scope import Scope
from liteq.workflow.history.calls import Pend
from liteq.workflow.history.codec import Form
from liteq.workflow.history.machine import Machine
from liteq.workflow.history.places import Place, Wait

__all__ = ["NOTHING", "Approval", "approval", "give_up", "sleep", "sleep_until", "take", "together", "wait_event"]


R = TypeVar("R")


class Nothing:
    """The default of a default: none is given."""

    def __repr__(self) -> str:
        return "<none>"


NOTHING: Any = Nothing()
GIVEN_UP = frozenset({"event", "approval", "sleep"})  # waits that are ended with the branch that they hold
LONGEST_TITLE = 500  # characters of an approval's: who waits is found by it, and an index has no room for a long text


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's decision. `by` is the name that was given with it, `at` its time; `timed_out`: nobody decided."""

    ok: bool
    by: str | None = None
    comment: str = ""
    data: Any = None
    at: datetime | None = None
    timed_out: bool = False


def together(scope: Scope, asks: Sequence[Callable[[], R]]) -> list[R]:
    """The results of `asks`, calls of a plain body: all of them are made before one is waited for.

    The exception of the first that failed is raised, though others may wait still.
    """
    found: list[R] = []
    open_: list[Wait] = []
    failure: Exception | None = None
    scope.pends = True
    try:
        for ask in asks:
            try:
                found.append(ask())
            except Pend as pend:
                open_.append(pend.wait)
            except Exception as exc:  # noqa: BLE001 - raised below, when all have their places
                failure = failure or exc
    finally:
        scope.pends = False
    if failure is not None:
        raise failure
    if open_:
        scope.machine.suspend(open_)
    return found


def _reach(scope: Scope, row: StepRow) -> None:
    """Note that a wait is over. One that has an error was given up: its branch waits, and is cancelled there again."""
    if row.error is not None and scope.machine.is_async:  # a plain body has no branches
        raise Pend(Wait((row.scope, row.pos)))
    scope.reach(row)


def give_up(machine: Machine, wait: Wait) -> None:
    """End the wait of a branch that was cancelled: what comes is for the next one, and no replay gets beyond it."""
    row = wait.row or machine.rows.get(wait.place)
    if row is None or row.ended_ms is not None or row.kind not in GIVEN_UP or (row.scope, row.pos) != wait.place:
        return
    machine.mark_denied()
    if wait.place not in machine.rows:
        machine.checkpoint(row)
    marks = machine.take_marks()
    for found in machine.reading(lambda: machine.runs.cancel_children(machine.hold, [wait.place], marks, branch=True)):
        machine.rows[wait.place] = found


# -- time ------------------------------------------------------------------------------------------------------------


def sleep(scope: Scope, duration: Duration) -> None:
    """Wait for `duration`; the worker is free meanwhile."""
    span_ms = to_span_ms(duration, "the time to sleep")
    place, row = scope.place("sleep", "sleep")
    _until(scope, place, row, scope.machine.now_ms() + span_ms)


def sleep_until(scope: Scope, moment: datetime) -> None:
    """Wait until `moment`. Raises ValueError for a naive one."""
    if not isinstance(moment, datetime):
        raise TypeError(f"sleep_until takes a datetime, not {moment!r}; for a span of time use sleep")
    if moment.tzinfo is None:
        raise ValueError(
            f"sleep_until({moment!r}): a naive datetime names no moment; add a zone, as datetime(..., tzinfo=UTC), "
            "or take ctx.now() + timedelta(...)"
        )
    place, row = scope.place("sleep", "sleep")
    due_ms = to_ms(moment)
    _until(scope, place, row, due_ms + (from_ms(due_ms) < moment))


def _until(scope: Scope, place: Place, row: StepRow | None, due_ms: int) -> None:
    now_ms = scope.machine.now_ms()
    if row is None:
        new = StepRow(*place, "sleep", "sleep", due_ms=due_ms, started_ms=now_ms)
        scope.wait(Wait(place, new, due_ms=due_ms))
    if row.ended_ms is None:  # the claim ends those whose time has come, as of that time
        scope.wait(Wait(place, due_ms=row.due_ms))
    _reach(scope, row)


# -- events ----------------------------------------------------------------------------------------------------------


def wait_event(
    scope: Scope, name: str, *, timeout: Duration | None = None, default: Any = NOTHING, type: Any = None,
    key: str | None = None,
) -> Any:  # fmt: skip
    """The payload of the next event `name`, the oldest first."""
    place, row = event_row(scope, name, timeout, key)
    if row.ended_ms is None:
        scope.wait(Wait(place, None if place in scope.machine.rows else row, row.due_ms))
    _reach(scope, row)
    if row.output is None:
        if default is NOTHING:
            raise EventTimeout(f"the event {name!r} did not come in time")
        return default
    return payload_of(row, name, type)


def event_row(scope: Scope, name: str, timeout: Duration | None, key: str | None = None) -> tuple[Place, StepRow]:
    """The place of a wait for an event, and its row: of history, taken from the inbox, or new and open."""
    name = checked_name(name, "an event's name")
    span_ms = None if timeout is None else to_span_ms(timeout, f"the timeout of the event {name!r}")
    key = _checked(key, name)
    place, row = scope.place("event", name, key=key)
    if row is not None:
        return place, row
    machine = scope.machine
    machine.front(scope, place)
    now_ms = machine.now_ms()
    due_ms = None if span_ms is None else now_ms + span_ms
    new = StepRow(*place, "event", name, key, due_ms=due_ms, waited=f"event {name}", started_ms=now_ms)
    return place, take(scope, new)


def _checked(key: str | None, of: str) -> str | None:
    return None if key is None else checked_name(key, f"the key of {of!r}")


def take(scope: Scope, new: StepRow) -> StepRow:
    """`new`, ended by an event that is there already, else as it is."""
    machine = scope.machine
    new = new._replace(marks=machine.take_marks())
    taken: StepRow | None = machine.reading(lambda: machine.runs.take_event(machine.hold, new, new.name))
    if taken is None:
        machine.keep_marks(new.marks)
        return new._replace(marks=None)
    machine.written += 1
    machine.rows[taken.scope, taken.pos] = taken
    return taken


def payload_of(row: StepRow, name: str, type: Any) -> Any:
    """The payload of an event that came, as `type` where given."""
    if row.output is None:
        return None
    if type is None:
        return decode(row.output)
    return Form(type, f"the event {name!r}", checked=True).received(row.output)


# -- approvals -------------------------------------------------------------------------------------------------------


def approval(
    scope: Scope,
    title: str,
    *,
    details: Any = None,
    form: Any = None,
    timeout: Duration | None = None,
    default: bool | None = None,
    remind: Duration | None = None,
    key: str | None = None,
) -> Approval:
    """A person's decision: ask for it, and wait."""
    if not title.strip():
        raise ValueError(f"an approval needs a title, not {title!r}")
    span_ms = None if timeout is None else to_span_ms(timeout, f"the timeout of the approval {title!r}")
    remind_ms = None if remind is None else to_span_ms(remind, f"the reminder of the approval {title!r}")
    key = _checked(key, title)
    place, row = scope.place("approval", title, key=key)
    machine = scope.machine
    now_ms = machine.now_ms()
    if row is None:  # one that is asked for already has room, and is decided on
        checked_name(title, "an approval's title (the details= may be longer)", LONGEST_TITLE)
        due_ms = None if span_ms is None else now_ms + span_ms
        row = StepRow(
            *place, "approval", title, key, due_ms=due_ms, waited=f"approval {title}",
            details=_request(title, details, form), started_ms=now_ms,
        )  # fmt: skip
        scope.wait(Wait(place, row, _next_look(row, remind_ms, now_ms)))
    if row.ended_ms is None:
        times = (now_ms - row.started_ms) // remind_ms if remind_ms else 0
        # A reminder is the request, written once more: who settles the wait tells of it, as of the first one.
        again = row._replace(attempts=times) if times > row.attempts else None
        scope.wait(Wait(place, again, _next_look(row, remind_ms, now_ms)))
    _reach(scope, row)
    if row.output is None:
        if default is None:
            raise ApprovalTimeout(f"nobody decided on {title!r} in time")
        return Approval(bool(default), timed_out=True, at=None)
    decision = decode(row.output)
    data = decision.get("data")
    if form is not None and data is not None and not isinstance(form, dict):
        data = _as_form(Form(form, f"the data of the approval {title!r}", checked=True), data, decision["ok"])
    at = decision.get("at")
    return Approval(
        bool(decision["ok"]), decision.get("by"), decision.get("comment") or "", data,
        from_ms(at) if isinstance(at, int) else None,
    )  # fmt: skip


def _as_form(form: Form, data: Any, ok: bool) -> Any:
    """The data of a decision, read by its form. That of a no was not asked for: if it does not fit, it stays as is."""
    try:
        return form.load(data)
    except NotSerializable:
        if ok:
            raise
        return data


def _next_look(row: StepRow, remind_ms: int | None, now_ms: int) -> int | None:
    """When the run is to be woken: at the end of its patience, or for the next reminder."""
    if not remind_ms:
        return row.due_ms
    following = row.started_ms + ((now_ms - row.started_ms) // remind_ms + 1) * remind_ms
    return following if row.due_ms is None else min(following, row.due_ms)


def _request(title: str, details: Any, form: Any) -> bytes:
    """The document of a request: `details`, the JSON schema of `data`, and the name of its type. A dict is a schema."""
    schema = form_name = None
    if isinstance(form, dict):
        schema = form
    elif form is not None:
        from pydantic import TypeAdapter

        schema = TypeAdapter(form).json_schema()
        if isinstance(form, type) and get_origin(form) is None:  # `list[int]` bears the name of `list`
            form_name = f"{form.__module__}:{form.__qualname__}"
    what = f"the details of the approval {title!r}"
    plain = orjson.loads(encode(details, what=what))
    return orjson.dumps({"details": plain, "schema": schema, "form": form_name})
