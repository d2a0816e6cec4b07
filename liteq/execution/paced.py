"""Few writes of many: the first at once, those that follow too closely held back until their time has come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from liteq.clock import Clock

if TYPE_CHECKING:
    from concurrent.futures import Executor

__all__ = ["Loop", "Paced", "writer"]


class Loop(Protocol):
    """An event loop of asyncio, of which this module needs no more."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object:
        """Call `callback` on the loop, soon."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> object:
        """Call `callback` on the loop, `delay` seconds from now."""


@cache
def writer() -> Executor:
    """The thread that writes what executions on an event loop tell: a write may have to wait for the file."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, thread_name_prefix="liteq-tell")


class Paced:
    """Calls `send` for what is `ready`: at once, or `every_s` seconds after the last call. Of any thread, one at once.

    `send` raises nothing, and takes what it sends under the lock. With a `loop` it is called by `writer()` alone, and
    who says that there is something does not wait for it.
    """

    def __init__(self, send: Callable[[], None], every_s: float, clock: Clock, loop: Loop | None = None) -> None:
        self.lock = threading.RLock()  # of what `send` takes, too
        self._sending = self.lock if loop is None else threading.RLock()
        self._loop = loop
        self._is_due = False  # a call by the writer is on its way
        self._send = send
        self._every_s = every_s
        self._clock = clock
        self._until = float("-inf")  # until when `send` is not called
        self._timer: threading.Timer | None = None

    def ready(self) -> None:
        """Say that there is something to send. The lock is the caller's to hold."""
        now = self._clock.monotonic()
        if self._loop is not None:
            if not self._is_due:
                self._is_due = True
                self._loop.call_soon_threadsafe(self._loop.call_later, max(0.0, self._until - now), self._submit)
        elif now >= self._until:
            self._until = now + self._every_s
            self._send()
        elif self._timer is None:
            self._timer = threading.Timer(self._every_s, self._rung)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Send what is held back. Waits for that."""
        with self._sending:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._send()

    def _submit(self) -> None:
        writer().submit(self._rung)

    def _rung(self) -> None:
        with self._sending:
            self._timer, self._is_due = None, False
            self._until = self._clock.monotonic() + self._every_s
            self._send()
