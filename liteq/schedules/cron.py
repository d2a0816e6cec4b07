"""`crontab`: at given minutes, hours, days and months of a time zone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

from liteq.schedules.base import BaseSchedule, ClockAndSettings, NeverDue, schedstate
from liteq.schedules.fields import ParseException, expand
from liteq.schedules.wall_clock import instants_of, repeat_of
from liteq.utils.durations import LONGEST_S

__all__ = ["crontab"]

Field = int | str | Iterable[int]

LONGEST_MONTH = {1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}
YEARS_AHEAD = 41  # a 29th of February that is a given day of the week: 28 years, 40 across 2100
MICROSECOND = timedelta(microseconds=1)


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """At each minute that all five fields match, in the app's time zone.

    A field is a number, a text (`"*/15"`, `"8-17"`, `"mon-fri"`, `"1,15"`), or an iterable of numbers. Days of the
    week count from Sunday, 0. A day must match `day_of_month` and `day_of_week`, both, as in Celery.

    When clocks are set forward, what falls into the hour that is left out runs at its end. When they are set back,
    each time runs once; where the hour is `*`, the minutes go on through the repeated hour.
    """

    kept_to_deadline: ClassVar[bool] = True

    def __init__(
        self,
        minute: Field = "*",
        hour: Field = "*",
        day_of_week: Field = "*",
        day_of_month: Field = "*",
        month_of_year: Field = "*",
        nowfun: Callable[[], datetime] | None = None,
        app: ClockAndSettings | None = None,
    ) -> None:
        given = [_plain(field) for field in (minute, hour, day_of_week, day_of_month, month_of_year)]
        self._orig_minute, self._orig_hour, self._orig_day_of_week = given[:3]
        self._orig_day_of_month, self._orig_month_of_year = given[3:]
        self.minute = expand(given[0], 60)
        self.hour = expand(given[1], 24)
        self.day_of_week = expand(given[2], 7)
        self.day_of_month = expand(given[3], 31, 1)
        self.month_of_year = expand(given[4], 12, 1)
        if not any(day <= LONGEST_MONTH[month] for month in self.month_of_year for day in self.day_of_month):
            raise ParseException(f"crontab: day {given[3]} of month {given[4]} never occurs")
        super().__init__(nowfun=nowfun, app=app)
        self._prepare()

    def _prepare(self) -> None:
        self._minutes, self._hours = sorted(self.minute), sorted(self.hour)
        self._days, self._months = sorted(self.day_of_month), sorted(self.month_of_year)

    @classmethod
    def from_string(cls, crontab: str) -> crontab:
        """From a line as in a crontab file: `"30 7 * * mon-fri"`. Raises ValueError."""
        fields = crontab.split()
        if len(fields) != 5:
            raise ParseException(
                f"crontab: {crontab!r} has {len(fields)} fields, not 5: m h day-of-month month weekday"
            )
        minute, hour, day_of_month, month_of_year, day_of_week = fields
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    # -- the next time

    def next_after(self, moment: datetime) -> datetime:
        local = moment.astimezone(self.tz)
        wall = local.replace(tzinfo=None, fold=0)
        every_hour = len(self._hours) == 24
        if every_hour and (repeat := repeat_of(local)):
            # Its slots come twice, and the second pass of one is after the first pass of the next.
            near = self._instants(wall - repeat, until=wall + repeat, twice=True)
            found = [instant for instant in near if instant > moment]
            if found:
                return min(found).astimezone(self.tz)
        for instant in self._instants(wall, twice=every_hour):
            if instant > moment:
                return instant.astimezone(self.tz)
        raise NeverDue(f"{self!r} is not due in the next {YEARS_AHEAD} years")

    def _instants(self, wall: datetime, *, until: datetime | None = None, twice: bool) -> Iterator[datetime]:
        """When the wall clock shows the slots after `wall`, in UTC; in order but for a repeated hour."""
        while (slot := self._next_slot(wall)) is not None and (until is None or slot <= until):
            yield from instants_of(slot, self.tz, twice=twice)
            wall = slot

    def _next_slot(self, wall: datetime) -> datetime | None:
        """The first time after `wall` that a wall clock shows and all fields match."""
        if self._matches(wall.date()):
            minute_of_hour = bisect_right(self._minutes, wall.minute)
            if wall.hour in self.hour and minute_of_hour < len(self._minutes):
                return wall.replace(minute=self._minutes[minute_of_hour], second=0, microsecond=0)
            hour_of_day = bisect_right(self._hours, wall.hour)
            if hour_of_day < len(self._hours):
                hour = self._hours[hour_of_day]
                return wall.replace(hour=hour, minute=self._minutes[0], second=0, microsecond=0)
        day = self._next_day(wall.date())
        return None if day is None else datetime.combine(day, time(self._hours[0], self._minutes[0]))

    def _matches(self, day: date) -> bool:
        return (
            day.month in self.month_of_year
            and day.day in self.day_of_month
            and day.isoweekday() % 7 in self.day_of_week
        )

    def _next_day(self, after: date) -> date | None:
        """The first matching day after `after`, month by month: years of none cost some dozens of steps."""
        for year in range(after.year, min(after.year + YEARS_AHEAD, 9998)):
            first = after.month if year == after.year else 1
            for month in self._months[bisect_left(self._months, first) :]:
                first_weekday, length = monthrange(year, month)
                same = (year, month) == (after.year, after.month)
                start = bisect_right(self._days, after.day) if same else 0
                for day in self._days[start : bisect_right(self._days, length)]:
                    if (first_weekday + day) % 7 in self.day_of_week:  # monthrange counts from Monday, 0
                        return date(year, month, day)
        return None

    # -- Celery's

    def is_due(self, last_run_at: datetime) -> schedstate:
        """As `BaseSchedule.is_due`; what is older than `beat_cron_starting_deadline` seconds is not due any more."""
        left = self.remaining_estimate(last_run_at).total_seconds()
        if left > 0:
            return schedstate(False, left)
        now = self.now()
        return schedstate(not self._too_late(now), max((self.next_after(now) - now.astimezone(UTC)).total_seconds(), 0))

    def _too_late(self, now: datetime) -> bool:
        deadline_s = self.app.conf.beat_cron_starting_deadline if self.app is not None else None
        if deadline_s is None:
            return False
        deadline = timedelta(seconds=min(deadline_s, LONGEST_S))
        oldest = now.astimezone(UTC) - deadline - MICROSECOND  # one just that old is not too late
        return self.next_after(oldest) > now

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, crontab):
            return NotImplemented
        return self._values() == other._values() and super().__eq__(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def _values(self) -> tuple[set[int], ...]:
        return self.minute, self.hour, self.day_of_week, self.day_of_month, self.month_of_year

    def __repr__(self) -> str:
        fields = (
            self._orig_minute, self._orig_hour, self._orig_day_of_month, self._orig_month_of_year,
            self._orig_day_of_week,
        )  # fmt: skip
        return f"<crontab: {' '.join(str(field) for field in fields)} (m/h/dM/MY/d)>"

    def __reduce__(self) -> Any:
        fields = (
            self._orig_minute, self._orig_hour, self._orig_day_of_week, self._orig_day_of_month,
            self._orig_month_of_year,
        )  # fmt: skip
        return type(self), fields, {"nowfun": self.nowfun}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.nowfun = state.get("nowfun")


def _plain(field: Any) -> Any:
    """A field that can be written down: an iterator would be empty the second time."""
    if field is None:
        return "*"
    return sorted(field) if isinstance(field, Iterable) and not isinstance(field, str) else field
