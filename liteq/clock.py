"""Time is passed in. The only place that reads the machine's clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "FakeClock", "SystemClock", "from_ms", "to_ms"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """Two clocks: the wall's, which the file's time stamps are made of, and one that never jumps."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, by the wall clock."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


def to_ms(moment: datetime) -> int:
    """`moment` as milliseconds since the epoch; a naive one is taken as UTC, as Celery's `eta` is."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND  # in integers: timestamp() * 1000 is off by one now and then


def checked_ms(ms: float, what: str) -> int:
    """`ms`, which is `what` ("at"), as a whole number. Raises ValueError where it is in no year from 1 to 9999."""
    try:
        from_ms(int(ms))
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{what}: {ms!r} ms since the epoch is in no year from 1 to 9999") from None
    return int(ms)


def from_ms(ms: int) -> datetime:
    """`ms` milliseconds since the epoch as an aware UTC datetime."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


# Any fixed moment will do: 2026-01-01 00:00:00 UTC.
START_MS = 1_767_225_600_000


class FakeClock:
    """A clock that stands still until it is moved: `LiteQ("test", broker=..., clock=FakeClock())`."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._start_ms = start_ms
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return (self._now_ms - self._start_ms) / 1000

    def advance(self, seconds: float) -> None:
        """Move `seconds` on."""
        self._now_ms += int(seconds * 1000)

    def advance_to(self, now_ms: int) -> None:
        """Move to a time, given in ms since the epoch; never back."""
        self._now_ms = max(self._now_ms, now_ms)
