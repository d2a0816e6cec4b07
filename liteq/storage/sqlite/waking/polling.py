"""A listener where the system has no notification: it asks SQLite whether anything was committed."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PollingListener"]

SHORTEST_S, LONGEST_S = 0.001, 0.05


class PollingListener:
    """`driver.Listener` without a descriptor; hears every commit, whichever bell it is about."""

    def __init__(self, version: Callable[[], int]) -> None:
        self._version = version
        self._seen = version()

    def fileno(self) -> int:
        return -1

    def clear(self) -> bool:
        before, self._seen = self._seen, self._version()
        return self._seen != before

    def wait(self, timeout_s: float) -> bool:
        end, pause = time.monotonic() + timeout_s, SHORTEST_S
        while not self.clear():
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_S)
        return True

    def close(self) -> None:
        pass
