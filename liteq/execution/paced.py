"""Few writes of many: the first at once, those that follow too closely held back until their time has come."""

from __future__ import annotations

import threading
from collections.abc import Callable

from liteq.clock import Clock

__all__ = ["Paced"]


class Paced:
    """Calls `send` for what is `ready`: at once, or `every_s` seconds after the last call. Of any thread, one at once.

    `send` raises nothing.
    """

    def __init__(self, send: Callable[[], None], every_s: float, clock: Clock) -> None:
        self.lock = threading.RLock()  # of what `send` takes, too
        self._send = send
        self._every_s = every_s
        self._clock = clock
        self._until = float("-inf")  # until when `send` is not called
        self._timer: threading.Timer | None = None

    def ready(self) -> None:
        """Say that there is something to send. The lock is the caller's to hold."""
        now = self._clock.monotonic()
        if now >= self._until:
            self._until = now + self._every_s
            self._send()
        elif self._timer is None:
            self._timer = threading.Timer(self._every_s, self._rung)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Send what is held back."""
        with self.lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._send()

    def _rung(self) -> None:
        with self.lock:
            self._timer = None
            self._until = self._clock.monotonic() + self._every_s
            self._send()
