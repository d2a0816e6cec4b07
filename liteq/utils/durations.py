"""`Duration`: seconds, a timedelta, or text with units: "500ms", "30s", "5m", "2h30m", "1d", "1w".

One rule for each span of time that a program, a setting, a command or a request names. A text without a unit is
seconds.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

__all__ = ["LONGEST_S", "UNITS", "Duration", "limit_ms", "limit_s", "numeric_s", "seconds", "to_span_ms"]

Duration = float | timedelta | str

LONGEST_S: Final = 1_000 * 366 * 86_400  # far beyond any use, and far below 2**63 microseconds since the epoch
UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)\s*")
_TEXT: Final = re.compile(rf"(?:{_PART.pattern})+")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def seconds(duration: Duration, what: str = "a duration") -> float:
    """`duration` in seconds. Raises TypeError, ValueError for what is none; `what` names it in the error."""
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    elif isinstance(duration, str):
        duration = _read(duration.strip(), what)
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise TypeError(f"{what} is seconds, a timedelta, or text as '5m', not {duration!r}")
    if not 0 <= duration <= LONGEST_S:  # also where it is NaN
        raise ValueError(f"{what} is from 0 to a thousand years, not {duration!r}")
    return float(duration)


def _read(text: str, what: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _TEXT.fullmatch(text):
        raise ValueError(
            f"{what} is a number with a unit, as '500ms', '30s', '5m', '2h30m', '1d', '1w', or seconds; not {text!r}"
        )
    return sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text))


def numeric_s(duration: Duration, what: str) -> float:
    """`duration` in seconds, where a number is taken as it is: the caller says which ones may be. Else as `seconds`."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, str):
        return seconds(duration, what)
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise TypeError(f"{what} is a number of seconds, a timedelta, or text as '5m', not {duration!r}")
    return duration


def limit_s(duration: Duration, what: str, *, needed: bool = False) -> float:
    """`duration` in seconds, of which there are some: at a limit of 0 nothing could ever be in time.

    `needed`: it is none that a caller may leave out.
    """
    found = seconds(duration, what)
    if not found:
        raise ValueError(f"{what} must be longer than 0" + ("" if needed else "; leave it out for no limit"))
    return found


def limit_ms(duration: Duration, what: str, *, needed: bool = False) -> int:
    """As `limit_s`, in whole milliseconds, rounded up."""
    limit_s(duration, what, needed=needed)
    return to_span_ms(duration, what)


def to_span_ms(duration: Duration, what: str = "a duration") -> int:
    """`duration` in milliseconds, rounded up: nothing ends before its time."""
    span = seconds(duration, what) * 1000
    whole = int(span)
    return whole if span - whole < 1e-6 else whole + 1  # noise of binary fractions is no millisecond
