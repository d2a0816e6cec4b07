"""Listeners that are kept between waits: the kernel takes some 10 ms to close one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from liteq.storage.driver import Bell, Driver, Listener

__all__ = ["REST", "IdleListeners"]

KEPT = 4
# A busy queue rings thousands of times a second, for all that wait. After a look that took t seconds and found nothing,
# a waiter rests for REST * t: so quick looks take at most a fifth of a core, and a single ring is heard at once.
REST = 4
LONGEST_REST_S = 0.001  # what is waited for may come during the rest: it then waits no longer than this


class Rested:
    """A listener whose `wait` rests first, where the ring before it brought nothing that its waiter looks for."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._rung_at: float | None = None

    def fileno(self) -> int:
        return self._listener.fileno()

    def clear(self) -> bool:
        return self._listener.clear()

    def wait(self, timeout_s: float) -> bool:
        if self._rung_at is not None:
            rest_s = min(REST * (time.monotonic() - self._rung_at), LONGEST_REST_S, timeout_s)
            time.sleep(max(rest_s, 0.0))
            timeout_s -= rest_s
        rung = self._listener.wait(timeout_s)
        self._rung_at = time.monotonic() if rung else None
        return rung

    def close(self) -> None:
        self._listener.close()


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
            yield Rested(listener)
        finally:
            if len(self._idle) < KEPT:
                self._idle.append(listener)
            else:
                listener.close()

    def close(self) -> None:
        """Close them; the next wait opens a new one."""
        while self._idle:
            self._idle.pop().close()
