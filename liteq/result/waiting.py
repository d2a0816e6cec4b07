"""How a caller waits: asleep until the storage rings that something has finished, never by polling rows."""

from __future__ import annotations

from typing import Self

from liteq.clock import Clock
from liteq.context import App
from liteq.exceptions import TimeoutError
from liteq.storage.driver import Listener

__all__ = ["Deadline", "DoneBell"]

# A ring may be lost, a row never is: look again after this many seconds in any case.
RECHECK_S = 1.0


class Deadline:
    """How long is left of `timeout` seconds; None is for ever. Raises TimeoutError once it is over."""

    def __init__(self, clock: Clock, timeout: float | None) -> None:
        self._clock = clock
        self._end = None if timeout is None else clock.monotonic() + timeout

    def left(self, what: str) -> float:
        """Seconds to sleep until the next look, at most RECHECK_S."""
        if self._end is None:
            return RECHECK_S
        left = self._end - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError(f"{what} did not finish in time")
        return min(left, RECHECK_S)


class DoneBell:
    """A listener for the time of one wait: from when it is made until it is left."""

    def __init__(self, app: App) -> None:
        self._hearing = app.storage.hearing()
        self._listener: Listener = self._hearing.__enter__()

    def wait(self, timeout_s: float) -> None:
        self._listener.wait(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hearing.__exit__(None, None, None)
