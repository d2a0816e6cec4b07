"""The base of every schedule: a clock, a time zone, and Celery's questions answered by `next_after`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, ClassVar, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from liteq.clock import SystemClock, from_ms
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.records import NamedTuple

__all__ = ["BaseSchedule", "ClockAndSettings", "NeverDue", "schedstate", "zone_of"]

QUESTIONS = frozenset({"is_due", "next_after", "remaining_estimate"})


class NeverDue(ImproperlyConfigured, RuntimeError):
    """Raised when a schedule has no further time: the 31st of April."""


class schedstate(NamedTuple):  # noqa: N801 - Celery's name
    """Whether something is due, and in how many seconds to ask again."""

    is_due: bool
    next: float


def zone_of(setting: Any) -> tzinfo:
    """The time zone that the setting `timezone` names: an IANA name, a tzinfo, None for UTC.

    Raises ImproperlyConfigured for a name that nobody knows.
    """
    if setting is None:
        return UTC
    if isinstance(setting, tzinfo):
        return setting
    if str(setting).upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(str(setting))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ImproperlyConfigured(f"timezone: there is no time zone {setting!r}; say it as 'Europe/Paris'") from None


class ClockAndSettings(Protocol):
    """The part of an app that schedules know, which stand below it."""

    @property
    def conf(self) -> Any:
        """Its settings: `enable_utc` and `beat_cron_starting_deadline` are read."""

    @property
    def timezone(self) -> Any:
        """The zone of its schedules."""

    def now(self) -> datetime:
        """The time, aware, in that zone."""


class _Zone:
    """The zone in which a schedule is meant: its own, else the app's, else UTC. One may be assigned."""

    def __get__(self, schedule: BaseSchedule | None, owner: type) -> Any:
        if schedule is None:
            return self
        if schedule.zone is not None:
            return schedule.zone
        return UTC if schedule.app is None else schedule.app.timezone


class BaseSchedule:
    """Base of all schedules. One of your own defines `next_after`, or, as in Celery, `is_due`.

    The latter may be of a class below `crontab` or `schedule` too. Beat asks it when the entry is new, and then each
    time when it has said to.

    `nowfun` gives the present time, for tests. `app` is whose settings `timezone` and `enable_utc` count; beat sets it
    where it is None.
    """

    kept_to_deadline: ClassVar[bool] = False
    """Whether `beat_cron_starting_deadline` is about this kind."""

    is_asked: ClassVar[bool] = False
    """Whether `is_due` alone knows when it is due: one of a class of one's own, which has no `next_after`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = next((one for one in cls.__mro__ if not vars(one).keys().isdisjoint(QUESTIONS)), object)
        cls.is_asked = "next_after" not in vars(own) and cls.is_due is not BaseSchedule.is_due

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: ClockAndSettings | None = None) -> None:
        self.nowfun = nowfun
        self.app = app
        self.zone: tzinfo | None = None

    # -- time

    def now(self) -> datetime:
        """The present time, aware: in the zone of the app, where the schedule has one."""
        if self.nowfun is not None:
            return self.maybe_make_aware(self.nowfun())
        if self.app is not None:
            return self.app.now()
        return from_ms(SystemClock().now_ms())

    tz: Any = _Zone()

    @property
    def utc_enabled(self) -> bool:
        """Whether a naive time is UTC."""
        return True if self.app is None else bool(self.app.conf.enable_utc)

    def to_local(self, moment: datetime) -> datetime:
        """`moment` in the schedule's zone."""
        return self.maybe_make_aware(moment).astimezone(self.tz)

    def maybe_make_aware(self, moment: datetime, naive_as_utc: bool = True) -> datetime:
        """`moment` itself when it is aware; a naive one is UTC, or with `enable_utc` off in the schedule's zone."""
        if moment.tzinfo is not None:
            return moment
        return moment.replace(tzinfo=UTC if self.utc_enabled and naive_as_utc else self.tz)

    # -- the question

    def next_after(self, moment: datetime) -> datetime:
        """The first time after `moment` (aware) at which it is due. Raises NeverDue when there is none."""
        _, left = self.is_due(moment)  # a pair, as in Celery: a schedstate is one
        return moment + timedelta(seconds=max(left, 0))

    def following(self, due: datetime, now: datetime) -> datetime:
        """The time after `now`, when that of `due` has been dealt with at `now`."""
        return self.next_after(max(due, now))

    # -- Celery's

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long until it is due, when it ran at `last_run_at`; negative when it should have run by now."""
        return self.next_after(self.maybe_make_aware(last_run_at)).astimezone(UTC) - self.now().astimezone(UTC)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether it is due, and in how many seconds to ask again."""
        raise NotImplementedError(f"{type(self).__name__} defines neither next_after() nor is_due()")

    def __eq__(self, other: object) -> bool:
        return other.nowfun == self.nowfun if isinstance(other, BaseSchedule) else NotImplemented

    def __hash__(self) -> int:
        return hash(repr(self))
