"""Answers of others that say "later": which errors carry one, and how long it asks to wait."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isnan
from typing import Any

from liteq.exceptions import RateLimited
from liteq.utils.durations import seconds
from liteq.utils.records import NamedTuple

__all__ = ["LEAST_S", "LONGEST_S", "UNNAMED_S", "Later", "is_own_fault", "later_of"]

LATER = frozenset({429, 503, 529})  # Too Many Requests, Service Unavailable, and "overloaded" as some APIs say it
UNNAMED_S = 10.0  # the wait where none is named: a bucket of "100 a minute" has some again
LEAST_S = 1.0  # where that says now, or a clock is behind ours: no attempt is counted, so it would be asked without end
LONGEST_S = 86_400.0  # then it is asked again, whatever was said


class Later(NamedTuple):
    """A wait that was asked for, in seconds; `key`: the limit that it is of, None where that is not said.

    `named`: a time was named; else `wait_s` is one that fits most.
    """

    wait_s: float
    key: str | None = None
    named: bool = True


def later_of(exc: BaseException, now_ms: int) -> Later | None:
    """The wait that `exc` asks for: a RateLimited, or an error of HTTP that came with a Retry-After; else None.

    Such an error has a `status`, `status_code` or `code` of 429, 503 or 529, itself or in its `response`, and there the
    headers. Raises nothing, whatever the attributes of `exc` do.
    """
    if isinstance(exc, RateLimited):
        wait_s = seconds_of(exc.retry_after, now_ms)
        return Later(UNNAMED_S if wait_s is None else wait_s, exc.key, wait_s is not None)
    try:
        for answer in (exc, getattr(exc, "response", None)):
            if answer is None or not _says_later(answer):
                continue
            for source in (answer, exc, getattr(exc, "response", None)):
                wait_s = seconds_of(_retry_after(getattr(source, "headers", None)), now_ms)
                if wait_s is not None:
                    return Later(wait_s)
    except Exception:  # noqa: BLE001 - properties of a class of the user's
        return None
    return None


def is_own_fault(exc: BaseException) -> bool:
    """Whether `exc` is an answer of HTTP that blames the request: a status of 400 to 499 that no later try changes."""
    try:
        for answer in (exc, getattr(exc, "response", None)):
            codes = (getattr(answer, name, None) for name in ("status", "status_code", "code"))
            for code in codes:
                if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 500:
                    return code not in (408, 425, 429)
    except Exception:  # noqa: BLE001 - properties of a class of the user's
        return False
    return False


def _says_later(answer: Any) -> bool:
    codes = (getattr(answer, name, None) for name in ("status", "status_code", "code"))
    return any(isinstance(code, int) and not isinstance(code, bool) and code in LATER for code in codes)


def _retry_after(headers: Any) -> Any:
    """The header's value; None where it is not among `headers`, which may be of any HTTP library."""
    if headers is None:
        return None
    found = headers.get("Retry-After")
    if found is None and isinstance(headers, Mapping):  # a plain dict, as made by hand
        found = next((headers[name] for name in headers if str(name).lower() == "retry-after"), None)
    return found


def seconds_of(value: Any, now_ms: int) -> float | None:
    """Seconds to wait from `now_ms` on: of a number, of its text, of a time, or of a date as HTTP writes it.

    None for what is none of these. At least 0 of a number, which the program names itself, and LEAST_S of what a
    server says; at most LONGEST_S.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    try:
        wait_s = _until(value, now_ms) if isinstance(value, datetime) else float(value)
    except (TypeError, ValueError):
        from email.utils import parsedate_to_datetime  # a MiB of memory, and mostly it is a number

        try:
            wait_s = _until(parsedate_to_datetime(str(value)), now_ms)
        except (TypeError, ValueError, OverflowError):
            try:
                wait_s = seconds(value)
            except (TypeError, ValueError):
                return None
    if isnan(wait_s):
        return None
    if wait_s > 0:
        return min(wait_s, LONGEST_S)
    return 0.0 if isinstance(value, (int, float)) else LEAST_S


def _until(moment: datetime, now_ms: int) -> float:
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return moment.timestamp() - now_ms / 1000
