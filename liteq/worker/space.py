"""The disk has room or not: while it is full nothing is claimed, and what runs is settled from the space in reserve."""

from __future__ import annotations

import logging

from liteq.exceptions import StorageFull
from liteq.storage.driver import Driver

__all__ = ["Space"]

logger = logging.getLogger("liteq.worker")


class Space:
    """The room on the disk of one file, as a worker's loop sees it. `full`: nothing is to be claimed."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.full = False

    def look(self) -> bool:
        """Look after the space in reserve; True where there is room again.

        Another process may have found the disk full. What is claimed then could not go on, and would come back at once.
        """
        if not self.full:
            self.full = self._driver.in_reserve()
            if self.full:
                logger.error("the disk is full, and the space in reserve in use: claiming nothing until there is space")
            return False
        self.full = not self._driver.reserve()
        if not self.full:
            logger.warning("there is space again: going on")
        return not self.full

    def end(self, exc: StorageFull) -> bool:
        """Give up the space in reserve, so that what runs can be settled; False where there was none."""
        self.full = True
        if not self._driver.relieve():
            return False
        logger.error("%s; claiming nothing until then, settling the running tasks with the space in reserve", exc)
        return True
