"""The soft shutdown: a worker that is to leave at once gives its running tasks a little time first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

__all__ = ["SoftShutdown"]


class SoftShutdown:
    """A chore that calls `then` `timeout_s` seconds after `begin`; with 0 it never begins."""

    def __init__(
        self, timeout_s: float, then: Callable[[], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout_s = timeout_s
        self.due_at = math.inf
        self._then = then
        self._monotonic = monotonic
        self._begun = False

    def begin(self) -> bool:
        """Start the time; False where there is none to give, or at a second demand: that one is to be met at once."""
        if self._begun or not self.timeout_s:
            return False
        self._begun = True
        self.due_at = self._monotonic() + self.timeout_s
        return True

    def turn(self) -> None:
        """End the worker cold, once the time is over."""
        if self._monotonic() >= self.due_at:
            self.due_at = math.inf
            self._then()
