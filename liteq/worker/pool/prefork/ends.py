"""The end of a child's process, in words."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence

from liteq.context import App
from liteq.exceptions import TimeLimitExceeded, WorkerLostError
from liteq.message import Flag, Lease, Outcome
from liteq.worker.pool.base import crashed, over_limit
from liteq.worker.pool.prefork.handle import Handle
from liteq.worker.pool.runs import lost_in_a_run, timed_out

__all__ = ["describe", "fate", "log_end", "reason"]

logger = logging.getLogger("liteq.worker")


def describe(status: int | None) -> str:
    """An exit status as `os.waitstatus_to_exitcode` has it; None: nobody knows it."""
    if status is None:
        return "an unknown status"
    if status < 0:
        try:
            return f"signal {signal.Signals(-status).name}"
        except ValueError:
            return f"signal {-status}"
    return f"exit code {status}"


def log_end(child: Handle, status: int, ran: Sequence[Lease]) -> None:
    """Log that `child` has ended, and what it `ran`: one lease, or none."""
    about = {"task_name": ran[0].task, "task_id": ran[0].id} if ran else {}
    task = f", while it ran {ran[0].task}[{ran[0].id}]" if ran else ""
    if child.terminated is not None:  # as somebody asked for: nothing is wrong
        logger.warning("process %s was terminated: %s%s", child.pid, describe(status), task, extra=about)
    else:
        logger.error("process %s ended with %s%s", child.pid, describe(status), task, extra=about)


def reason(child: Handle, status: int | None) -> str:
    """The reason of a child's end, for `Pool.exits`."""
    if child.terminated is not None:
        return "terminated"
    if child.overdue is not None or (child.hard_limit is not None and time.monotonic() >= child.hard_limit[1]):
        return "time_limit"
    return "crash" if status else "replaced"


def fate(app: App, hostname: str, child: Handle, lease: Lease, status: int | None) -> Outcome:
    """The outcome of the lease that `child` was executing when it ended, while its worker goes on."""
    if child.terminated is not None and child.terminated[0] == lease.token:
        return child.terminated[1](lease)
    if child.overdue is not None and child.overdue.token == lease.token:
        return timed_out(child.overdue, app.clock.now_ms())
    if lease.flags & Flag.RUN:
        steps = [step for step in child.steps() if step.token == lease.token]
        return lost_in_a_run(lease, steps, f"ended with {describe(status)}{child.left_behind}")
    if child.hard_limit is not None and time.monotonic() >= child.hard_limit[1]:
        return over_limit(app, lease, TimeLimitExceeded(child.hard_limit[2]), hostname)
    text = f"the process that ran {lease.task}[{lease.id}] ended with {describe(status)}{child.left_behind}"
    return crashed(app, lease, WorkerLostError(text, status), hostname)
