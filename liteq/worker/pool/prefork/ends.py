"""The end of a child's process, in words."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence

from liteq.message import Lease
from liteq.worker.pool.prefork.forking import Handle

__all__ = ["describe", "log_end"]

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
