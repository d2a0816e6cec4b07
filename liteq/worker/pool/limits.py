"""Time limits. The soft one is an exception raised inside the task; the hard one kills the process that runs it.

The soft limit needs a timer signal, so it works in a main thread: in prefork children and in the solo pool.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from liteq.exceptions import BadMessage, SoftTimeLimitExceeded

__all__ = ["SoftLimit", "limits_of"]

LONGEST_S = 86_400 * 366 * 100  # the timer takes not much more
DEFER_S = 1e-3  # until a limit is tried again that was reached inside `deferred`

Limits = tuple[float | None, float | None]


def limits_of(task: Any, asked: Limits, default: Limits) -> Limits:
    """The (hard, soft) limits in seconds of one call: the call's own, else the task's, else the worker's.

    Raises BadMessage for a call's limits that are no numbers: such a row was not written by liteq.
    """
    if not all(limit is None or isinstance(limit, (int, float)) for limit in asked):
        raise BadMessage(f"time limits are numbers of seconds, not {asked!r:.80}")
    hard = asked[0] or task.time_limit or default[0]
    soft = asked[1] or task.soft_time_limit or default[1]
    return hard, soft


class SoftLimit:
    """Raises SoftTimeLimitExceeded in the block when that outlasts the limit; once, so clean-up may take its time."""

    _armed = False
    _deferred = False

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @staticmethod
    def available() -> bool:
        """Whether this thread can be interrupted by a timer."""
        return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()

    @staticmethod
    @contextmanager
    def deferred() -> Iterator[None]:
        """Inside this block no limit raises; one that is reached does so soon after it."""
        SoftLimit._deferred = True
        try:
            yield
        finally:
            SoftLimit._deferred = False

    def __enter__(self) -> None:
        SoftLimit._armed = True
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, min(self._seconds, LONGEST_S))

    def __exit__(self, *_: object) -> None:
        # Disarmed first: an alarm between the end of the body and the next line must not hit the worker.
        SoftLimit._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    def _ring(self, _signum: int, _frame: FrameType | None) -> None:
        if SoftLimit._armed and SoftLimit._deferred:
            signal.setitimer(signal.ITIMER_REAL, DEFER_S)
        elif SoftLimit._armed:
            SoftLimit._armed = False
            raise SoftTimeLimitExceeded(self._seconds)
