"""The lines about tasks that succeeded: each of them, or so many a second and the number of the others.

A line costs as much as a very short task. Nobody reads a thousand of them in a second, so a worker without `-l` counts
those that are above `worker_log_tasks`, and says their number in one line.
"""

from __future__ import annotations

import logging
import time

__all__ = ["LINES", "TaskLines"]

logger = logging.getLogger("liteq.execution")


class TaskLines:
    """The lines of this process. `limit`: how many in a second; None: all."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
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
