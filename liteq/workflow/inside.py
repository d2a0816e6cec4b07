"""`StepFrame`: `ctx` inside a step that runs for a run."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from liteq.exceptions import LeaseLost, StorageError, WorkflowError
from liteq.message import StepRow
from liteq.serialization import encode
from liteq.workflow.approving import data_of
from liteq.workflow.machine import Machine, Place, key_of

if TYPE_CHECKING:
    from liteq.workflow.step import Step

__all__ = ["Emitter", "StepFrame"]

BATCH_S = 0.05  # chunks of a stream travel together


class StepFrame:
    """The place of a step's code: what `ctx` is there. The call of the step is one (attempts.py)."""

    __slots__ = ("arghash", "attempt", "emitter", "key", "machine", "place", "started", "step", "transaction")

    machine: Machine
    step: Step[Any, Any]
    place: Place
    arghash: bytes | None
    attempt: int
    started: int  # ms since the epoch
    key: str | None  # the step_key that the body was told
    transaction: Any  # of a step with tx=
    emitter: Emitter | None

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
            self.emitter = Emitter(self.machine, self.row())
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


class Emitter:
    """Writes the chunks of one step, or of a body, to streams: the first at once, then those of 50 ms together."""

    def __init__(self, machine: Machine, row: StepRow) -> None:
        self._machine = machine
        self._row = row
        self._held: list[tuple[str, bytes]] = []
        self._attempt: int | None = None
        self._until = 0.0  # until when chunks are held back
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._failure: BaseException | None = None

    def add(self, stream: str, data: bytes) -> None:
        """Take a chunk."""
        with self._lock:
            if self._failure is not None:
                self._machine.lost(self._failure)
            self._held.append((stream, data))
            now = self._machine.app.clock.monotonic()
            if now >= self._until:
                self._until = now + BATCH_S
                self._send()
            elif self._timer is None:
                self._timer = threading.Timer(BATCH_S, self._rung)
                self._timer.daemon = True
                self._timer.start()
        if self._failure is not None:
            self._machine.lost(self._failure)

    def flush(self) -> None:
        """Write what is held back. Leaves the body where that cannot be done."""
        with self._lock:
            self._stop()
            self._send()
        if self._failure is not None:
            self._machine.lost(self._failure)

    def _rung(self) -> None:
        with self._lock:
            self._timer = None
            self._send()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self) -> None:
        held, self._held = self._held, []
        machine = self._machine
        try:
            while held:
                stream = held[0][0]
                chunks = [data for name, data in held if name == stream]
                held = [one for one in held if one[0] != stream]
                self._attempt = machine.runs.emit(machine.hold, stream, self._row, chunks, self._attempt)
        except (LeaseLost, StorageError) as exc:
            self._failure = exc
