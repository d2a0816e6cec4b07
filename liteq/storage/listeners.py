"""Listeners that are kept between waits: the kernel takes some 10 ms to close one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from liteq.storage.driver import Bell, Driver, Listener

__all__ = ["IdleListeners"]

KEPT = 4


class IdleListeners:
    """Listeners of Bell.DONE that nobody waits with."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._idle: list[Listener] = []
        self._pid = os.getpid()

    @contextmanager
    def hearing(self) -> Iterator[Listener]:
        """A listener of Bell.DONE for the time of one wait; it hears nothing from before."""
        if self._pid != os.getpid():  # the parent's: those that are opened anew may poll where nothing else is left
            self._pid = os.getpid()
            self.close()
        listener = self._idle.pop() if self._idle else self._driver.listen(Bell.DONE)
        try:
            listener.clear()
            yield listener
        finally:
            if len(self._idle) < KEPT:
                self._idle.append(listener)
            else:
                listener.close()

    def close(self) -> None:
        """Close them; the next wait opens a new one."""
        while self._idle:
            self._idle.pop().close()
