"""Crontabs and intervals: what is due, and when next."""

from __future__ import annotations

import pickle
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import asin, atan2, cos, degrees, inf, radians, sin
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from liteq import schedules
from liteq.beat.catch_up import Last, decide
from liteq.clock import from_ms, to_ms
from liteq.schedules import NeverDue, ParseException, crontab, crontab_parser, maybe_schedule, schedule, solar

PARIS = ZoneInfo("Europe/Paris")


def at(text: str, zone=UTC) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def times(one, start: datetime, n: int) -> list[str]:
    found = []
    for _ in range(n):
        start = one.next_after(start)
        found.append(start.strftime("%d %H:%M%z"))
    return found


def in_zone(one, zone):
    one.zone = zone
    return one


# -- the grammar -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_", "min_", "spec", "expected"),
    [
        (60, 0, "*/15", {0, 15, 30, 45}),
        (24, 0, "8-17", set(range(8, 18))),
        (24, 0, "22-2", {22, 23, 0, 1, 2}),
        (60, 0, "1,5,*/30", {0, 1, 5, 30}),
        (60, 0, "10-20/5", {10, 15, 20}),
        (7, 0, "mon-fri", {1, 2, 3, 4, 5}),
        (7, 0, "Fri-monday", {5, 6, 0, 1}),
        (12, 1, "*/3", {1, 4, 7, 10}),
        (12, 1, "jan,sept", {1, 9}),
        (31, 1, "*/2", set(range(1, 32, 2))),
    ],
)
def test_a_field_of_a_crontab(max_, min_, spec, expected):
    assert crontab_parser(max_, min_).parse(spec) == expected


@pytest.mark.parametrize("spec", ["", "a", "60", "-1", "1-", "*/", "*/0", "*/x", "1,,2", "1-70", "fooday"])
def test_a_field_that_cannot_be_read(spec):
    with pytest.raises(ValueError) as raised:
        crontab_parser(60).parse(spec)
    assert isinstance(raised.value, ParseException)


@pytest.mark.parametrize(
    "fields", [{"minute": 60}, {"hour": "24"}, {"day_of_week": "7"}, {"day_of_month": 0}, {"month_of_year": [0]}]
)
def test_a_field_out_of_range(fields):
    with pytest.raises(ValueError, match="is not in"):
        crontab(**fields)


def test_a_field_of_another_type_is_a_type_error():
    with pytest.raises(TypeError):
        crontab(minute=object())


def test_a_day_that_no_month_has_is_refused_at_once():
    with pytest.raises(ValueError, match="day 31 of month apr,jun never occurs"):
        crontab(day_of_month=31, month_of_year="apr,jun")


def test_a_crontab_from_a_line():
    assert crontab.from_string("30 7 1 */2 mon") == crontab(30, 7, "mon", 1, "*/2")
    with pytest.raises(ValueError, match="4 fields"):
        crontab.from_string("* * * *")


# -- the next time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "start", "expected"),
    [
        (crontab(), "2026-01-01T00:00:30", "2026-01-01T00:01"),
        (crontab(minute=0), "2026-01-01T00:00", "2026-01-01T01:00"),
        (crontab(30, 7), "2026-01-01T07:30", "2026-01-02T07:30"),
        (crontab(0, 0, "sun"), "2026-01-01T00:00", "2026-01-04T00:00"),
        (crontab(0, 0, day_of_month=31), "2026-01-31T00:00", "2026-03-31T00:00"),
        (crontab(0, 0, day_of_month=29, month_of_year=2), "2026-01-01T00:00", "2028-02-29T00:00"),
        (crontab(59, 23, month_of_year=12, day_of_month=31), "2026-12-31T23:59", "2027-12-31T23:59"),
        # both kinds of day must match, as in Celery
        (crontab(0, 0, "fri", 13), "2026-01-01T00:00", "2026-02-13T00:00"),
        (crontab(0, 0, "mon", 29, 2), "2026-01-01T00:00", "2044-02-29T00:00"),
    ],
)
def test_the_next_time(one, start, expected):
    assert one.next_after(at(start)) == at(expected)


def test_what_never_comes_says_so(monkeypatch):
    # within the years looked at, no 29th of February is missing for any weekday: a set that was emptied later
    one = crontab(0, 0, day_of_month=29, month_of_year=2)
    one.day_of_week = set()
    with pytest.raises(NeverDue):
        one.next_after(at("2026-01-01"))
    with pytest.raises(RuntimeError):
        one.next_after(at("2026-01-01"))


# -- clocks that are set ---------------------------------------------------------------------------------------------


def test_a_time_that_the_clock_skips_runs_at_the_end_of_the_gap_once():
    daily = in_zone(crontab(30, 2), PARIS)
    assert times(daily, at("2026-03-28T00:00", PARIS), 3) == ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]


def test_minutes_go_on_through_the_skipped_hour():
    often = in_zone(crontab("*/30"), PARIS)
    assert times(often, at("2026-03-29T01:10", PARIS), 3) == ["29 01:30+0100", "29 03:00+0200", "29 03:30+0200"]


def test_a_time_that_the_clock_shows_twice_runs_once():
    daily = in_zone(crontab(30, 2), PARIS)
    assert times(daily, at("2026-10-24T03:00", PARIS), 2) == ["25 02:30+0200", "26 02:30+0100"]


def test_minutes_go_on_through_the_repeated_hour():
    often = in_zone(crontab("*/30"), PARIS)
    found = times(often, at("2026-10-25T01:50", PARIS), 5)
    assert found == ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "25 03:00+0100"]


# -- Celery's questions ----------------------------------------------------------------------------------------------


def test_is_due_and_the_seconds_until_the_next():
    now = at("2026-01-01T12:00:30")
    hourly = crontab(minute=0, nowfun=lambda: now)
    assert hourly.is_due(at("2026-01-01T11:30")) == (True, 3570.0)
    assert hourly.is_due(at("2026-01-01T12:00:10")) == (False, 3570.0)
    assert hourly.remaining_estimate(at("2026-01-01T11:30")) == timedelta(seconds=-30)


def test_naive_times_are_utc():
    naive = datetime(2026, 1, 1, 12)
    hourly = crontab(minute=30, nowfun=lambda: naive)
    assert hourly.remaining_estimate(naive) == timedelta(minutes=30)


def test_an_interval():
    now = at("2026-01-01T00:00")
    every = schedule(timedelta(seconds=10), nowfun=lambda: now)
    assert every.is_due(now - timedelta(seconds=4)) == (False, 6.0)
    assert every.is_due(now - timedelta(seconds=10)) == (True, 10.0)
    assert every == timedelta(seconds=10)
    assert repr(every) == "<freq: 10.00 seconds>"


def test_a_relative_interval_is_due_at_full_hours():
    assert schedule(7200, relative=True).next_after(at("2026-01-01T10:17:03")) == at("2026-01-01T12:00")
    assert schedule(86_400, relative=True).next_after(at("2026-01-01T10:17")) == at("2026-01-02T00:00")


def test_an_interval_does_not_drift_and_starts_anew_after_a_miss():
    every, due = schedule(10), at("2026-01-01T00:00")
    assert every.following(due, due + timedelta(seconds=3)) == due + timedelta(seconds=10)
    assert every.following(due, due + timedelta(seconds=35)) == due + timedelta(seconds=45)


def test_numbers_and_timedeltas_are_intervals():
    assert maybe_schedule(30).seconds == 30
    assert maybe_schedule(timedelta(minutes=1)).seconds == 60
    one = crontab()
    assert maybe_schedule(one) is one
    assert maybe_schedule(None) is None


def test_an_interval_is_needed():
    with pytest.raises(schedules.base.ImproperlyConfigured):
        schedule()


@pytest.mark.parametrize("one", [crontab("*/5", [8, 9], "mon"), schedule(2.5, relative=True)])
def test_schedules_can_be_pickled_and_written_down(one):
    assert pickle.loads(pickle.dumps(one)) == one
    again = schedules.from_document(schedules.to_document(one))
    assert again == one
    assert again.next_after(at("2026-01-05T07:59")) == one.next_after(at("2026-01-05T07:59"))


def test_a_schedule_that_is_written_down_keeps_its_time_zone():
    again = schedules.from_document(schedules.to_document(in_zone(crontab(0, 9), PARIS)))
    assert again.next_after(at("2026-07-01T00:00")) == at("2026-07-01T07:00")


def test_a_class_below_one_that_defines_next_after_is_not_asked_what_it_cannot_answer():
    class Hourly(schedules.BaseSchedule):
        def next_after(self, moment):
            return moment + timedelta(hours=1)

    class Shown(Hourly):
        def remaining_estimate(self, last_run_at):
            return abs(super().remaining_estimate(last_run_at))

    assert not Shown.is_asked
    now = at("2026-01-01")
    assert decide(Shown(), now, now) == ([now], now + timedelta(hours=1), False)


@pytest.mark.parametrize("answer", [schedules.schedstate(False, 7.0), (False, 7)])
def test_a_class_of_ones_own_needs_only_is_due(answer):
    class Often(schedules.BaseSchedule):
        def is_due(self, last_run_at):
            return answer

    assert Often().next_after(at("2026-01-01")) == at("2026-01-01T00:00:07")
    assert schedules.to_document(Often())["kind"] == "custom"


# -- the sun ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "about"),
    [(("noon", 0, 0), "not one of"), (("sunset", 91, 0), "latitude"), (("sunset", 0, 181), "longitude")],
)
def test_solar_arguments_that_make_no_sense(arguments, about):
    with pytest.raises(ValueError, match=about):
        solar(*arguments)


def test_solar_without_its_library_names_the_package(monkeypatch):
    for module in ("astral", "astral.sun"):  # one that is loaded is found without its package
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(schedules.base.ImproperlyConfigured, match="pip install astral"):
        solar("sunset", 48.85, 2.35)


def test_solar_events():
    pytest.importorskip("astral")
    due = solar("sunset", 48.85, 2.35).next_after(at("2026-03-29T00:00"))
    assert due.strftime("%d %H:%M") == "29 18:16"
    after_the_polar_night = solar("sunrise", 78.2, 15.6).next_after(at("2026-11-01T00:00"))
    assert (after_the_polar_night.year, after_the_polar_night.month) == (2027, 2)


def test_a_solar_event_is_not_due_once_more_in_the_millisecond_that_the_file_has_of_it():
    pytest.importorskip("astral")
    sunrise = solar("sunrise", 52, 90)
    first = sunrise.next_after(at("2026-01-01T00:00"))
    assert from_ms(to_ms(first)) == first
    assert sunrise.next_after(from_ms(to_ms(first))) > first + timedelta(hours=23)


def height(moment: datetime, lat: float, lon: float) -> float:
    """The sun's height in degrees, to a hundredth, by the Astronomical Almanac's formula of low precision."""
    n = (moment - datetime(2000, 1, 1, 12, tzinfo=UTC)) / timedelta(days=1)
    g = radians(357.528 + 0.9856003 * n)
    ecliptic = radians(280.460 + 0.9856474 * n + 1.915 * sin(g) + 0.020 * sin(2 * g))
    oblique = radians(23.439 - 0.0000004 * n)
    declination = asin(sin(oblique) * sin(ecliptic))
    hour = radians(280.46061837 + 360.98564736629 * n + lon) - atan2(cos(oblique) * sin(ecliptic), cos(ecliptic))
    across = radians(lat)
    return degrees(asin(sin(across) * sin(declination) + cos(across) * cos(declination) * cos(hour)))


def crossings(lat: float, lon: float, low: float, start: datetime, end: datetime, *, rises: bool) -> list[datetime]:
    """When the sun comes to the height `low` there, rising or setting; to a minute."""
    found, step = [], timedelta(minutes=20)
    before = height(start, lat, lon) - low
    while start < end:
        after = height(start + step, lat, lon) - low
        if (before < 0 <= after) if rises else (before >= 0 > after):
            found.append(start + step * (before / (before - after)))
        start, before = start + step, after
    return found


@pytest.mark.parametrize(
    ("event", "low", "lat", "lons"),
    [
        ("sunrise", -0.83, 0, (-180, 75, 90, 180)), ("sunrise", -0.83, 52, (0, 60, 90, 120)),
        ("sunset", -0.83, -33, (-105, -90, -75, 150)), ("sunset", -0.83, 60, (-120, -90, -30, 179)),
        ("dawn_civil", -6, -45, (75, 100)), ("dusk_nautical", -12, 35, (-75, -60)),
    ],
)  # fmt: skip
def test_a_solar_event_of_each_day_comes_once_in_every_longitude(event, low, lat, lons):
    """Where it comes about midnight in UTC, twice a year a day was left out, or had it twice."""
    pytest.importorskip("astral")
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    for lon in lons:
        due, found = solar(event, lat, lon).next_after(start), []
        while due < end:
            found.append(due)
            due = solar(event, lat, lon).next_after(due)
        wanted = crossings(lat, lon, low, start, end, rises=event.startswith(("dawn", "sunrise")))
        assert abs(len(found) - len(wanted)) <= 1, (event, lat, lon)  # one may be on either side of the year's ends
        gaps = [after - before for before, after in pairwise(found)]
        assert all(timedelta(hours=23, minutes=40) < gap < timedelta(hours=24, minutes=20) for gap in gaps), (lat, lon)
        assert all(
            min(abs(one - other) for other in wanted[max(n - 2, 0) : n + 3]) < timedelta(minutes=5)
            for n, one in enumerate(found[1:-1], 1)
        )


def paris(month, day, hour, minute=0, second=0, fold=0):
    return datetime(2020, month, day, hour, minute, second, tzinfo=ZoneInfo("Europe/Paris"), fold=fold)


def test_an_interval_is_time_that_passes_although_the_clocks_are_set():
    last, now = paris(10, 25, 2, 59, 55), paris(10, 25, 2, 0, 5, fold=1)  # ten seconds apart: the hour comes twice
    assert schedule(10, nowfun=lambda: now).is_due(last) == (True, 10)
    assert schedule(20, nowfun=lambda: now).is_due(last) == (False, 10)


def test_a_relative_interval_that_ran_late_is_due_at_the_next_full_hour():
    last, now = datetime(2026, 1, 1, 9, tzinfo=UTC), datetime(2026, 1, 1, 10, 59, 30, tzinfo=UTC)
    assert schedule(3600, relative=True, nowfun=lambda: now).is_due(last) == (True, 30)


def test_a_relative_hour_of_half_an_hour_set_back_is_due_after_its_start_and_once():
    zone = ZoneInfo("Australia/Lord_Howe")  # 2026-04-05 02:00 becomes 01:30
    hourly = schedule(3600, relative=True)
    hourly.zone = zone
    moment, seen = datetime(2026, 4, 4, 23, 30, tzinfo=zone), []
    for _ in range(5):
        later = hourly.next_after(moment)
        assert later.astimezone(UTC) > moment.astimezone(UTC)
        moment = later
        seen.append(moment.strftime("%H:%M"))
    assert seen == ["00:00", "01:00", "02:00", "03:00", "04:00"]


def test_a_relative_day_begins_at_midnight_also_when_it_has_25_hours():
    every_day = schedule(timedelta(days=1), relative=True)
    every_day.zone = ZoneInfo("Europe/Paris")
    assert every_day.next_after(paris(10, 25, 0, 30)) == paris(10, 26, 0)


@pytest.mark.parametrize("catch_up", ["one", "all"])
@pytest.mark.parametrize("has_waited", [True, False])
def test_latest_sends_the_run_of_the_last_time_that_has_waited_or_was_missed(catch_up, has_waited):
    due, now = at("2026-01-01T00:00"), at("2026-01-03T07:29:30")
    last = Last(ended=now if has_waited else due - timedelta(hours=1))
    for one, latest in [(crontab(minute=0), "07:00"), (crontab(minute=0, hour=3), "03:00")]:
        found = decide(in_zone(one, UTC), due, now, catch_up=catch_up, overlap="latest", last=last)
        assert found.runs == [at(f"2026-01-03T{latest}")]
        assert found.next_due is not None
        assert found.next_due > now
    assert decide(schedule(60), due, now, catch_up=catch_up, overlap="latest", last=last).runs == [due]
    assert decide(in_zone(crontab(minute=0), UTC), due, due, overlap="latest", last=last).runs == [due]


@pytest.mark.parametrize("deadline_s", [1e11, inf])
def test_a_deadline_of_thousands_of_years_leaves_no_time_out(deadline_s):
    """Its moment is before the calendar's first: the entry never ran."""
    due, now = at("2026-01-01T00:00"), at("2026-01-03T07:29:30")
    hourly = in_zone(crontab(minute=0), UTC)
    assert decide(hourly, due, now, deadline_s=deadline_s).runs == [due]
    hourly.app = SimpleNamespace(conf=SimpleNamespace(beat_cron_starting_deadline=deadline_s))
    assert not hourly._too_late(now)


def test_of_what_was_missed_the_part_that_is_not_too_old_is_made_up():
    due, now = at("2026-01-01T00:00"), at("2026-01-03T07:29:30")
    found = decide(in_zone(crontab(minute=0), UTC), due, now, catch_up="all", deadline_s=2 * 3600)
    assert found.runs == [at("2026-01-03T06:00"), at("2026-01-03T07:00")]
