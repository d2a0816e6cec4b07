"""Steps in doubt: begun, without an end, by a process whose lease is gone. A person, or a function that looks, decides.

Before each attempt of a step with doubt= a row is committed that says it begins; its end takes that row away. One that
is found at the next activation is a doubt.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from liteq.exceptions import NotSerializable, PayloadTooLarge, StepInDoubt
from liteq.message import Flag, StepRow
from liteq.serialization import decode
from liteq.storage.runs.records import Intent, doubt_scope
from liteq.workflow.declared.done import Done, NotDone
from liteq.workflow.history.announce import announce_doubt
from liteq.workflow.history.errors import document_of
from liteq.workflow.history.frames import enter, leave
from liteq.workflow.history.places import Wait
from liteq.workflow.stepping.alarm import limited
from liteq.workflow.stepping.limits import put_off

if TYPE_CHECKING:
    from liteq.workflow.stepping.call import StepCall

__all__ = ["Known", "note_begin", "resolved", "resolved_async"]

SCHEMA = {
    "type": "object",
    "properties": {
        "answer": {
            "type": "string",
            "enum": ["done", "repeat", "fail"],
            "description": "done: its effect is there; repeat: run it again; fail: the run gets StepInDoubt",
        },
        "result": {"description": "Of a step that was done: what it would have returned, as JSON"},
    },
    "required": ["answer"],
}
LOOK = -1.0  # among the seconds that a resolution asks to sleep: look at the destination


@dataclass(frozen=True, slots=True)
class Known:
    """The end of a doubt: (the result,) of a step that was done; () of one that is to be run now."""

    value: tuple[Any, ...] = ()


REPEAT = Known()


def note_begin(call: StepCall) -> None:
    """Write that an attempt begins. Leaves the body as `Machine.written_once`."""
    machine, place = call.machine, call.place
    asked = doubt_scope(place)
    questions = (row.pos for row in machine.rows.values() if row.scope == asked) if machine.rows else ()
    call.begun = max(call.begun, *questions, 0) + 1

    def write() -> Any:
        return machine.runs.begin_intent(machine.hold, place, call.step.name, call.step_key, call.begun)

    try:
        machine.written_once(call.scope, place, write, [])
    except BaseException:
        call.leave_places()
        raise
    call.intent = True


def resolved(call: StepCall, row: StepRow | None) -> Known | None:
    """The end of a step's doubt; None where it is in none. Waits while a person is asked."""
    steps = _resolution(call, row)
    try:
        wanted = next(steps)
        while True:
            if wanted == LOOK:
                wanted = steps.send(_looked(call))
            else:
                time.sleep(wanted)
                wanted = next(steps)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def resolved_async(call: StepCall, row: StepRow | None) -> Known | None:
    """As `resolved`, of a step of an async body; the function that looks may be async too."""
    import asyncio  # here it is loaded already

    steps = _resolution(call, row)
    try:
        wanted = next(steps)
        while True:
            if wanted == LOOK:
                wanted = steps.send(await _looked_async(call))
            else:
                await asyncio.sleep(wanted)
                wanted = next(steps)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def _resolution(call: StepCall, row: StepRow | None) -> Generator[float, Any, Known | None]:
    """Decide. It asks for looks, whose answers or exceptions it is sent, and for seconds to sleep."""
    machine = call.machine
    if not machine.lease.flags & Flag.HISTORY:  # nobody has had it before
        return None
    intent: Intent | None = machine.reading(lambda: machine.runs.intent(machine.hold, call.place))
    if intent is None:
        return None
    call.started, call.begun = intent.began_ms, intent.begun
    machine.front(call.scope, call.place)
    if call.step.doubt == "ask":
        return _asked(call, intent)
    if row is not None and row.due_ms is not None and row.due_ms > machine.now_ms():  # the look has failed before
        call.scope.wait(Wait(call.place, due_ms=row.due_ms))
    _tell(call, intent)
    while True:
        answer = yield LOOK
        if isinstance(answer, Done):
            return _done(call, intent, answer.result)
        if isinstance(answer, NotDone):
            return REPEAT
        if machine.leaving is not None:
            raise machine.leaving
        yield _failed_look(call, intent, answer)


# -- a person --------------------------------------------------------------------------------------------------------


def _asked(call: StepCall, intent: Intent) -> Known:
    """The answer of a person to the doubt, who is asked where nobody was."""
    machine = call.machine
    place = (doubt_scope(call.place), intent.begun)
    row = machine.rows.get(place)
    if row is None:
        title = f"{intent.name} {intent.step_key}"
        details = {"step": intent.name, "step_key": intent.step_key, "attempt": intent.begun}
        request = orjson.dumps({"details": details, "schema": SCHEMA, "form": None})
        row = StepRow(
            *place, "approval", title, waited=f"approval {title}", details=request, started_ms=machine.now_ms()
        )
        call.scope.wait(Wait(call.place, row))
    if row.ended_ms is None or row.output is None:
        call.scope.wait(Wait(call.place))
    call.scope.reach(row)
    decision = decode(row.output)
    data = decision.get("data") or {}
    answer = data.get("answer") if decision["ok"] else "fail"
    if answer == "repeat":
        return REPEAT
    if answer == "done":
        try:
            return _done(call, intent, call.step.form.load(data.get("result")))
        except NotSerializable as exc:
            _fail(call, intent, f"the result that was given does not fit: {exc}")
    by = f"{decision['by']} has decided that it fails" if decision.get("by") else "it was decided that it fails"
    comment = decision.get("comment")
    _fail(call, intent, f"{by}: {comment}" if comment else by)


# -- a function ------------------------------------------------------------------------------------------------------


def _looked(call: StepCall) -> Any:
    """The answer of the function that looks, or its exception."""
    step = call.step
    slot, token = _begin(call)
    try:
        with limited(call.machine, step.timeout_s):
            return step.doubt(call.step_key, *call.args, **call.kwargs)
    except Exception as exc:  # noqa: BLE001 - it is tried again, as the step would be
        return exc
    finally:
        _end(call, slot, token)


async def _looked_async(call: StepCall) -> Any:
    import asyncio

    step = call.step
    slot, token = _begin(call)
    try:
        async with asyncio.timeout(step.timeout_s):
            answer = step.doubt(call.step_key, *call.args, **call.kwargs)
            return await answer if inspect.isawaitable(answer) else answer
    except Exception as exc:  # noqa: BLE001 - as above
        return exc
    finally:
        _end(call, slot, token)


def _begin(call: StepCall) -> tuple[int, Any]:
    call.transaction = call.emitter = call.writes = None
    return call.on_page(), enter(call)


def _end(call: StepCall, slot: int, token: Any) -> None:
    leave(token)
    if call.machine.page is not None:
        call.machine.page.end(slot)


def _failed_look(call: StepCall, intent: Intent, answer: Any) -> float:
    """Seconds until the next look; it is repeated as the step would be, and then the step fails."""
    if not isinstance(answer, Exception):
        _fail(call, intent, f"doubt= has returned {answer!r:.100}; it returns Done(result) or NotDone()")
    put_off(call, answer)
    if not call.step.retries_after(answer, call.attempt):
        _fail(call, intent, f"the look at its destination failed: {type(answer).__name__}: {answer}")
    return call.failed(answer)


# -- what becomes of it ----------------------------------------------------------------------------------------------


def _done(call: StepCall, intent: Intent, result: Any) -> Known:
    """Record a step that was done, with its result. Raises NotSerializable where that is none of the step's."""
    machine = call.machine
    try:
        data, value = call.step.form.kept(result, machine.max_bytes)
    except PayloadTooLarge as exc:
        _fail(call, intent, str(exc))
    if not machine.is_step:
        ended = machine.now_ms()
        machine.checkpoint(call.row(output=data, ended_ms=ended), None, True)
        call.scope.reached_ms = max(call.scope.reached_ms, ended)
    return Known((value,))


def _fail(call: StepCall, intent: Intent, reason: str) -> NoReturn:
    """Record that the step has failed. The doubt stays: where the run is retried, it is asked for anew."""
    error = StepInDoubt(intent.name, intent.step_key, intent.begun, reason)
    call.end(document_of(error, call.machine.error_limit, traced=False))


def _tell(call: StepCall, intent: Intent) -> None:
    token = enter(None)  # the task that tells the webhook is no call of the body's
    try:
        details = {"step": intent.name, "step_key": intent.step_key, "attempt": intent.begun}
        announce_doubt(call.machine.app, call.machine.lease, details)
    finally:
        leave(token)
