"""`Duration`: seconds, a timedelta, or text with a unit: "500ms", "30s", "5m", "2h", "1d", "1w"."""

from __future__ import annotations

import re
from datetime import timedelta

from liteq.policy.times import LONGEST_S

__all__ = ["Duration", "limit_ms", "limit_s", "seconds", "to_span_ms"]

Duration = float | timedelta | str

_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def seconds(duration: Duration, what: str = "a duration") -> float:
    """`duration` in seconds. Raises TypeError, ValueError for what is none; `what` names it in the error."""
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    elif isinstance(duration, str):
        found = _TEXT.fullmatch(duration)
        if found is None:
            raise ValueError(
                f"{what} is a number with a unit, as '500ms', '30s', '5m', '2h', '1d', '1w', not {duration!r}"
            )
        duration = float(found[1]) * _UNITS[found[2]]
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise TypeError(f"{what} is seconds, a timedelta, or text as '5m', not {duration!r}")
    if not 0 <= duration <= LONGEST_S:  # also where it is NaN
        raise ValueError(f"{what} is from 0 to a thousand years, not {duration!r}")
    return float(duration)


def limit_s(duration: Duration, what: str) -> float:
    """`duration` in seconds, of which there are some: at a limit of 0 nothing could ever be in time."""
    found = seconds(duration, what)
    if not found:
        raise ValueError(f"{what} must be longer than 0; leave it out for no limit")
    return found


def limit_ms(duration: Duration, what: str) -> int:
    """As `limit_s`, in whole milliseconds, rounded up."""
    limit_s(duration, what)
    return to_span_ms(duration, what)


def to_span_ms(duration: Duration, what: str = "a duration") -> int:
    """`duration` in milliseconds, rounded up: nothing ends before its time."""
    span = seconds(duration, what) * 1000
    whole = int(span)
    return whole if span - whole < 1e-6 else whole + 1  # noise of binary fractions is no millisecond
