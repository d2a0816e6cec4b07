"""Syncing for relaxed durability: commits that nobody waits for reach the disk a tenth of a second later.

A producer waits for the disk each tenth of a second, and its sync takes all earlier commits along. A worker's own
commits never wait, and no producer waits after the last one of a burst, so the worker syncs. It hears the producers by
the queue's bell.

A disk takes milliseconds, in which the loop would claim nothing: a thread waits for it, which exists only meanwhile.
"""

from __future__ import annotations

import _thread
import time
from math import inf

from liteq.storage.driver import Driver

__all__ = ["SyncChore"]

SYNC_S = 0.1


class SyncChore:
    """A chore of the worker's loop: has the file synced `SYNC_S` after the first commit that is not on the disk."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._heard_at = inf
        self._syncing = _thread.allocate_lock()

    @property
    def due_at(self) -> float:
        return min(self._heard_at, self._driver.unsynced_since) + SYNC_S

    def rung(self) -> None:
        """Note that some process has committed."""
        self._heard_at = min(self._heard_at, time.monotonic())

    def turn(self) -> None:
        """Begin to sync; while one is under way, the next is due later."""
        self._heard_at = self._driver.unsynced_since = inf
        if not self._syncing.acquire(blocking=False):
            self._heard_at = time.monotonic()
            return
        try:
            _thread.start_new_thread(self._sync, ())
        except RuntimeError:  # no thread is left
            self._sync()

    def _sync(self) -> None:
        try:
            self._driver.sync()
        finally:
            self._syncing.release()
