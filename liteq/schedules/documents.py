"""A schedule as data, for a row of the file: `{"kind": "crontab", "minute": "0", ...}`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from liteq.exceptions import ImproperlyConfigured
from liteq.schedules.base import BaseSchedule, zone_of
from liteq.schedules.cron import crontab
from liteq.schedules.interval import schedule
from liteq.schedules.sun import solar

__all__ = ["from_document", "to_document"]


def to_document(one: BaseSchedule) -> dict[str, Any]:
    """`one` as data, with the name of its time zone.

    A class of one's own is kept by its name alone (kind "custom"): only the program that has it can compute it.
    """
    zone = getattr(one.tz, "key", None) or str(one.tz)
    if type(one) is crontab:
        return {
            "kind": "crontab",
            "minute": one._orig_minute,
            "hour": one._orig_hour,
            "day_of_week": one._orig_day_of_week,
            "day_of_month": one._orig_day_of_month,
            "month_of_year": one._orig_month_of_year,
            "timezone": zone,
        }
    if type(one) is schedule:
        return {"kind": "every", "seconds": one.run_every.total_seconds(), "relative": one.relative, "timezone": zone}
    if type(one) is solar:
        return {"kind": "solar", "event": one.event, "lat": one.lat, "lon": one.lon, "timezone": zone}
    return {"kind": "custom", "class": f"{type(one).__module__}.{type(one).__qualname__}", "repr": repr(one)}


def from_document(document: Mapping[str, Any]) -> BaseSchedule:
    """The schedule that `to_document` described. Raises ImproperlyConfigured for a kind that it does not know."""
    fields = {key: value for key, value in document.items() if key not in {"kind", "timezone"}}
    made: BaseSchedule
    match document.get("kind"):
        case "crontab":
            made = crontab(**fields)
        case "every":
            if not fields["seconds"] > 0:  # an older liteq took it: it would be due for ever
                raise ImproperlyConfigured(f"an interval is a number of seconds above 0, not {fields['seconds']:g}")
            made = schedule(timedelta(seconds=fields["seconds"]), bool(fields.get("relative")))
        case "solar":
            made = solar(**fields)
        case kind:
            raise ImproperlyConfigured(
                f"a schedule of kind {kind!r} can only be computed by the program that defined it"
            )
    made.zone = zone_of(document.get("timezone"))
    return made
