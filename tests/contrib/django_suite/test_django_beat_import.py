"""The tables of django-celery-beat become schedules: of the real package where it is installed, else of its layout."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from liteq_django.import_beat import PREFIX, import_beat

REAL = importlib.util.find_spec("django_celery_beat") is not None

# Of version 2.9: what the import reads.
LAYOUT = f"""
CREATE TABLE {PREFIX}intervalschedule (id integer PRIMARY KEY, every integer, period text);
CREATE TABLE {PREFIX}crontabschedule (id integer PRIMARY KEY, minute text, hour text, day_of_week text,
    day_of_month text, month_of_year text, timezone text);
CREATE TABLE {PREFIX}solarschedule (id integer PRIMARY KEY, event text, latitude decimal, longitude decimal);
CREATE TABLE {PREFIX}clockedschedule (id integer PRIMARY KEY, clocked_time datetime);
CREATE TABLE {PREFIX}periodictask (id integer PRIMARY KEY, name text, task text, args text DEFAULT '[]',
    kwargs text DEFAULT '{{}}', queue text, exchange text, routing_key text, headers text DEFAULT '{{}}',
    priority integer, expires datetime, expire_seconds integer, one_off bool DEFAULT 0, start_time datetime,
    enabled bool DEFAULT 1, last_run_at datetime, total_run_count integer DEFAULT 0, interval_id integer,
    crontab_id integer, solar_id integer, clocked_id integer);
"""
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
NAME = "shop.orders.tasks.pay"


@pytest.fixture
def tables(shop):
    """The tables, with a row of each kind."""
    make_real() if REAL else make_layout()
    yield
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA foreign_keys=OFF")
        for name in connection.introspection.table_names(cursor):
            if name.startswith(PREFIX):
                cursor.execute(f"DROP TABLE {name}")


def make_layout():
    with connection.cursor() as cursor:
        for statement in LAYOUT.split(";"):
            cursor.execute(statement)
        for statement, values in (
            (f"INSERT INTO {PREFIX}intervalschedule VALUES (1, 10, 'minutes')", ()),
            (f"INSERT INTO {PREFIX}crontabschedule VALUES (1, '30', '3', '1-5', '*', '*', 'Europe/Rome')", ()),
            (f"INSERT INTO {PREFIX}clockedschedule VALUES (1, %s)", (LATER.isoformat(),)),
        ):
            cursor.execute(statement, values)
        for row in rows():
            names = ", ".join(["task", *row])
            marks = ", ".join(["%s"] * (len(row) + 1))
            cursor.execute(f"INSERT INTO {PREFIX}periodictask ({names}) VALUES ({marks})", [NAME, *row.values()])


def rows():
    yield {"name": "often", "interval_id": 1, "args": "[7]", "kwargs": "{}", "queue": "mail", "expire_seconds": 60}
    yield {"name": "nightly", "crontab_id": 1, "enabled": False}
    yield {"name": "on that day", "clocked_id": 1, "one_off": True, "args": "[1]"}
    yield {"name": "broken", "interval_id": 1, "args": "[not json"}


def make_real():
    """By the package's own migrations and models; its app joins the project, but not the admin, whose URLs stand."""
    import django_celery_beat
    from django.apps import apps
    from django.contrib import admin
    from django.core.management import call_command

    assert django_celery_beat
    if not apps.is_installed("django_celery_beat"):
        apps.set_installed_apps([*(c.name for c in apps.get_app_configs()), "django_celery_beat"])
        for model in apps.get_app_config("django_celery_beat").get_models():
            if admin.site.is_registered(model):
                admin.site.unregister(model)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'django_celery_beat'")
    call_command("migrate", "django_celery_beat", verbosity=0)
    from django_celery_beat import models

    every = models.IntervalSchedule.objects.create(every=10, period="minutes")
    cron = models.CrontabSchedule.objects.create(minute="30", hour="3", day_of_week="1-5", timezone="Europe/Rome")
    clocked = models.ClockedSchedule.objects.create(clocked_time=LATER)
    ids = {"interval_id": every.pk, "crontab_id": cron.pk, "clocked_id": clocked.pk}
    for row in rows():
        models.PeriodicTask(task=NAME, **{name: ids.get(name, value) for name, value in row.items()}).save()


def test_every_kind_is_imported_and_what_cannot_be_is_told(shop, tables):
    done = {one.name: one for one in import_beat()}
    assert {name: one.outcome for name, one in done.items()} == {
        "often": "imported",
        "nightly": "paused",
        "on that day": "sent once",
        "broken": "left out",
    }
    often, nightly = shop.storage.schedules.find("often"), shop.storage.schedules.find("nightly")
    assert json.loads(often.schedule)["seconds"] == 600
    signature = json.loads(often.signature)
    assert (signature["task"], signature["args"]) == (NAME, [7])
    assert signature["options"] == {"queue": "mail", "expires": 60}
    cron = json.loads(nightly.schedule)
    assert (cron["minute"], cron["hour"], cron["day_of_week"], cron["timezone"]) == ("30", "3", "1-5", "Europe/Rome")
    assert not nightly.enabled
    (line,) = shop.storage.views.page("scheduled")
    assert line.due_ms == int(LATER.timestamp() * 1000)


def test_a_second_import_adds_nothing(shop, tables):
    first, second = list(import_beat()), list(import_beat())
    assert [one.outcome for one in first] == [one.outcome for one in second]
    assert len(shop.schedules.all()) == 2
    assert sum(count.n for count in shop.storage.reader.counts()) == 1


def test_an_entry_that_is_paused_here_stays_so_and_is_told_as_that(shop, tables):
    list(import_beat())
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {PREFIX}periodictask SET enabled = %s WHERE name = %s", [True, "nightly"])
    done = {one.name: one for one in import_beat()}
    assert (done["nightly"].outcome, done["often"].outcome) == ("paused", "imported")
    assert "was paused here" in done["nightly"].note
    assert not shop.storage.schedules.find("nightly").enabled


def test_an_entry_that_is_switched_off_is_live_at_no_moment(shop, tables, monkeypatch):
    monkeypatch.delattr(type(shop.schedules), "pause")
    assert {one.name: one.outcome for one in import_beat()}["nightly"] == "paused"
    assert not shop.storage.schedules.find("nightly").enabled
    shop.schedules.resume("nightly")
    list(import_beat())
    assert not shop.storage.schedules.find("nightly").enabled


def test_the_command_says_what_it_would_do(shop, tables, capsys):
    from django.core.management import call_command

    call_command("liteq", "import_beat", "--", "--dry-run")
    assert "4 entries, nothing was written" in capsys.readouterr().out
    assert shop.schedules.all() == []


def test_without_the_tables_the_command_says_so(shop, site):
    done = site.manage("liteq", "import_beat")
    assert done.returncode == 1
    assert "has no table" in done.stderr
