"""Lines of crontab, as `cron` and Dagu read them, into the schedules of liteq."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from liteq.schedules import crontab

__all__ = ["check_line", "schedule_of"]

NICKNAMES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip


def check_line(line: str) -> str:
    """The error of a line; "" where it is fine."""
    try:
        schedule_of(line)
    except ValueError as exc:
        return str(exc)
    return ""


def schedule_of(line: str) -> tuple[crontab, str | None]:
    """The schedule, and the name of its zone, where the line begins with CRON_TZ= or TZ=. Raises ValueError."""
    zone, _, rest = line.strip().partition(" ") if "TZ=" in line.partition(" ")[0] else ("", "", line.strip())
    name = zone.partition("=")[2] or None
    if name is not None:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {name!r}") from None
    text = NICKNAMES.get(rest.strip(), rest.strip())
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"a line of crontab has 5 fields: minute hour day month weekday, not {len(fields)}: {line!r}")
    day, weekday = fields[2], fields[4]
    if not day.startswith("*") and not weekday.startswith("*"):
        raise ValueError(
            f"cron takes the days {day} and also the weekdays {weekday}; write two lines, each with * for the other"
        )
    fields[4] = ",".join(_weekday(part) for part in weekday.split(","))
    return crontab.from_string(" ".join(fields).lower()), name


def _weekday(part: str) -> str:
    """One part of the last field, where 7 is Sunday too."""
    span, slash, step = part.partition("/")
    first, dash, last = span.partition("-")
    first, last = ("0" if one == "7" else one for one in (first, last if span != "0-7" else "6"))
    return first + dash + (last if dash else "") + slash + step
