"""Spans of time that a caller asks for, in ms, within what a file can hold."""

from __future__ import annotations

__all__ = ["LONGEST_S", "check_limits", "span_ms"]

LONGEST_S = 1_000 * 366 * 86_400  # seconds; far beyond any use, and far below 2**63 microseconds since the epoch


def span_ms(seconds: float, what: str) -> int:
    """`seconds` in ms; `what` names them in the error.

    Raises ValueError for no possible span: NaN, infinity, more than a thousand years.
    """
    if not abs(seconds) <= LONGEST_S:  # also where it is NaN
        raise ValueError(f"{what} is a number of seconds, a thousand years at most, not {seconds!r}")
    return int(seconds * 1000)


def check_limits(hard: float | None, soft: float | None) -> None:
    """Raises TypeError or ValueError for time limits that are no seconds, and for a soft one that would never act."""
    for name, limit in (("time_limit", hard), ("soft_time_limit", soft)):
        if limit is None:
            continue
        if isinstance(limit, bool) or not isinstance(limit, (int, float)):
            raise TypeError(f"{name} is a number of seconds, not {limit!r}")
        if not 0 <= limit <= LONGEST_S:
            raise ValueError(f"{name} is a number of seconds, none below 0 or above a thousand years, not {limit!r}")
    if hard is not None and soft is not None and soft > hard:
        raise ValueError(f"soft_time_limit must be less than or equal to time_limit, not {soft} s with {hard} s")
