"""The last commits of a burst, where durability is relaxed: they reach the disk a tenth of a second later.

While commits go on, each tenth of a second one of them waits for the disk, and takes all before it along. After the
last one nobody would: so the worker's loop does. It hears the producers' commits by the bell of the queue.
"""

from __future__ import annotations

import time
from math import inf

from liteq.storage.driver import Driver

__all__ = ["Tail"]

SYNC_S = 0.1


class Tail:
    """A chore of the worker's loop."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._heard_at = inf

    @property
    def due_at(self) -> float:
        return min(self._heard_at, self._driver.unsynced_since) + SYNC_S

    def rung(self) -> None:
        """Somebody has committed something."""
        self._heard_at = min(self._heard_at, time.monotonic())

    def turn(self) -> None:
        self._heard_at = inf
        self._driver.sync()
