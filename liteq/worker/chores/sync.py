"""Syncing for relaxed durability: commits that nobody waits for reach the disk a tenth of a second later.

A producer waits for the disk each tenth of a second, and its sync takes all earlier commits along. A worker's own
commits never wait, and no producer waits after the last one of a burst, so the worker's loop syncs. It hears the
producers by the queue's bell.
"""

from __future__ import annotations

import time
from math import inf

from liteq.storage.driver import Driver

__all__ = ["SyncChore"]

SYNC_S = 0.1


class SyncChore:
    """A chore of the worker's loop: syncs the file `SYNC_S` after the first commit that is not on the disk."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._heard_at = inf

    @property
    def due_at(self) -> float:
        return min(self._heard_at, self._driver.unsynced_since) + SYNC_S

    def rung(self) -> None:
        """Note that some process has committed."""
        self._heard_at = min(self._heard_at, time.monotonic())

    def turn(self) -> None:
        """Sync."""
        self._heard_at = inf
        self._driver.sync()
