"""Tests of a project change Django's settings after its app has read them: they are in force at once, and then gone."""

from __future__ import annotations

import pytest
from django.test import override_settings

from liteq import LiteQ


@pytest.fixture
def app(tmp_path):
    app = LiteQ("proj", broker=f"sqlite:///{tmp_path / 'queue.db'}", set_as_current=False)
    yield app
    app.close()


def runs_here(app) -> bool:
    """Whether a call is run in the caller's process, and not sent."""
    task = app.tasks.get("settings_changed.one") or app.task(name="settings_changed.one")(lambda: 1)
    return task.delay().state == "SUCCESS"


@pytest.mark.parametrize(("namespace", "prefix"), [("CELERY", "CELERY_"), ("QUEUE", "QUEUE_")])
def test_a_setting_counts_at_once(app, namespace, prefix):
    app.config_from_object("django.conf:settings", namespace=namespace)
    assert not runs_here(app)  # the configuration is read
    with override_settings(**{f"{prefix}TASK_ALWAYS_EAGER": True}):
        assert runs_here(app)
        with override_settings(**{f"{prefix}TASK_ALWAYS_EAGER": False}):
            assert not runs_here(app)
        assert runs_here(app)
    assert not runs_here(app)


def test_a_setting_of_an_app_that_reads_names_without_a_prefix(app):
    app.config_from_object("django.conf:settings")
    assert not runs_here(app)
    with override_settings(CELERY_ALWAYS_EAGER=True):
        assert runs_here(app)
    assert not runs_here(app)


def test_what_the_code_has_assigned_stays(app):
    app.config_from_object("django.conf:settings", namespace="CELERY")
    assert not runs_here(app)
    app.conf.task_eager_propagates = True
    app.conf.task_default_queue = "mine"
    with override_settings(CELERY_TASK_ALWAYS_EAGER=True, CELERY_TASK_DEFAULT_QUEUE="theirs"):
        assert runs_here(app)
        assert app.conf.task_eager_propagates
        assert app.conf.task_default_queue == "theirs"
    assert app.conf.task_eager_propagates


def test_the_time_zone_follows_django_s(app):
    app.config_from_object("django.conf:settings", namespace="CELERY")
    assert str(app.timezone) == "Europe/Berlin"
    with override_settings(TIME_ZONE="Asia/Tokyo"):
        assert str(app.timezone) == "Asia/Tokyo"
    assert str(app.timezone) == "Europe/Berlin"
