"""The state of every facade: the driver and the clock."""

from __future__ import annotations

from liteq.clock import Clock
from liteq.storage.driver import Bell, Driver
from liteq.storage.interrupts import leaves_nothing_open

__all__ = ["Facade"]


class Facade:
    """A part of `Storage`; each method is one transaction, and takes its input before it begins."""

    def __init_subclass__(cls) -> None:
        leaves_nothing_open(cls)

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock

    def _ring(self, *, done: bool = False, work: bool = False) -> None:
        if done:
            self._driver.ring(Bell.DONE)
        if work:
            self._driver.ring(Bell.WORK)
