"""Spans of time that a caller asks for, in ms, within what a file can hold."""

from __future__ import annotations

from liteq.utils.durations import LONGEST_S, Duration, numeric_s

__all__ = ["LONGEST_S", "limits_s", "span_ms"]


def span_ms(seconds: float, what: str) -> int:
    """`seconds` in ms; `what` names them in the error.

    Raises ValueError for no possible span: NaN, infinity, more than a thousand years.
    """
    if not abs(seconds) <= LONGEST_S:  # also where it is NaN
        raise ValueError(f"{what} is a number of seconds, a thousand years at most, not {seconds!r}")
    return int(seconds * 1000)


def limits_s(hard: Duration | None, soft: Duration | None) -> tuple[float | None, float | None]:
    """The time limits in seconds.

    Raises TypeError or ValueError for those that are no spans of time, and for a soft one that would never act.
    """
    hard, soft = _limit_s("time_limit", hard), _limit_s("soft_time_limit", soft)
    if hard is not None and soft is not None and soft > hard:
        raise ValueError(f"soft_time_limit must be less than or equal to time_limit, not {soft} s with {hard} s")
    return hard, soft


def _limit_s(name: str, limit: Duration | None) -> float | None:
    if limit is None:
        return None
    limit = numeric_s(limit, name)
    if not 0 <= limit <= LONGEST_S:  # also where it is NaN
        raise ValueError(f"{name} is a number of seconds, none below 0 or above a thousand years, not {limit!r}")
    return limit
