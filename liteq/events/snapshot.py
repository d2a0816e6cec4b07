"""Cameras: they hand over the state gathered from events at regular intervals, to be stored somewhere."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Self

from liteq.context import App
from liteq.events.state import State
from liteq.policy.rates import Bucket, per_second
from liteq.signals import Signal

__all__ = ["Polaroid"]

logger = logging.getLogger("liteq.evcam")


class Polaroid:
    """Takes a snapshot of `state` each `freq` seconds, at most at `maxrate` ("10/m"); override `on_shutter`.

    `clear_after`: tasks that have come to their end are forgotten after each. `on_cleanup` is called each
    `cleanup_freq` seconds.
    """

    shutter_signal = Signal("shutter_signal", "state")
    cleanup_signal = Signal("cleanup_signal")
    clear_after = False

    def __init__(
        self,
        state: State,
        freq: float = 1.0,
        maxrate: Any = None,
        cleanup_freq: float = 3600.0,
        timer: Any = None,
        app: App | None = None,
    ) -> None:
        self.app = app
        self.state = state
        self.freq = freq
        self.cleanup_freq = cleanup_freq
        self.logger = logger
        rate = per_second(maxrate)
        self.maxrate = Bucket(rate) if rate else None
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def install(self) -> None:
        """Take snapshots from now on, in a thread."""
        for every_s, call in ((self.freq, self.capture), (self.cleanup_freq, self.cleanup)):
            thread = threading.Thread(target=self._repeat, args=(every_s, call), name="liteq-camera", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _repeat(self, every_s: float, call: Any) -> None:
        while not self._ended.wait(every_s):
            try:
                call()
            except Exception:
                logger.exception("the camera failed")

    def on_shutter(self, state: State) -> None:
        """Store a snapshot of `state`."""

    def on_cleanup(self) -> None:
        """Delete what has been stored for long enough."""

    def cleanup(self) -> None:
        """Call `on_cleanup`."""
        self.cleanup_signal.send(sender=self.state)
        self.on_cleanup()

    def shutter(self) -> None:
        """Take a snapshot, unless the rate has been reached."""
        now = time.monotonic() if self.app is None else self.app.clock.monotonic()
        if self.maxrate is not None:
            if not self.maxrate.tokens(now):
                return
            self.maxrate.take(1, now)
        self.shutter_signal.send(sender=self.state)
        self.on_shutter(self.state)

    def capture(self) -> None:
        """Take a snapshot while no event comes in."""
        self.state.freeze_while(self.shutter, clear_after=self.clear_after)

    def cancel(self) -> None:
        """Take a last one, and no more."""
        self._ended.set()
        for thread in self._threads:
            thread.join(5.0)
        if self._threads:
            self.capture()
        self._threads.clear()

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
