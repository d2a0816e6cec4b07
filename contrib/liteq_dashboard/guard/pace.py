"""How often something may be done a second, by name."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

from liteq.clock import Clock

__all__ = ["Pace"]

MOST_NAMES = 10_000


class Pace:
    """At most `n` in any `seconds`, by name; the names that were heard of last are remembered."""

    def __init__(self, n: int, clock: Clock, seconds: float = 1.0) -> None:
        self._n, self._clock, self._seconds = n, clock, seconds
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, name: str) -> bool:
        """Whether one more may be done now; then it counts."""
        with self._lock:
            times = self._recent(name)
            if len(times) >= self._n:
                return False
            times.append(self._clock.monotonic())
            return True

    def is_spent(self, name: str) -> bool:
        """Whether no more may be done now."""
        with self._lock:
            return len(self._recent(name)) >= self._n

    def _recent(self, name: str) -> deque[float]:
        times = self._times.pop(name, None) or deque()
        while times and times[0] <= self._clock.monotonic() - self._seconds:
            times.popleft()
        self._times[name] = times
        if len(self._times) > MOST_NAMES:
            self._times.popitem(last=False)
        return times
