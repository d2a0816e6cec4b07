"""The soft end: a worker that is told to leave at once gives what runs a little time first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

__all__ = ["SoftShutdown"]


class SoftShutdown:
    """A chore that calls `then` `timeout_s` seconds after `begin`; with 0 it never begins."""

    def __init__(self, timeout_s: float, then: Callable[[], None]) -> None:
        self.timeout_s = timeout_s
        self.due_at = math.inf
        self._then = then
        self._begun = False

    def begin(self) -> bool:
        """Start the clock; False where there is no time to give, or it has been given: who asks twice means it."""
        if self._begun or not self.timeout_s:
            return False
        self._begun = True
        self.due_at = time.monotonic() + self.timeout_s
        return True

    def turn(self) -> None:
        """The time is over."""
        self.due_at = math.inf
        self._then()

    def rung(self) -> None:
        """New work is nothing to who leaves."""
