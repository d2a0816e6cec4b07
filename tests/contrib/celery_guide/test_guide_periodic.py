"""The guide's chapter on periodic tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from liteq import Celery, group
from liteq.beat import Beat, BeatLazyFunc
from liteq.schedules import crontab, schedule, solar
from liteq.states import State
from liteq.testing import FakeClock, drain

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock():
    return FakeClock()  # 2026-01-01 00:00 UTC


@pytest.fixture
def app(tmp_path, clock):
    app = Celery("beat", broker=f"sqlite:///{tmp_path}/beat.db", clock=clock, set_as_current=False)
    app.ran = []
    app.task(name="note")(lambda *args, **kwargs: app.ran.append((args, kwargs)))
    yield app
    app.close()


def after(app, clock, seconds):
    """The tasks that ran when beat had looked and that time had passed."""
    beat = Beat(app)
    beat.turn()
    clock.advance(seconds)
    beat.turn()
    drain(app)
    return app.ran


@pytest.mark.celery("Periodic tasks", "An entry of `beat_schedule` with seconds, args, kwargs")
def test_seconds(app, clock):
    app.conf.beat_schedule = {"every 30": {"task": "note", "schedule": 30.0, "args": (16,), "kwargs": {"y": 1}}}
    assert after(app, clock, 30) == [((16,), {"y": 1})]


@pytest.mark.celery("Periodic tasks", "`schedule` may be a timedelta")
def test_timedelta(app, clock):
    app.conf.beat_schedule = {"hourly": {"task": "note", "schedule": timedelta(hours=1)}}
    assert len(after(app, clock, 3600)) == 1


@pytest.mark.celery("Periodic tasks", "`schedule` may be a crontab")
def test_crontab(app, clock):
    app.conf.beat_schedule = {"at 7:30": {"task": "note", "schedule": crontab(hour=7, minute=30)}}
    assert after(app, clock, 7 * 3600) == []
    assert len(after(app, clock, 1800)) == 1


@pytest.mark.celery("Periodic tasks", "`options` of an entry are those of apply_async")
def test_options(app, clock):
    options = {"queue": "reports", "priority": 7, "expires": 60}
    app.conf.beat_schedule = {"x": {"task": "note", "schedule": 10, "options": options}}
    beat = Beat(app)
    beat.turn()
    clock.advance(10)
    beat.turn()
    (record,) = app.storage.reader.messages(State.PENDING, limit=9)
    assert (record.queue, record.priority) == ("reports", 7)


@pytest.mark.celery("Periodic tasks", "`add_periodic_task` in `on_after_configure` and `on_after_finalize`")
def test_add_periodic_task(tmp_path, clock):
    app = Celery("beat", broker=f"sqlite:///{tmp_path}/b.db", clock=clock, set_as_current=False)
    app.ran = []

    @app.on_after_configure.connect
    def setup(sender, **_):
        sender.add_periodic_task(10.0, note.s("hello"), name="every 10")

    @app.task(name="note")
    def note(*args):
        app.ran.append(args)

    assert after(app, clock, 10) == [("hello",)]
    assert "every 10" in app.conf.beat_schedule
    app.close()


@pytest.mark.celery("Periodic tasks", "A workflow may be periodic: `add_periodic_task(seconds, group(...))`")
def test_workflow(app, clock):
    note = app.tasks["note"]
    app.add_periodic_task(10, group(note.s(1), note.s(2)), name="both")
    assert sorted(after(app, clock, 10)) == [((1,), {}), ((2,), {})]


@pytest.mark.celery("Periodic tasks", "BeatLazyFunc: an argument that is worked out when the task is sent")
def test_lazy(app, clock):
    app.conf.beat_schedule = {"x": {"task": "note", "schedule": 10, "args": (BeatLazyFunc(clock.now_ms),)}}
    assert after(app, clock, 10) == [((clock.now_ms(),), {})]


@pytest.mark.celery("Periodic tasks", "`relative`: rounded to the unit of the interval")
def test_relative(clock):
    one = schedule(timedelta(hours=1), relative=True, nowfun=lambda: NEW_YEAR + timedelta(minutes=70))
    assert one.relative


@pytest.mark.celery("Periodic tasks", "`solar('sunset', lat, lon)` and eight more events")
def test_solar():
    pytest.importorskip("astral")
    due = solar("sunset", -37.81753, 144.96715).next_after(NEW_YEAR)
    assert due.astimezone(ZoneInfo("Australia/Melbourne")).hour == 20


@pytest.mark.celery("Periodic tasks", "`timezone`: crontab is meant in it, and follows its summer time")
def test_timezone(app):
    app.conf.timezone = "Europe/London"
    one = crontab(hour=9, minute=0, app=app)
    assert one.next_after(datetime(2026, 7, 1, tzinfo=UTC)).astimezone(UTC).hour == 8
    assert one.next_after(datetime(2026, 1, 1, tzinfo=UTC)).astimezone(UTC).hour == 9


@pytest.mark.celery("Periodic tasks", "`beat_cron_starting_deadline`: older misses of a crontab are not made up")
def test_deadline(app, clock):
    app.conf.update(
        beat_cron_starting_deadline=60, beat_schedule={"x": {"task": "note", "schedule": crontab(minute=5)}}
    )
    assert after(app, clock, 5 * 60 + 90) == []


@pytest.mark.celery(
    "Periodic tasks", "The schedule may run on several beats", differs="each run is sent once; Celery's send each"
)
def test_two_beats(app, clock):
    app.conf.beat_schedule = {"x": {"task": "note", "schedule": 10}}
    beats = [Beat(app), Beat(app)]
    for beat in beats:
        beat.turn()
    clock.advance(10)
    for beat in beats:
        beat.turn()
    drain(app)
    assert len(app.ran) == 1


CRONTABS = [
    ("crontab()", crontab(), "2026-01-01T00:01", "every minute"),
    ("crontab(minute=0, hour=0)", crontab(minute=0, hour=0), "2026-01-02T00:00", "daily at midnight"),
    ("crontab(minute=0, hour='*/3')", crontab(minute=0, hour="*/3"), "2026-01-01T03:00", "every three hours"),
    ("crontab(minute=0, hour='0,3,6')", crontab(minute=0, hour="0,3,6"), "2026-01-01T03:00", "at these hours"),
    ("crontab(minute='*/15')", crontab(minute="*/15"), "2026-01-01T00:15", "every 15 minutes"),
    ("crontab(day_of_week='sunday')", crontab(day_of_week="sunday"), "2026-01-04T00:00", "every minute of Sundays"),
    (
        "crontab(minute='*/10', hour='3,17,22', day_of_week='thu,fri')",
        crontab(minute="*/10", hour="3,17,22", day_of_week="thu,fri"), "2026-01-01T03:00", "lists and steps together",
    ),
    ("crontab(minute=0, hour='*/2,*/3')", crontab(minute=0, hour="*/2,*/3"), "2026-01-01T02:00", "either of two steps"),
    ("crontab(minute=0, hour='*/3,8-17')", crontab(minute=0, hour="*/3,8-17"), "2026-01-01T03:00", "steps and ranges"),
    ("crontab(0, 0, day_of_month='2')", crontab(0, 0, day_of_month="2"), "2026-01-02T00:00", "a day of the month"),
    (
        "crontab(0, 0, day_of_month='2-30/2')",
        crontab(0, 0, day_of_month="2-30/2"), "2026-01-02T00:00", "each even day",
    ),
    (
        "crontab(0, 0, day_of_month='1-7,15-21')",
        crontab(0, 0, day_of_month="1-7,15-21"), "2026-01-02T00:00", "the first and third weeks",
    ),
    (
        "crontab(0, 0, day_of_month='11', month_of_year='5')",
        crontab(0, 0, day_of_month="11", month_of_year="5"), "2026-05-11T00:00", "the 11th of May",
    ),
    ("crontab(0, 0, month_of_year='*/3')", crontab(0, 0, month_of_year="*/3"), "2026-01-02T00:00", "each quarter"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "first"),
    [
        pytest.param(one, first, marks=pytest.mark.celery("Periodic tasks: crontab", f"`{text}`: {meaning}"), id=text)
        for text, one, first, meaning in CRONTABS
    ],
)
def test_crontab_table(one, first):
    assert one.next_after(NEW_YEAR).astimezone(UTC).isoformat()[:16] == first
