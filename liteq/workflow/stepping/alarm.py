"""A timer that raises StepTimeout in the main thread, where the process that executes brings none of its own."""

from __future__ import annotations

import signal
import threading
from contextlib import AbstractContextManager, nullcontext
from types import FrameType

from liteq import serialization, storage
from liteq.exceptions import StepTimeout
from liteq.workflow.history.machine import Machine

__all__ = ["Alarm", "limited"]

SHELTERED = (storage.__name__, serialization.__name__)
AGAIN_S = 2e-4


def limited(machine: Machine, timeout_s: float | None) -> AbstractContextManager[object]:
    """A block that raises StepTimeout inside itself after `timeout_s` seconds, where this thread can do that."""
    if timeout_s is None:
        return nullcontext()
    if machine.limit is not None:
        return machine.limit(timeout_s)
    return Alarm(timeout_s) if Alarm.available() else nullcontext()


class Alarm:
    """A block in which StepTimeout is raised once it has lasted so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed = False

    @staticmethod
    def available() -> bool:
        """Whether this thread can be interrupted by a timer."""
        return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        self._armed = True
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    def _ring(self, _signum: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        while frame is not None:
            if str(frame.f_globals.get("__name__", "")).startswith(SHELTERED):
                signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
                return
            frame = frame.f_back
        self._armed = False
        raise StepTimeout(f"the step took longer than its timeout of {self._seconds:g} s")
