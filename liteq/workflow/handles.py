"""`Handle`: a call that was spawned and is not waited for yet; and what a race takes beside: timers and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from liteq.exceptions import WorkflowError
from liteq.message import StepRow
from liteq.workflow.codec import Form
from liteq.workflow.errors import raised_of
from liteq.workflow.frames import here
from liteq.workflow.machine import Machine, Place

if TYPE_CHECKING:
    from liteq.workflow.calls import Call
    from liteq.workflow.scope import Scope

__all__ = ["AsyncHandle", "Failure", "Handle"]

R_co = TypeVar("R_co", covariant=True)  # a list of handles of several kinds goes into one race


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands in a list of results for a call that failed: `error` is its exception (`on_error="collect"`)."""

    error: Exception


class Handle(Generic[R_co]):
    """A call that runs in the pool, or something else that is awaited. Of the run that made it, in this activation."""

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
        from liteq.workflow.children import is_done

        return is_done(self._scope("handle.done"), self)

    def result(self) -> R_co:
        """Wait for its end: its result. Raises its exception."""
        from liteq.workflow.children import result_of

        return result_of(self._scope("handle.result()"), self)  # type: ignore[no-any-return]

    def cancel(self) -> None:
        """Cancel it, if it has not ended. A timer, or a wait for an event, ends with the race."""
        from liteq.workflow.children import cancel

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
        from liteq.workflow.calls import called
        from liteq.workflow.children import result_of

        return called(self._machine, result_of, self._scope("handle.result()"), self)

    def cancel(self) -> Call[None]:  # type: ignore[override]
        """Cancel it, if it has not ended; to be awaited."""
        from liteq.workflow.calls import called
        from liteq.workflow.children import cancel

        return called(self._machine, cancel, self._scope("handle.cancel()"), [self])
