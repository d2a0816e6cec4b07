"""Free pages go back to the disk while nobody writes: after a backlog, or after results that were kept for long.

A page that is free is used again by what comes, and that costs less than a file that shrinks and grows. So nothing is
done while the free part is small, and some of it stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from liteq.storage.driver import Driver

__all__ = ["IdleVacuum"]

LOOK_S = 30.0  # between two looks whether there is something to give back
QUIET_S = 0.1  # in which nobody has written: heartbeats of many workers leave such gaps, work does not
BUSY_S = 1.0  # until it looks again whether the queue is idle
PAUSE_S = 0.02  # between two slices, each of which holds the write lock for some milliseconds
WORTH = 8 * 1024 * 1024  # bytes that are free before it begins
KEEP = 1024 * 1024  # bytes that stay free


class IdleVacuum:
    """A chore of the worker's loop, where the setting `idle_vacuum` is on. `monotonic`: the clock that paces it.

    Of several workers each sees the others' slices as writing, and waits: one is at work at a time.
    """

    def __init__(self, driver: Driver, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._driver = driver
        self._monotonic = monotonic
        self._begun = False
        self._seen = -1  # the version of the file at the last look
        self.due_at = monotonic() + QUIET_S

    def turn(self) -> None:
        """Do a slice where nobody has written since the last look, and something is to be given back."""
        now = self._monotonic()
        if self._driver.free_bytes() <= (KEEP if self._begun else WORTH):
            if self._begun:
                self._driver.fold_log()  # until then the disk has not got it
            self._begun, self._seen = False, -1
            self.due_at = now + LOOK_S
        elif self._seen < 0:
            self._seen, self.due_at = self._driver.version(), now + QUIET_S
        elif self._driver.version() != self._seen:
            self._seen, self.due_at = -1, now + BUSY_S
        else:
            self._begun = True
            self._driver.vacuum()
            self._seen, self.due_at = self._driver.version(), self._monotonic() + PAUSE_S
