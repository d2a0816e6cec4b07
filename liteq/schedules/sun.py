"""`solar`: at sunrise, at dusk, at noon of a place."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

from liteq.exceptions import ImproperlyConfigured
from liteq.schedules.base import BaseSchedule, ClockAndSettings, NeverDue, schedstate

__all__ = ["solar"]

# By event: the function of astral, how far the sun is below the horizon, in degrees, and about when it is, in hours
# after the sun's noon.
EVENTS: dict[str, tuple[str, float | None, int]] = {
    "dawn_astronomical": ("dawn", 18, -6),
    "dawn_nautical": ("dawn", 12, -6),
    "dawn_civil": ("dawn", 6, -6),
    "sunrise": ("sunrise", None, -6),
    "solar_noon": ("noon", None, 0),
    "sunset": ("sunset", None, 6),
    "dusk_civil": ("dusk", 6, 6),
    "dusk_nautical": ("dusk", 12, 6),
    "dusk_astronomical": ("dusk", 18, 6),
}
DAYS_AHEAD = 370  # beyond a polar night


class solar(BaseSchedule):  # noqa: N801 - Celery's name
    """At a solar event of a place: `solar("sunset", 48.85, 2.35)`. Latitude north, longitude east, in degrees.

    dawn_astronomical, dawn_nautical, dawn_civil, sunrise, solar_noon, sunset, dusk_civil, dusk_nautical,
    dusk_astronomical. A day without the event, near the poles, is left out. Needs the package astral.

    Raises ImproperlyConfigured where that is not installed, ValueError for arguments that make no sense.
    """

    def __init__(
        self,
        event: str,
        lat: float,
        lon: float,
        nowfun: Callable[[], datetime] | None = None,
        app: ClockAndSettings | None = None,
    ) -> None:
        if event not in EVENTS:
            raise ValueError(f"solar: {event!r} is not one of {', '.join(sorted(EVENTS))}")
        if not -90 <= lat <= 90:
            raise ValueError(f"solar: latitude {lat} is not between -90 and 90")
        if not -180 <= lon <= 180:
            raise ValueError(f"solar: longitude {lon} is not between -180 and 180")
        self.event, self.lat, self.lon = event, lat, lon
        self._astral()
        super().__init__(nowfun=nowfun, app=app)

    @staticmethod
    def _astral() -> Any:
        try:
            return importlib.import_module("astral.sun")
        except ImportError:
            raise ImproperlyConfigured("solar schedules need the package astral: pip install astral") from None

    def next_after(self, moment: datetime) -> datetime:
        sun = self._astral()
        name, below, after_noon = EVENTS[self.event]
        # Counted are the days of a zone in which the event is about noon. Near midnight a day could have it twice, and
        # the next not at all: a run would come twice, or be left out.
        zone = timezone(timedelta(hours=round(self.lon / 15) - after_noon))
        depression = {} if below is None else {"depression": below}
        # astral loses an event that is on the other side of midnight in UTC. A whole turn further west, which is the
        # same place, none is.
        lon = self.lon - 360 if self.lon > 0 and after_noon else self.lon
        place = SimpleNamespace(latitude=self.lat, longitude=lon, elevation=0.0)
        day = moment.astimezone(zone).date() - timedelta(days=1)
        for _ in range(DAYS_AHEAD):
            try:
                due: datetime = getattr(sun, name)(place, date=day, tzinfo=zone, **depression)
                due -= timedelta(microseconds=due.microsecond % 1000)  # as the file has it: else it is due once more
            except ValueError:  # the sun does not reach that height on this day
                due = moment
            if due > moment:
                return due.astimezone(UTC)
            day += timedelta(days=1)
        raise NeverDue(f"{self!r}: the sun does not do that there")

    def is_due(self, last_run_at: datetime) -> schedstate:
        """As `BaseSchedule.is_due`."""
        left = self.remaining_estimate(last_run_at).total_seconds()
        if left > 0:
            return schedstate(False, left)
        now = self.now()
        return schedstate(True, max((self.next_after(now) - now.astimezone(UTC)).total_seconds(), 0))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, solar):
            return NotImplemented
        return (self.event, self.lat, self.lon) == (other.event, other.lat, other.lon) and super().__eq__(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def __reduce__(self) -> Any:
        return type(self), (self.event, self.lat, self.lon)
