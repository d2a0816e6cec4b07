"""`celery.utils.time`: spans of time, zones, rates."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from liteq.clock import SystemClock, from_ms
from liteq.policy.retry import backoff_s
from liteq.schedules import schedule
from liteq.schedules.base import zone_of

__all__ = [
    "adjust_timestamp",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "parse_iso8601",
    "rate",
    "remaining",
    "timezone",
    "to_utc",
    "utcoffset",
]

UNITS = (("day", 86_400.0, ".2f"), ("hour", 3_600.0, ".2f"), ("minute", 60.0, ".2f"), ("second", 1.0, ".2f"))
RATES: dict[str, Callable[[float], float]] = {"s": lambda n: n, "m": lambda n: n / 60.0, "h": lambda n: n / 3_600.0}


class _Zones:
    """`timezone.utc`, `timezone.local`, `timezone.get_timezone(name)`."""

    utc = UTC

    @property
    def local(self) -> tzinfo:
        """The zone of this machine."""
        zone = from_ms(SystemClock().now_ms()).astimezone().tzinfo
        assert zone is not None
        return zone

    def get_timezone(self, zone: str | tzinfo) -> tzinfo:
        """The zone of that name. Raises ImproperlyConfigured for one that there is not."""
        return zone_of(zone)

    def tz_or_local(self, tzinfo: tzinfo | None = None) -> tzinfo:
        """`tzinfo`, or that of this machine."""
        return self.local if tzinfo is None else self.get_timezone(tzinfo)

    def to_local(self, dt: datetime, local: tzinfo | None = None, orig: tzinfo | None = None) -> datetime:
        """`dt` in the zone `local`; a naive one is of `orig`, or UTC."""
        return maybe_make_aware(dt, orig or UTC).astimezone(self.tz_or_local(local))

    def to_local_fallback(self, dt: datetime) -> datetime:
        """`dt` in this machine's zone; a naive one is of it."""
        return make_aware(dt, self.local)

    def to_system(self, dt: datetime) -> datetime:
        """`dt` in this machine's zone."""
        return dt.astimezone()


timezone = _Zones()


def is_naive(dt: datetime) -> bool:
    """Whether `dt` says no zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """The naive `dt`, as a time of `tz`; another one in `tz`."""
    return dt.replace(tzinfo=tz) if is_naive(dt) else dt.astimezone(tz)


def maybe_make_aware(dt: datetime, tz: tzinfo | None = None, naive_as_utc: bool = True) -> datetime:
    """`dt` in `tz`; a naive one is UTC, or, unless `naive_as_utc`, of `tz`."""
    if is_naive(dt):
        dt = dt.replace(tzinfo=UTC if naive_as_utc or tz is None else tz)
    return dt if tz is None else dt.astimezone(tz)


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """`dt` in the zone `tz`; a naive one is UTC."""
    return (dt.replace(tzinfo=UTC) if is_naive(dt) else dt).astimezone(tz)


def to_utc(dt: datetime) -> datetime:
    """`dt` in UTC; a naive one is UTC."""
    return make_aware(dt, UTC)


def parse_iso8601(datestring: str) -> datetime:
    """The time that is written in ISO 8601. Raises ValueError where none is."""
    return datetime.fromisoformat(datestring)


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """`dt` as a time, where it is one's text."""
    return parse_iso8601(dt) if isinstance(dt, str) else dt


def maybe_timedelta(delta: Any) -> Any:
    """Seconds as a timedelta; all else as it is."""
    return timedelta(seconds=delta) if isinstance(delta, (int, float)) else delta


def rate(r: float | str | None) -> float:
    """Tasks a second that `"100/m"`, `"2/h"`, `"5"` or a number means; 0 for None."""
    if not r:
        return 0.0
    if isinstance(r, (int, float)):
        return float(r)
    count, _, unit = r.partition("/")
    return RATES[unit or "s"](float(count)) or 0.0


def humanize_seconds(secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False) -> str:
    """`secs` as people say it: 60 is "1.00 minute"; below a second it is `now`, but for `microseconds`."""
    secs = round(float(secs), 2)
    for unit, seconds, form in UNITS:
        if secs >= seconds:
            count = secs / seconds
            return f"{prefix}{sep}{count:{form}} {unit}{'' if count == 1 else 's'}"
    return f"{prefix}{sep}{secs:.2f} seconds" if microseconds and secs > 0.0 else now


def get_exponential_backoff_interval(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
    """Whole seconds before the next try: `factor * 2 ** retries`, at most `maximum`."""
    return int(backoff_s(retries, factor=factor, maximum=maximum, full_jitter=full_jitter))


def utcoffset(time: Any = time, localtime: Callable[[], Any] | None = None) -> int:
    """Hours from this machine's time to UTC, whole ones: -2 in Berlin in summer."""
    now = (localtime or time.localtime)()
    return int((time.altzone if now.tm_isdst else time.timezone) // 3600)


def adjust_timestamp(ts: float, offset: int, here: Callable[[], int] = utcoffset) -> float:
    """The timestamp `ts` of a machine that is `offset` hours from UTC, by the clock of this one."""
    return ts - (offset - here()) * 3600


def remaining(start: datetime, ends_in: timedelta, now: datetime | None = None, relative: bool = False) -> timedelta:
    """How long until `ends_in` from `start`, negative when it is over; `relative`: rounded to the unit of `ends_in`.

    For the `remaining_estimate()` of a program's own schedules.
    """
    begin = start.astimezone(UTC)  # spans of real time, summer time or not
    end = schedule(ends_in, relative=True).next_after(start).astimezone(UTC) if relative else begin + ends_in
    return end - (now or from_ms(SystemClock().now_ms())).astimezone(UTC)
