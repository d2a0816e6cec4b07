"""Wall clocks: when does a clock of a time zone show a time? Once, twice when it is set back, or never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

__all__ = ["instants_of", "repeat_of"]

SECOND = timedelta(seconds=1)


def repeat_of(local: datetime) -> timedelta:
    """By how much the clock was set back, where it shows this aware time twice; zero where it does not.

    Mostly an hour; half of one on Lord Howe Island, three at Casey station.
    """
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    if first is None or second is None or first == second or not _exists(local):
        return timedelta(0)
    return abs(first - second)


def instants_of(wall: datetime, zone: tzinfo, *, twice: bool) -> list[datetime]:
    """The moments, in UTC, for which a naive time of the wall clock stands.

    One that the clock skips stands for the end of the gap. One that it shows twice stands for the first of them, with
    `twice` for both.
    """
    first = wall.replace(tzinfo=zone, fold=0)
    second = wall.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return [first.astimezone(UTC)]
    if not _exists(first):
        return [_end_of_gap(wall, zone)]
    return [first.astimezone(UTC), second.astimezone(UTC)] if twice else [first.astimezone(UTC)]


def _exists(local: datetime) -> bool:
    there_and_back = local.astimezone(UTC).astimezone(local.tzinfo)
    return there_and_back.replace(tzinfo=None) == local.replace(tzinfo=None)


def _end_of_gap(wall: datetime, zone: tzinfo) -> datetime:
    """When the clock jumped over `wall`: the offsets before and after bracket the moment, bisection finds it."""
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    late = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    before = early.astimezone(zone).utcoffset()
    while late - early > SECOND:
        middle = early + (late - early) / 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)
