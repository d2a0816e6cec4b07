"""The attempts of a step: run it, record what came of it, wait between two of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from liteq.message import StepRow
from liteq.workflow.declared.step import Step
from liteq.workflow.history.errors import document_of, raised_of
from liteq.workflow.history.frames import enter, leave
from liteq.workflow.history.machine import Machine
from liteq.workflow.history.places import Place, Point
from liteq.workflow.stepping import limits, spending
from liteq.workflow.stepping.call import StepCall
from liteq.workflow.stepping.doubt import note_begin, resolved
from liteq.workflow.stepping.special import run_special
from liteq.workflow.stepping.through import around_step

if TYPE_CHECKING:
    from liteq.storage.spending.settling import Spent

__all__ = ["attempted", "attempted_async"]

made = tuple.__new__  # of a named tuple's fields: a third of its own way
IN_PLACE_MS = 1_000  # a shorter wait for the next attempt is a sleep of the process; a longer one suspends the run


class Attempts(StepCall):
    """One call of a step that history does not answer: from attempt to attempt."""

    __slots__ = ()

    def spend(self, *args: Any) -> None:
        """Note what the attempt has spent (`ctx.spend`)."""
        spending.add(self, *args)

    def begin(self) -> int:
        """Note that the attempt begins; the slot of the page."""
        machine, step = self.machine, self.step
        machine.front(self.scope, self.place)
        self.transaction = self.emitter = self.writes = None
        self.started = machine.now_ms()
        if step.doubt is not None:
            note_begin(self)
        return self.on_page()

    def is_metered(self) -> bool:
        """Whether limits or budgets are to be asked before the attempt begins."""
        step = self.step
        if step.keyed is None and step.spends is None and not self.machine.facts.spending:
            return False
        return limits.is_metered(self)

    def function(self) -> Callable[..., Any]:
        """The function of the step, inside the app's middleware."""
        machine = self.machine
        found = machine.function_of(self.step)
        if machine.through is None and machine.through_async is None:
            return found
        return around_step(self, found)

    def returned(self, value: Any) -> Any:
        """Record the result; the body gets what history holds. Raises NotSerializable, PayloadTooLarge."""
        machine, step = self.machine, self.step
        if self.chosen is not None or (step.keeps is not None and not step.keeps(value)):
            self.forgo()  # the result for another argument is no answer for this one
        data, value = step.codec.result.kept(value, machine.max_bytes)
        if self.emitter is not None:
            self.emitter.flush()
        told = self.spends is not None or self.reserved or self.chosen is not None
        if machine.is_step and not self.memo and not step.tx and not told:
            self.well()
            return value  # its message's end is the record
        scope, pos = self.place
        ended = machine.now_ms()
        row: StepRow = made(StepRow, (
            scope, pos, "step", step.name, step.key, self.arghash, self.attempt, data, None, None, None, None,
            None, 0, None, None, self.started, ended,
        ))  # fmt: skip
        if told:
            row = limits.record(self, row)
        else:
            machine.checkpoint(row, self.memo, self.intent)
        self.scope.reached_ms = max(self.scope.reached_ms, ended)
        self.well()
        return value

    def well(self) -> None:
        """Tell the limits that the attempt has succeeded."""
        if self.keys:
            limits.passed(self)

    def forgo(self) -> None:
        """Keep nothing of this attempt for other runs: whoever waits for it computes it."""
        if self.memo is not None:
            key, self.memo = self.memo.key, None
            self.machine.reading(lambda: self.machine.runs.drop_memo(self.machine.hold, key))

    def failed(self, exc: BaseException) -> float:
        """Record a failed attempt: seconds until the next one, here. Waits where that is long, raises without one."""
        machine, step = self.machine, self.step
        if self.emitter is not None:
            self.emitter.flush()
        self.forgo()
        if limits.after_failure(self, exc):
            return 0.0  # with another argument, at once
        error = document_of(exc, machine.error_limit)
        if not step.retries_after(exc, self.attempt):
            self.end(error)
        delay_ms = self.delay_ms(exc, self.attempt)
        due_ms = machine.now_ms() + delay_ms
        row = self.row(error=error, due_ms=due_ms)
        self.settle()
        if delay_ms >= IN_PLACE_MS or (delay_ms and not machine.sleeps_here):
            self.wait(row, due_ms)
        machine.checkpoint(row, None, self.intent)
        self.intent = False
        self.attempt += 1
        return delay_ms / 1000

    def end(self, error: bytes) -> NoReturn:
        """Record that the step has failed, and raise its exception as history will."""
        machine = self.machine
        ended = machine.now_ms()
        if not hasattr(self, "started"):
            self.started, self.attempt = ended, self.attempt - 1
        if not machine.is_step:
            machine.checkpoint(self.row(error=error, ended_ms=ended), None, self.intent, self.spent())
        else:
            self.settle()
            if self.intent:
                machine.reading(lambda: machine.runs.end_intent(machine.hold, self.place))
        self.scope.reached_ms = max(self.scope.reached_ms, ended)
        raise raised_of(error)

    def spent(self) -> Spent | None:
        """The spending of a failed attempt, for its record; None for nothing."""
        if self.spends is None and not self.reserved:
            return None
        return spending.spent(self, ended=False)

    def settle(self) -> None:
        """Write what a failed attempt has spent, and give back what was held for it."""
        spent = self.spent()
        if spent is not None:
            machine = self.machine
            machine.reading(lambda: machine.runs.spent(machine.hold, spent, machine.warn))

    def stopped(self, slot: int) -> None:
        """The attempt has been left, however."""
        if self.machine.page is not None:
            self.machine.page.end(slot)
        if self.places:
            self.leave_places()

    def leave_places(self) -> None:
        """Give the places under its limits back."""
        places, self.places = self.places, ()
        if places:
            limits.leave_places(self.machine, places)


def attempted(
    scope: Point,
    step: Step[Any, Any],
    place: Place,
    row: StepRow | None,
    arghash: bytes | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Run a step of a plain body until it has returned, failed for good, or waits for its next attempt."""
    call = Attempts(scope, step, place, row, arghash, args, kwargs)
    known = None if step.doubt is None else resolved(call, row)
    if known is not None and known.value:
        return known.value[0]
    if row is not None and known is None:
        call.go_on(row)
    while True:
        if not step.is_memo and call.is_metered():
            limits.enter_here(call)
        slot = call.begin()
        token = enter(call)
        try:
            with call.seen():
                value = (
                    call.returned(call.function()(*call.args, **call.kwargs)) if step.is_simple else run_special(call)
                )
        except Exception as exc:  # noqa: BLE001 - of the step: it is retried, or recorded
            failure: BaseException = exc
        except SystemExit as exc:
            failure = exc
        else:
            return value
        finally:
            leave(token)
            call.stopped(slot)
        _own(failure, call.machine)
        pause_s = call.failed(failure)
        if pause_s:
            time.sleep(pause_s)


def _own(failure: BaseException, machine: Machine) -> None:
    """Re-raise what is not the step's failure: the body is being left."""
    if machine.leaving is not None:
        raise machine.leaving from failure


def attempted_async(
    scope: Point,
    step: Step[Any, Any],
    place: Place,
    row: StepRow | None,
    arghash: bytes | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Callable[[], Coroutine[Any, Any, Any]]:
    """Makes the coroutine of an `async def` step that was called now."""
    call = Attempts(scope, step, place, row, arghash, args, kwargs)

    async def run() -> Any:
        if row is not None and row.ended_ms is not None:
            value = scope.answer(row, step.form)
        else:
            machine = scope.machine
            machine.check()
            value = await machine.pending.attempt(call, row)
        if step.compensate is not None:
            scope.compensate(step, value)
        return value

    return run
