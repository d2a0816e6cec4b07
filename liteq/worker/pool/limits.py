"""Time limits. The soft one is an exception raised inside the task; the hard one kills the process that runs it.

The soft limit needs a timer signal, so it works in a main thread: in prefork children and in the solo pool. Its handler
is called between any two steps of whatever runs. Inside the storage that would leave half of something, inside a
signal's receiver or a `__del__` the exception would be swallowed and the task run on for ever. So the handler looks at
what it has interrupted, and tries again a moment later until that is the task's own. An event loop logs what one of its
callbacks raises, and goes on: there it waits for a step of a coroutine, or until the loop waits. Python swallows an
exception in more places, such as the callback of a weak reference, which any step may call: it tells of that, and the
limit is tried again too.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from liteq import context, serialization, signals, storage
from liteq.exceptions import BadMessage, SoftTimeLimitExceeded, StepTimeout
from liteq.execution import telling
from liteq.execution.execute import run_body
from liteq.result import promises
from liteq.utils.durations import numeric_s

__all__ = ["SoftLimit", "StepLimit", "hold_back_in", "limits_of", "soft_limit_by_signal"]

LONGEST_S = 86_400 * 366 * 100  # what the timer takes is not much more
AGAIN_S = 2e-4  # until a limit that is held back is tried again
# Held back in these modules and below: the storage must not be left half way, the others catch every Exception; and
# before the body has begun it has no handler yet.
_sheltered = [module.__name__ for module in (storage, signals, serialization, promises, telling)] + [__name__]
BODY = run_body.__code__
COROUTINE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE

Limits = tuple[float | None, float | None]


def limits_of(task: Any, asked: Limits, default: Limits) -> Limits:
    """The (hard, soft) limits in seconds of one call: the call's own, else the task's, else the worker's.

    Raises BadMessage for a call's limits that are no numbers: such a row was not written by liteq.
    """
    if not all(limit is None or isinstance(limit, (int, float)) for limit in asked):
        raise BadMessage(f"time limits are numbers of seconds, not {asked!r:.80}")
    hard = asked[0] or task.time_limit or default[0]
    soft = asked[1] or task.soft_time_limit or default[1]
    return (hard and numeric_s(hard, "time_limit")), (soft and numeric_s(soft, "soft_time_limit"))


def hold_back_in(module: str) -> None:
    """Have no limit raised inside `module`, and below it, from now on."""
    if module not in _sheltered:
        _sheltered.append(module)


def must_wait(frame: FrameType | None, caller: FrameType | None = None) -> bool:
    """Whether an exception raised in `frame`, which a signal has interrupted, would do harm or be swallowed.

    `caller`: the frame that calls the user's code, where that is not a task's body.
    """
    sheltered = tuple(_sheltered)
    inner: FrameType | None = None
    while frame is not None:
        if frame.f_code is BODY or frame is caller:  # perhaps inside the storage's or a signal's own frames
            return False
        module, name = frame.f_globals.get("__name__") or "", frame.f_code.co_name
        # A listener that waits for a bell is in no transaction, and may wait for long.
        if name == "__del__" or (name != "wait" and module.startswith(sheltered)):
            return True
        if name == "_run" and module == "asyncio.events" and not _is_a_step(inner):
            return True
        if name == "_run_once" and module == "asyncio.base_events" and not _is_outside(inner):
            return True
        frame, inner = frame.f_back, frame
    return False


def _is_a_step(frame: FrameType | None) -> bool:
    """Whether a frame that an event loop has called is of a coroutine, and not of a callback."""
    if frame is None:
        return False
    return bool(frame.f_code.co_flags & COROUTINE) or frame.f_globals.get("__name__") == "liteq.utils.coroutines"


def _is_outside(frame: FrameType | None) -> bool:
    """Whether a frame that a turn of an event loop has called is a callback of it, or waits for one to be due.

    Between those two the loop has taken a step out of its queue and not begun it: a task would wait for it for ever.
    """
    return frame is not None and frame.f_code.co_name in {"_run", "select"}


class _Watched:
    """Calls `again` where Python swallows `exc`, as it does in destructors and callbacks; once."""

    def __init__(self, exc: BaseException, again: Callable[[], object]) -> None:
        self._exc, self._again = exc, again
        self._before, sys.unraisablehook = sys.unraisablehook, self

    def __call__(self, unraisable: sys.UnraisableHookArgs, /) -> object:
        if unraisable.exc_value is not self._exc:
            return self._before(unraisable)
        self.end()
        return self._again()

    def end(self) -> None:
        """Watch no longer."""
        if sys.unraisablehook is self:
            sys.unraisablehook = self._before


class SoftLimit:
    """Raises SoftTimeLimitExceeded in the block when that outlasts the limit; once, so clean-up may take its time."""

    _armed = False
    _caller: FrameType | None = None
    _watched: _Watched | None = None

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @staticmethod
    def available() -> bool:
        """Whether this thread can be interrupted by a timer."""
        return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        SoftLimit._armed = True
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, min(self._seconds, LONGEST_S))

    def __exit__(self, *_: object) -> None:
        # Disarmed first: an alarm between the end of the body and the next line must not hit the worker.
        SoftLimit._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
        if self._watched is not None:
            self._watched.end()

    def _ring(self, _signum: int, frame: FrameType | None) -> None:
        if not SoftLimit._armed:
            return
        if must_wait(frame, self._caller):
            self._again()
            return
        SoftLimit._armed = False
        exceeded = self._exceeded()
        self._watched = _Watched(exceeded, self._again)
        raise exceeded

    def _again(self) -> None:
        SoftLimit._armed = True
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)

    def _exceeded(self) -> Exception:
        return SoftTimeLimitExceeded(self._seconds)


class StepLimit(SoftLimit):
    """Raises StepTimeout in the block, which calls a step of a workflow, and nothing else.

    Not while the step is inside the storage or its workflow's context: what it writes there is whole or not written.
    """

    def __enter__(self) -> None:
        self._caller = sys._getframe(1)
        super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._caller = None  # a frame would keep alive all that is in it

    def _exceeded(self) -> Exception:
        return StepTimeout(f"the step took longer than its timeout of {self._seconds:g} s")


_watched: _Watched | None = None  # the limit of the last such signal
_held_back_for: object = None  # the request of the task to which a signal's limit has still to be delivered


def soft_limit_by_signal(signum: int, frame: FrameType | None) -> None:
    """A signal's handler: raises SoftTimeLimitExceeded in the task that runs (`revoke(signal="SIGUSR1")`)."""
    global _held_back_for, _watched
    request, meant = context.current_request(), _held_back_for
    _held_back_for = None
    if request is None or meant not in (None, request):  # what it was meant for has just ended
        return
    if must_wait(frame):
        _hold_back(request, signum)
        return
    if _watched is not None:
        _watched.end()
    exceeded = SoftTimeLimitExceeded()
    _watched = _Watched(exceeded, lambda: _hold_back(request, signum))
    raise exceeded


def _hold_back(request: object, signum: int) -> None:
    global _held_back_for
    _held_back_for = request
    threading.Timer(AGAIN_S, os.kill, (os.getpid(), signum)).start()
