"""`schedule`: every so many seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from liteq.exceptions import ImproperlyConfigured
from liteq.schedules.base import BaseSchedule, ClockAndSettings, schedstate
from liteq.utils.durations import Duration, numeric_s

__all__ = ["maybe_schedule", "schedule"]

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# From which length on a relative interval is rounded, and to what.
RESOLUTIONS: tuple[tuple[int, dict[str, Any]], ...] = (
    (86_400, {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}),
    (3_600, {"minute": 0, "second": 0, "microsecond": 0}),
    (60, {"second": 0, "microsecond": 0}),
    (1, {"microsecond": 0}),
)


class schedule(BaseSchedule):  # noqa: N801 - Celery's name
    """Every `run_every` seconds (or a timedelta, or "10m").

    `relative`: rounded down to the unit of the interval: one of 2 hours is due at full hours, one of 3 days at
    midnight.
    """

    def __init__(
        self,
        run_every: Duration | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: ClockAndSettings | None = None,
    ) -> None:
        if run_every is None:
            raise ImproperlyConfigured("a schedule needs its interval: schedule(run_every=30) is every 30 seconds")
        self.run_every = (
            run_every if isinstance(run_every, timedelta) else timedelta(seconds=numeric_s(run_every, "run_every"))
        )
        self.relative = relative
        super().__init__(nowfun=nowfun, app=app)

    @property
    def seconds(self) -> float:
        """The interval."""
        return max(self.run_every.total_seconds(), 0)

    @property
    def human_seconds(self) -> str:
        """The interval in words."""
        return humanize(self.seconds)

    def next_after(self, moment: datetime) -> datetime:
        if not self.relative:
            return (moment.astimezone(UTC) + self.run_every).astimezone(moment.tzinfo)
        local, start = self.to_local(moment), moment.astimezone(UTC)
        if self.run_every >= DAY:  # days of the calendar, which have 23 to 25 hours
            found = [at for at in self._occurrences(local + self.run_every) if at > start]
            return min(found, default=start + self.run_every).astimezone(self.tz)
        # The last boundary until then; where clocks are set, one that is before the start is none.
        end = start + self.run_every
        if end <= start:
            return end
        after = end.astimezone(self.tz)
        unit = HOUR if self.run_every >= HOUR else MINUTE
        found = [at for wall in (after, after + unit, local + self.run_every) for at in self._occurrences(wall)]
        found = [at for at in found if at > start]
        return max((at for at in found if at <= end), default=min(found, default=end)).astimezone(self.tz)

    def _occurrences(self, wall: datetime) -> list[datetime]:
        """The moments, in UTC, at which clocks show `wall` rounded down to the unit: there may be two of them."""
        rounded = wall.replace(**next((fields for least, fields in RESOLUTIONS if self.seconds >= least), {}))
        return [rounded.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]

    def following(self, due: datetime, now: datetime) -> datetime:
        """`due` and one interval, so that the beat does not drift; after a miss counted from `now`."""
        on_time = self.next_after(due)
        return on_time if on_time > now else max(self.next_after(now), now + SECOND / 1000)

    def is_due(self, last_run_at: datetime) -> schedstate:
        left = max(self.remaining_estimate(last_run_at).total_seconds(), 0)
        if left:
            return schedstate(False, left)
        now = self.now()
        again = self.next_after(now).astimezone(UTC) - now.astimezone(UTC) if self.relative else self.run_every
        return schedstate(True, max(again.total_seconds(), 0))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, schedule):
            return self.run_every == other.run_every
        return self.run_every == other

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __reduce__(self) -> Any:
        return type(self), (self.run_every, self.relative, self.nowfun)


def humanize(seconds: float) -> str:
    """`seconds` in words, in the largest unit that fits: "1.50 hours"."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= size:
            n = seconds / size
            return f"{n:.2f} {unit}{'' if n == 1 else 's'}"
    return "now"


def maybe_schedule(s: Any, relative: bool = False, app: ClockAndSettings | None = None) -> Any:
    """`s` as a schedule: seconds, a timedelta or a span as "10m" is an interval, a schedule stays what it is.

    A schedule that has no app is given `app`.
    """
    if s is None:
        return None
    if isinstance(s, (int, float, str, timedelta)):
        return schedule(s, relative, app=app)
    if getattr(s, "app", None) is None:
        s.app = app
    return s
