"""Spans of time that a caller asks for, in ms, within what a file can hold."""

from __future__ import annotations

__all__ = ["LONGEST_S", "span_ms"]

LONGEST_S = 1_000 * 366 * 86_400  # seconds; far beyond any use, and far below 2**63 microseconds since the epoch


def span_ms(seconds: float, what: str) -> int:
    """`seconds` in ms; `what` names them in the error.

    Raises ValueError for no possible span: NaN, infinity, more than a thousand years.
    """
    if not abs(seconds) <= LONGEST_S:  # also where it is NaN
        raise ValueError(f"{what} is a number of seconds, a thousand years at most, not {seconds!r}")
    return int(seconds * 1000)
