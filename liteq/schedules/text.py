"""A schedule as the text of a form: a number of seconds, or the five fields of crontab(5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from liteq.exceptions import LiteqError
from liteq.schedules.base import BaseSchedule, zone_of
from liteq.schedules.cron import crontab
from liteq.schedules.interval import schedule

__all__ = ["schedule_from", "text_of"]

FIELDS: Final = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def text_of(document: Mapping[str, Any]) -> str | None:
    """The text for a schedule that `to_document` described; None where there is none, as for the sun's."""
    match document.get("kind"):
        case "every":
            return f"{document['seconds']:.6f}".rstrip("0").rstrip(".")  # a timedelta has no smaller part
        case "crontab":
            return " ".join(_field(document[name]) for name in FIELDS)
        case _:
            return None


def _field(value: Any) -> str:
    """One field of a crontab as it is written: what was given as numbers is a list."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).replace(" ", "")


def schedule_from(text: str, like: Mapping[str, Any] | None = None) -> BaseSchedule:
    """The schedule that `text` says, in the time zone of the one that it takes the place of: `like`, a document.

    Raises ValueError for a text that says none.
    """
    like, words = like or {}, text.split()
    try:
        if len(words) == len(FIELDS):
            minute, hour, day, month, weekday = words
            made: BaseSchedule = crontab(minute, hour, weekday, day, month)
        else:
            made = schedule(timedelta(seconds=_seconds(text)), bool(like.get("relative")))
    except (LiteqError, OverflowError) as exc:
        raise ValueError(str(exc)) from exc
    if like.get("timezone"):
        made.zone = zone_of(like["timezone"])
    return made


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        sample = "such as 30 3 * * 1-5"
        raise ValueError(f"{text!r:.60} is neither seconds nor the five fields of a crontab, {sample}") from None
    if not seconds > 0:
        raise ValueError(f"an interval is a number of seconds above 0, not {text}")
    return seconds
