"""The lines of a worker's log about runs: that one goes on, what it waits for, and how it has ended."""

from __future__ import annotations

import logging
from typing import Any

from liteq.clock import from_ms
from liteq.execution.hushed import Quoted, quoted
from liteq.execution.lines import LINES, about_end
from liteq.execution.shown import noun_of
from liteq.message import Ack, Cancel, ContinueAsNew, DeadLetter, Lease, Outcome, StepRow, Suspend
from liteq.serialization import decode_error
from liteq.workflow.history.machine import Machine

__all__ = ["named", "tell_failed", "tell_goes_on", "tell_outcome", "tell_returned"]

logger = logging.getLogger("liteq.workflow")
ends = logging.getLogger("liteq.execution")  # a worker without `-l` says how each task, and so each run, has ended
SHOWN = 3  # of the waits of one suspension, which may be thousands


def named(lease: Lease) -> str:
    """A run, or a step that was sent, as a line of the log begins with it."""
    return f"{noun_of(lease)} {lease.task}[{lease.id}]"


def tell_goes_on(machine: Machine) -> None:
    """Say that a run was woken."""
    if logger.isEnabledFor(logging.INFO):
        lease, n = machine.lease, len(machine.rows)
        calls = "1 call" if n == 1 else f"{n} calls"
        logger.info("%s goes on, with %s in its history", named(lease), calls, extra=_about(lease))


def tell_returned(machine: Machine, value: Any) -> None:
    """Say that a run has returned `value`; like a task's, this line may only be counted."""
    if ends.isEnabledFor(logging.INFO) and LINES.may():
        lease, took_s = machine.lease, _took_s(machine)
        extra = {**_about(lease, took_s), **about_end("succeeded", took_s)}
        ends.info("%s succeeded in %.3fs: %.200s", named(lease), took_s, quoted(value), extra=extra)


def tell_failed(machine: Machine, exc: BaseException) -> None:
    """Say that a run has failed, with the traceback."""
    lease, took_s = machine.lease, _took_s(machine)
    text = "%s failed after %.3fs: %s: %.1000s"
    extra = {**_about(lease, took_s), **about_end("failed", took_s, exc)}
    ends.error(text, named(lease), took_s, type(exc).__name__, exc, exc_info=exc, extra=extra)


def tell_outcome(machine: Machine, outcome: Outcome) -> None:
    """Say what a run waits for, or that it was cancelled, took too long, or begins anew. Of its own end it has told."""
    kind, lease = type(outcome), machine.lease
    if kind is Ack or not ends.isEnabledFor(logging.INFO):
        return
    about = _about(lease)
    if kind is Suspend:
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s waits for %s", named(lease), Quoted(_waits(machine, outcome)), extra=about)  # type: ignore[arg-type]
    elif kind is Cancel:
        reason = _message(outcome.error)  # type: ignore[union-attr]
        extra = {**about, **about_end("cancelled")}
        ends.info("%s was cancelled%s", named(lease), Quoted(f": {reason:.1000}") if reason else "", extra=extra)
    elif kind is ContinueAsNew:
        logger.info("%s begins anew, with a history of its own", named(lease), extra=about)
    elif kind is DeadLetter and machine.is_cancelled:
        extra = {**about, **about_end("failed")}
        ends.error("%s failed: %.1000s", named(lease), Quoted(_message(outcome.error)), extra=extra)  # type: ignore[union-attr]


def _waits(machine: Machine, outcome: Suspend) -> str:
    """The waits that are new; where there is none, those that are open still."""
    rows = outcome.rows or [row for row in machine.rows.values() if row.ended_ms is None]
    texts = [_wait(row) for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        texts.append(f"{len(rows) - SHOWN} more")
    text = ", ".join(texts) or "its turn"
    return text if outcome.due_ms is None else f"{text}, until {from_ms(outcome.due_ms).isoformat(' ', 'seconds')}"


def _wait(row: StepRow) -> str:
    if row.kind == "step" and not row.waited:
        return f"attempt {row.attempts + 1} of step {row.name} ({_message(row.error)[:200]})"
    if row.kind in ("sleep", "timer"):
        return "timer"
    return row.waited or f"{row.kind} {row.name}"


def _message(error: bytes | None) -> str:
    return decode_error(error).message if error else ""


def _took_s(machine: Machine) -> float:
    """Seconds since the first activation of the run, waits included."""
    now_ms = machine.app.clock.now_ms()
    return max(0, now_ms - (machine.facts.started_ms or now_ms)) / 1000


def _about(lease: Lease, took_s: float | None = None) -> dict[str, object]:
    about: dict[str, object] = {"task_name": lease.task, "task_id": lease.id}
    return about if took_s is None else {**about, "runtime": took_s}
