"""Crontabs in every time zone, by an injected clock: each slot of the wall clock fires once, whatever the clock does.

The oracle knows nothing of liteq's arithmetic: it walks the calendar, and asks the zone what its clocks showed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from liteq.beat.catch_up import decide
from liteq.schedules import crontab

from .sizes import size

YEARS = size("CRON_YEARS", 1, 20)
LAST_YEAR = 2027
START = datetime(LAST_YEAR + 1 - YEARS, 1, 1, tzinfo=UTC)
END = datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ORDINARY = (time(2, 30), time(23, 59))
Transition = tuple[datetime, timedelta, timedelta]  # the moment, and the offsets before and after it

pytestmark = pytest.mark.timeout(3600)


@cache
def transitions(name: str) -> tuple[Transition, ...]:
    """When the clocks of a zone are set, from START to END."""
    zone, found, moment = ZoneInfo(name), [], START - DAY
    while moment < END:
        if moment.astimezone(zone).utcoffset() != (moment + DAY).astimezone(zone).utcoffset():
            found += list(_inside(zone, moment, moment + DAY))
        moment += DAY
    return tuple(found)


def _inside(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Transition]:
    moment, step = start, timedelta(minutes=1)
    while moment < end:
        before, after = moment.astimezone(zone).utcoffset(), (moment + step).astimezone(zone).utcoffset()
        if before != after:
            assert before is not None
            assert after is not None
            yield moment + step, before, after
        moment += step


def distinct_zones() -> list[str]:
    """One zone for each way in which clocks are set; those that never are have one member, UTC's own among them."""
    ways: dict[tuple[object, ...], str] = {}
    for name in sorted(available_timezones()):
        ways.setdefault((transitions(name), START.astimezone(ZoneInfo(name)).utcoffset()), name)
    return sorted(ways.values())


def slots_to_try(name: str) -> Iterator[tuple[time, datetime, datetime]]:
    """Two ordinary times of day, from START to END; and about each transition, those inside and at the ends of what the
    clocks skip or repeat.
    """
    for slot in ORDINARY:
        yield slot, START, END
    for moment, before, after in transitions(name):
        first, last = sorted(((moment + before).replace(tzinfo=None), (moment + after).replace(tzinfo=None)))
        critical = {t.time() for t in (first - MINUTE, first, first + (last - first) / 2, last - MINUTE, last)}
        for slot in {slot.replace(second=0, microsecond=0) for slot in critical}:
            yield slot, moment - 2 * DAY, moment + 2 * DAY


def when(wall: datetime, name: str) -> datetime:
    """The first moment at which a clock of the zone shows `wall`; where it skips that, when it jumped over it."""
    zone = ZoneInfo(name)
    for moment, before, after in transitions(name):
        if (moment + before).replace(tzinfo=None) <= wall < (moment + after).replace(tzinfo=None):
            return moment
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def fired(schedule: crontab, start: datetime, end: datetime, rng: random.Random) -> list[datetime]:
    """The runs that a beat sends from `start` to `end` that is late by seconds, at times by hours; without the file."""
    due, runs = schedule.next_after(start - MINUTE / 60), []
    while due < end:
        due = due.astimezone(UTC)  # as the file has it: in a zone, Python adds to what the wall clock shows
        late = timedelta(seconds=rng.uniform(0, rng.choice((50, 7_200))))
        # Later than the next time, one run would do for both: that is `beat_catch_up`, and not the matter here.
        decision = decide(schedule, due, due + min(late, (schedule.next_after(due) - due) / 2))
        runs += decision.runs
        assert decision.next_due is not None
        assert decision.next_due > due
        due = decision.next_due
    return runs


def in_zone(schedule: crontab, name: str) -> crontab:
    schedule.zone = ZoneInfo(name)
    return schedule


@pytest.mark.parametrize("part", range(4))
def test_each_slot_of_the_wall_clock_fires_once_in_every_zone(part: int) -> None:
    zones = distinct_zones()
    assert len(zones) > 40, "there is no time zone database here: install tzdata"
    rng = random.Random(part)
    for name in zones[part::4]:
        for slot, start, end in slots_to_try(name):
            schedule = in_zone(crontab(minute=slot.minute, hour=slot.hour), name)
            first, last = start.astimezone(schedule.tz).date(), end.astimezone(schedule.tz).date()
            days = [first + timedelta(days=n) for n in range(-1, (last - first).days + 2)]
            wanted = {moment for day in days if start <= (moment := when(datetime.combine(day, slot), name)) < end}
            # A set: two days' slots are one moment where the clocks skip a whole day (Samoa in 2011).
            assert fired(schedule, start, end, rng) == sorted(wanted), f"{slot} in {name}"


@pytest.mark.parametrize("minute", ["*/30", "7,59"])
def test_every_hour_goes_on_through_the_repeated_hour(minute: str) -> None:
    """Where the hour is `*`, each moment whose minute matches fires, the repeated ones too, and nothing fires twice."""
    wanted_minutes = crontab(minute=minute).minute
    for name in distinct_zones():
        zone, schedule = ZoneInfo(name), in_zone(crontab(minute=minute), name)
        for moment, before, after in transitions(name):
            start, end = moment - 4 * HOUR, moment + 4 * HOUR
            grid = [start + n * MINUTE for n in range(1, int((end - start) / MINUTE))]
            wanted = {t for t in grid if t.astimezone(zone).minute in wanted_minutes}
            if after > before:  # what the clocks skip is made up at the end of the gap
                gap = int((after - before) / MINUTE)
                skipped = ((moment + before + n * MINUTE).minute for n in range(gap))
                wanted |= {moment} if any(m in wanted_minutes for m in skipped) else set()
            got, due = [], schedule.next_after(start)
            while due < end:
                got.append(due.astimezone(UTC))
                due = schedule.next_after(due)
            assert got == sorted(wanted), f"{name} at {moment}"


def test_clocks_that_are_set_back_by_three_hours_lose_no_minute() -> None:
    """Casey station in March 2010: found by the twenty years of the test above."""
    schedule = in_zone(crontab(minute=7), "Antarctica/Casey")
    due = datetime(2010, 3, 4, 12, 30, tzinfo=UTC)
    runs = [(due := schedule.next_after(due)).astimezone(UTC) for _ in range(8)]
    assert [run.hour for run in runs] == list(range(13, 21))
