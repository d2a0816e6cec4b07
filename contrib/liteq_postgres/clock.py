"""One clock for all machines: the server's, as this process has last read it.

Between two readings it goes on by a clock of this machine that nobody can set. So a machine whose time is wrong, or is
set, writes the same deadlines as the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from liteq.clock import Clock, SystemClock

__all__ = ["READ_EACH_S", "SKEW_MS", "ServerClock"]

logger = logging.getLogger(__name__)

READ_EACH_S: Final = 10.0
SKEW_MS: Final = 1_000  # of a machine's clock against the server's: more is told


class ServerClock:
    """`liteq.clock.Clock` of a queue on a server, over that of this machine.

    `read()` asks the server, and calls `learn`; it may fail, and is called only where nothing was learned before. A
    clock that is not the system's belongs to a test: then it says the server's time as well, when it is first read.
    """

    def __init__(self, machine: Clock, read: Callable[[], object]) -> None:
        self.monotonic = machine.monotonic
        self._machine, self._read = machine, read
        self._is_real = isinstance(machine, SystemClock)
        self._ahead_ms: float | None = None if self._is_real else machine.now_ms() - machine.monotonic() * 1000
        self._due_at = -1.0  # by `_steady`
        self._told = False

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle it for another process of this machine: what it has learned, without the driver."""
        return _restored, (self._ahead_ms,)

    def now_ms(self) -> int:
        if self._ahead_ms is None:
            self._read()
        if self._ahead_ms is None:  # the server does not answer, which whoever asked is about to hear
            return self._machine.now_ms()
        return round(self._steady() * 1000 + self._ahead_ms)

    @property
    def is_due(self) -> bool:
        """Whether the server is to be asked again."""
        return self._is_real and self._steady() >= self._due_at

    def learn(self, ask: Callable[[], float]) -> None:
        """Take over the server's time: `ask()` returns it in ms, as of some moment of the call.

        What is known stays where it may be right; a slow answer moves nothing.
        """
        if not self._is_real:
            return
        before = self._steady()
        server_ms = ask()
        after = self._steady()
        self._due_at = after + READ_EACH_S
        least, most = server_ms - after * 1000, server_ms - before * 1000
        known = self._ahead_ms
        self._ahead_ms = (least + most) / 2 if known is None else min(max(known, least), most)
        self._tell()

    def _tell(self) -> None:
        off_ms = self._machine.now_ms() - self.now_ms()
        if abs(off_ms) > SKEW_MS and not self._told:
            self._told = True
            logger.warning(
                "this machine's clock is %.1f s %s the database server's, whose time counts: set it by NTP",
                abs(off_ms) / 1000, "ahead of" if off_ms > 0 else "behind",
            )  # fmt: skip

    def _steady(self) -> float:
        """Seconds by a clock that nobody sets, and that goes on while the machine sleeps, where there is one."""
        return _boottime() if self._is_real else self._machine.monotonic()


def _restored(ahead_ms: float | None) -> ServerClock:
    clock = ServerClock(SystemClock(), lambda: None)
    clock._ahead_ms = ahead_ms
    return clock


if hasattr(time, "CLOCK_BOOTTIME"):

    def _boottime() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
else:
    _boottime = time.monotonic
