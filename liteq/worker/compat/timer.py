"""`worker.timer`: calls of functions in the worker's loop, once or again and again, for steps and receivers."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Entry", "Timer"]

logger = logging.getLogger("liteq.worker")


class Entry:
    """A call to come; `cancel()` takes it back."""

    def __init__(
        self, fun: Callable[..., object], args: Sequence[Any], kwargs: Mapping[str, Any] | None, every_s: float | None
    ) -> None:
        self.fun, self.args, self.kwargs = fun, tuple(args), dict(kwargs or {})
        self.every_s = every_s
        self.canceled = False

    @property
    def cancelled(self) -> bool:
        return self.canceled

    def cancel(self) -> None:
        """Take the call back."""
        self.canceled = True

    def __call__(self) -> Any:
        return self.fun(*self.args, **self.kwargs)


class Timer:
    """A chore of the worker's loop. With the solo pool nothing is called while a task runs.

    An exception of a function is logged, and it is called again at its time. Calls that fell due together are one.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()  # threads of steps may add to it
        self._count = itertools.count()
        self._queue: list[tuple[float, int, Entry]] = []

    def call_repeatedly(
        self, secs: float, fun: Callable[..., object], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None, priority: int = 0,
    ) -> Entry:  # fmt: skip
        """Call `fun` each `secs` seconds, the first time in `secs`. There are no priorities."""
        return self._add(secs, Entry(fun, args, kwargs, every_s=float(secs)))

    def call_after(
        self, secs: float, fun: Callable[..., object], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None, priority: int = 0,
    ) -> Entry:  # fmt: skip
        """Call `fun` once, in `secs` seconds."""
        return self._add(secs, Entry(fun, args, kwargs, every_s=None))

    def cancel(self, tref: Entry) -> None:
        """As `tref.cancel()`."""
        tref.cancel()

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._queue.clear()

    def _add(self, secs: float, entry: Entry) -> Entry:
        with self._lock:
            heapq.heappush(self._queue, (self._monotonic() + secs, next(self._count), entry))
        return entry

    # -- the chore ---------------------------------------------------------------------------------------------------

    @property
    def due_at(self) -> float:
        queue = self._queue
        return queue[0][0] if queue else math.inf

    def turn(self) -> None:
        """Make the calls that are due."""
        for entry in self._due():
            if entry.canceled:
                continue
            if entry.every_s is not None:
                self._add(entry.every_s, entry)
            try:
                entry()
            except Exception:
                logger.exception("the timer's call of %r failed", entry.fun)

    def _due(self) -> list[Entry]:
        now = self._monotonic()
        due = []
        with self._lock:
            while self._queue and self._queue[0][0] <= now:
                due.append(heapq.heappop(self._queue)[2])
        return due
