"""`StepCall`: one call of a step that history does not answer, as limits, budgets, doubts and memos know it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

from liteq.message import StepRow
from liteq.storage.runs.records import Memo
from liteq.workflow.declared.step import Step
from liteq.workflow.history.errors import document_of, raised_of
from liteq.workflow.history.places import Place, Point, Wait
from liteq.workflow.stepping.inside import StepFrame

if TYPE_CHECKING:
    from liteq.storage.spending.kinds import Spend

__all__ = ["UNSEEN", "StepCall"]

UNSEEN = nullcontext()


class StepCall(StepFrame, ABC):
    """One call of a step that history does not answer, and the place of the step's code: its state.

    What is written at which end is for `Attempts` (attempts.py); limits, budgets, doubts and transactions ask for it
    by the methods that are declared here.
    """

    __slots__ = (
        "args", "asked", "begun", "chosen", "intent", "keys", "kwargs", "memo", "patience", "places", "reserved",
        "scope", "shared", "since_ms", "spends", "tokens",
    )  # fmt: skip

    def __init__(
        self,
        scope: Point,
        step: Step[Any, Any],
        place: Place,
        row: StepRow | None,
        arghash: bytes | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.scope = scope
        self.machine = scope.machine
        self.step = step
        self.place = place
        self.arghash = arghash
        self.args = args
        self.kwargs = kwargs
        self.key = scope.given
        self.attempt = 1 if row is None else row.attempts + 1
        self.memo: Memo | None = None  # where its result is to be kept
        self.shared: Memo | None = None  # where it is looked for
        self.intent = False  # whether a row says that it was begun
        self.begun = 0  # ... how often, each time without a known end
        self.places: Sequence[str] = ()  # the keys under which it has a place of its own
        self.keys: Sequence[str] = ()  # ... and all by which it is limited
        self.spends: list[Spend] | None = None  # what the attempt has spent so far
        self.reserved = False  # a row stands for what it may spend
        self.tokens: Sequence[tuple[str, int]] = ()  # of a model's, taken of limits beforehand
        self.chosen: tuple[str, Any] | None = None  # the argument of `fallback` that it runs with
        self.asked = args, kwargs  # what it was called with
        self.since_ms: int | None = None  # since when it waits here for a limit or a budget
        self.patience: float | None = None  # until when it waits here for a result that another run computes

    def go_on(self, row: StepRow) -> None:
        """Take up a call of which attempts have failed: raise its last error where there is none left, or wait."""
        due_ms = row.due_ms
        if row.error is not None and due_ms is None and row.waited is None:  # its process was killed at its timeout
            exc = raised_of(row.error)
            if not self.step.retries_after(exc, row.attempts):
                self.end(row.error)
            due_ms = self.machine.now_ms() + self.delay_ms(exc, row.attempts)
            if due_ms > self.machine.now_ms():
                self.scope.wait(Wait(self.place, row._replace(due_ms=due_ms), due_ms=due_ms))
        elif row.error is not None and row.attempts > self.step.retries:  # as above, as older code wrote it
            self.end(row.error)
        elif due_ms is not None and row.waited is None and due_ms > self.machine.now_ms():
            self.scope.wait(Wait(self.place, due_ms=due_ms))

    def delay_ms(self, exc: BaseException, attempt: int) -> int:
        """Milliseconds until the next attempt: `attempt` has raised `exc`. Ends the step where its `backoff` fails."""
        try:
            return int(self.step.delay_s(attempt) * 1000)
        except Exception as wrong:  # noqa: BLE001 - of the user's function: history is to hold that too
            wrong.__context__ = exc
            self.end(document_of(wrong, self.machine.error_limit))

    def on_page(self) -> int:
        """Note on the page that an attempt begins; its slot there."""
        machine, step = self.machine, self.step
        page = machine.page
        if page is None:
            return 0
        if step.timeout_s is not None and machine.new_marks:  # where it is killed then, its parent writes the record
            machine.write_marks()
        return page.begin(*self.place, step.name, self.attempt, step.timeout_s, step.key, self.arghash)

    def seen(self) -> AbstractContextManager[object]:
        """A block for the attempt, which the observers of the app see."""
        observer = self.machine.observer
        if observer is None:
            return UNSEEN
        return observer.stepping(self.step, (self.args, self.kwargs), self.attempt, self.machine.lease)

    def wait(self, row: StepRow, due_ms: int) -> NoReturn:
        """Wait until `due_ms`; `row` says for what."""
        if not self.intent:
            self.scope.wait(Wait(self.place, row, due_ms=due_ms))
        self.machine.checkpoint(row, None, True)  # it has ended, if badly, and is in no doubt while it waits
        self.intent = False
        self.scope.wait(Wait(self.place, due_ms=due_ms))

    def untaken(self) -> Callable[[], None]:
        """Makes up for what the record of a result takes of the run and of this call, where it is rolled back."""
        machine, marks, spends, reserved = self.machine, [*self.machine.new_marks], self.spends, self.reserved

        def undo() -> None:
            machine.new_marks, self.spends, self.reserved = marks, spends, reserved

        return undo

    # -- of its attempts ---------------------------------------------------------------------------------------------

    @abstractmethod
    def is_metered(self) -> bool:
        """Whether limits or budgets are to be asked before the attempt begins."""

    @abstractmethod
    def function(self) -> Callable[..., Any]:
        """The function of the step, inside the app's middleware."""

    @abstractmethod
    def returned(self, value: Any) -> Any:
        """Record the result; the body gets what history holds. Raises NotSerializable, PayloadTooLarge."""

    @abstractmethod
    def failed(self, exc: BaseException) -> float:
        """Record a failed attempt: seconds until the next one, here. Waits where that is long, raises without one."""

    @abstractmethod
    def end(self, error: bytes) -> NoReturn:
        """Record that the step has failed, and raise its exception as history will."""

    @abstractmethod
    def settle(self) -> None:
        """Write what a failed attempt has spent, and give back what was held for it."""

    @abstractmethod
    def leave_places(self) -> None:
        """Give the places under its limits back."""
