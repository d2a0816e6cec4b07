"""The lines about tasks that succeeded: each of them, or so many a second and the number of the others.

A line costs as much as a very short task. Nobody reads a thousand of them in a second, so a worker without `-l` counts
those that are above `worker_log_tasks`, and says their number in one line.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from liteq.context import Request
from liteq.context.observing import headers_of, trace_id_of
from liteq.execution.hushed import quoted
from liteq.execution.tracing import own_line
from liteq.message import Lease
from liteq.serialization.content import options_of

__all__ = ["LINES", "TaskLines", "about", "about_end", "name_of", "tell_started", "tell_succeeded"]

logger = logging.getLogger("liteq.execution")


class TaskLines:
    """The lines of this process. `limit`: how many in a second; None: all. `starts`: one of each start, too."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.starts = False
        self._until = 0.0
        self._n = 0
        self._untold = 0

    def may(self) -> bool:
        """Whether a task that has succeeded now gets its line; else it is counted."""
        if self.limit is None:
            return True
        now = time.monotonic()
        if now >= self._until:
            self._tell_rest()
            self._until, self._n = now + 1.0, 0
        self._n += 1
        if self._n <= self.limit:
            return True
        self._untold += 1
        return False

    def idle(self) -> float | None:
        """Say how many tasks got no line, when their second is over: called where there is nothing else to do.

        Returns in how many milliseconds that is, None when there is nothing to say.
        """
        if not self._untold:
            return None
        left_s = self._until - time.monotonic()
        if left_s > 0:
            return left_s * 1000 + 1
        self._tell_rest()
        return None

    def _tell_rest(self) -> None:
        untold, self._untold = self._untold, 0
        if untold:
            text = "... and %d more tasks succeeded, above %s lines a second (worker_log_tasks); -l info logs each"
            logger.info(text, untold, self.limit, extra={"count": untold})


LINES = TaskLines()

# -- the figures in a line, beside its text ----------------------------------------------------------------------------


def name_of(lease: Lease) -> str:
    """The name of a message in the log: the `shadow` of its call, else its task's."""
    try:
        shadow: str | None = options_of(lease.options).get("shadow") if lease.options else None
    except (AttributeError, TypeError, ValueError):  # what others wrote is refused where it is executed
        shadow = None
    return shadow or lease.task


def about(lease: Lease, event: str) -> dict[str, Any]:
    """The fields of a line about a message that does not run here: `event` is "task.received", say."""
    found = {
        "event": event, "task_name": lease.task, "task_id": lease.id, "queue": lease.queue,
        "root_id": lease.root_id or lease.id, "attempt": lease.retries + 1,
    }  # fmt: skip
    trace_id = trace_id_of(headers_of(lease.options)) if lease.options else None
    return found if trace_id is None else {**found, "trace_id": trace_id}


def about_end(outcome: str, run_s: float | None = None, exc: BaseException | None = None) -> dict[str, Any]:
    """The fields of a line about the end of an attempt, which ran for `run_s` seconds."""
    found: dict[str, Any] = {"event": f"task.{outcome}", "outcome": outcome}
    if run_s is not None:
        found["run_s"] = round(run_s, 6)
    if exc is not None:
        found["error_type"] = type(exc).__qualname__
    return found


def tell_started(name: str, id_: str | None) -> None:
    """Say that a task begins."""
    logger.info("Task %s[%s] started", name, id_, extra={"event": "task.started"})


def tell_succeeded(name: str, request: Request, retval: Any, runtime_s: float) -> None:
    """Say that a task has succeeded, in the words of the program where it has its own (`tracing.LOG_SUCCESS`)."""
    extra = {"runtime": runtime_s, **about_end("succeeded", runtime_s)}
    own = own_line()
    if own is None:
        text = "Task %s[%s] succeeded in %.6fs: %.200s"
        logger.info(text, name, request.id, runtime_s, quoted(retval), extra=extra)
        return
    values = {
        "name": name, "id": request.id, "runtime": runtime_s, "return_value": quoted(retval),
        "args": request.argsrepr, "kwargs": request.kwargsrepr,
    }  # fmt: skip
    logger.info(own, values, extra=extra)
