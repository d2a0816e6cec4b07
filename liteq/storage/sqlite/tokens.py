"""Fencing tokens of the clock: microseconds since the epoch, read while the write lock is held.

So the claims of all processes are in order without a counter in the file, which each claim would have to read and
write. How far tokens may have gone is in the file all the same: always a minute ahead, so that it is written once a
minute. Where the clock has been set back, that is where a counter goes on, until the clock has passed it.
"""

from __future__ import annotations

from time import monotonic_ns, time_ns
from typing import Final, Protocol

from liteq.storage.driver import Params, Row

__all__ = ["EPOCH_US", "Tokens"]

# A copy does not know how far the clock of the queue had gone that it was made of. So each epoch (epoch.py) lies a day
# and a half ahead of the one before: 50,000 of them stay below 2**53.
EPOCH_US: Final = 2**37
AHEAD_US: Final = 60_000_000
STEP_NS: Final = 50_000  # the wall clock against the monotonic one: further back, it was set

KNOWN: Final = "SELECT key, value FROM liteq_meta WHERE key IN ('epoch', 'token', 'token_until')"
COUNTED: Final = "UPDATE liteq_meta SET value = ? WHERE key = 'token'"
REACH: Final = "UPDATE liteq_meta SET value = ? WHERE key = 'token_until'"


class Executes(Protocol):
    """A connection that holds the write lock."""

    def execute(self, sql: str, params: Params = ()) -> list[Row]: ...


class Tokens:
    """The tokens that one connection gives out."""

    __slots__ = ("_last", "_lift_us", "_offset_ns", "_until")

    def __init__(self) -> None:
        self._last = 0
        self._until = 0  # up to here the clock may go: the file says that tokens may be there
        self._lift_us = 0  # of the file's epoch
        self._offset_ns: int | None = None  # of the wall clock from the monotonic one, the highest that was seen

    def forget(self) -> None:
        """Ask the file anew: a transaction was rolled back, and with it what it told there. None is given out twice."""
        self._until = 0

    def take(self, tx: Executes, n: int, above: int) -> int:
        """Take the `n` tokens after the one returned: higher than `above`, and than all that were given out before."""
        # In this order: a pause in between makes the offset lower than it is, and never higher.
        now_ns = time_ns()
        offset_ns = now_ns - monotonic_ns()
        known_ns = self._offset_ns
        last = max(now_ns // 1000 + self._lift_us, self._last, above)
        if known_ns is None or offset_ns < known_ns - STEP_NS or last + n > self._until:
            last = self._look(tx, n, above)
        elif offset_ns > known_ns:
            self._offset_ns = offset_ns
        self._last = last + n
        return last

    def _look(self, tx: Executes, n: int, above: int) -> int:
        """Go by what the file knows: by the clock, where it has passed all that may have been given out."""
        offset_ns = max(time_ns() - monotonic_ns() for _ in range(4))
        was_set_back = self._offset_ns is not None and offset_ns < self._offset_ns - STEP_NS
        self._offset_ns = offset_ns
        known: dict[str, int] = dict(tx.execute(KNOWN))
        self._lift_us = known["epoch"] * EPOCH_US
        now, counted, until = time_ns() // 1000 + self._lift_us, known["token"], known["token_until"]
        if was_set_back or until - AHEAD_US > now:
            counted = max(counted, until)
        last = max(now, counted, self._last, above)
        if counted >= now:
            self._until = 0
            tx.execute(COUNTED, (last + n,))
        else:
            self._until = max(now, last + n) + AHEAD_US
            tx.execute(REACH, (self._until,))
        return last
