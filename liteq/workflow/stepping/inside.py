"""`StepFrame`: `ctx` inside a step that runs for a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from liteq.exceptions import LeaseLost, WorkflowError
from liteq.execution.telling import Emitter
from liteq.message import StepRow
from liteq.serialization import encode
from liteq.serialization.models import data_of
from liteq.workflow.declared.step import Step
from liteq.workflow.history.machine import Machine, key_of
from liteq.workflow.history.places import Place

__all__ = ["StepFrame", "emitter_of"]


class StepFrame:
    """The place of a step's code: what `ctx` is there. The call of the step is one (attempt.py)."""

    __slots__ = ("arghash", "attempt", "emitter", "key", "machine", "place", "started", "step", "transaction", "writes")

    machine: Machine
    step: Step[Any, Any]
    place: Place
    arghash: bytes | None
    attempt: int
    started: int  # ms since the epoch
    key: str | None  # the step_key that the body was told
    transaction: Any  # of a step with tx=
    emitter: Emitter | None
    writes: dict[str, int] | None  # how many this attempt has made, by their target

    def row(self, **more: Any) -> StepRow:
        """The row of this call."""
        scope, pos = self.place
        step = self.step
        return StepRow(
            scope, pos, "step", step.name, step.key, self.arghash, self.attempt, started_ms=self.started, **more
        )

    @property
    def step_key(self) -> str:
        return self.key or key_of(self.machine, self.place)

    def key_of_write(self, where: str) -> str:
        """The step_key for a write that is to happen once; that of the second to the same target on has its number."""
        counts = self.writes = self.writes or {}
        number = counts[where] = counts.get(where, 0) + 1
        return self.step_key if number == 1 else f"{self.step_key}#{number}"

    def call_step(self, step: Step[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A step inside a step is the plain function."""
        return step.function(*args, **kwargs)

    def refuse(self, what: str) -> NoReturn:
        raise WorkflowError(
            f"{what} cannot be used in a step, only in the body of a workflow: call it in the body, and "
            "pass its value to the step"
        )

    def emit(self, stream: str, chunk: Any) -> None:
        data = encode(data_of(chunk), what=f"a chunk of the stream {stream!r}")
        if self.transaction is not None and hasattr(self.transaction, "checkpoint"):
            self.transaction.emit(stream, self.row(), [data])
            return
        if self.emitter is None:
            self.emitter = emitter_of(self.machine, self.row())
        self.emitter.add(stream, data)

    def cancelled(self) -> bool:
        """Whether a cancel is asked of the run: one read, for long steps."""
        machine = self.machine
        if machine.is_cancelled:
            return True
        try:
            asked = machine.runs.asked(machine.hold)
        except LeaseLost:
            return True
        return asked is not None and asked.what in {"cancel", "timeout"}

    @property
    def tx(self) -> Any:
        if self.transaction is None:
            raise WorkflowError(f"ctx.tx is for a step with tx=: declare {self.step.what} with @app.step(tx=True)")
        return self.transaction


def emitter_of(machine: Machine, row: StepRow) -> Emitter:
    """The emitter of one step, or of a body. It leaves the body where a chunk cannot be written."""

    def write(stream: str, chunks: Sequence[bytes], attempt: int | None) -> int:
        return machine.runs.emit(machine.hold, stream, row, chunks, attempt)

    return Emitter(write, machine.app.clock, machine.lost)
