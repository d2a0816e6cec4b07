"""Celery's settings in an app: every name, old names, mixtures, and what each is good for."""

from __future__ import annotations

import logging
import types
from datetime import timedelta

import pytest

from liteq import LiteQ, Queue
from liteq.exceptions import ImproperlyConfigured, QueueNotFound
from liteq.settings import NO_EFFECT, SETTINGS
from liteq.settings.celery_names import old_name
from liteq.testing import drain, start_worker


@pytest.fixture
def app(tmp_path):
    app = LiteQ("proj", broker=f"sqlite:///{tmp_path}/tasks.db")
    yield app
    app.close()


def configured(settings, **options):
    app = LiteQ("proj", set_as_current=False)
    app.config_from_object(types.SimpleNamespace(**settings) if isinstance(settings, dict) else settings, **options)
    return app.conf


CELERYS = sorted({row.celery for row in SETTINGS.values() if row.celery} | NO_EFFECT)


def test_no_setting_of_celery_s_is_unknown():
    assert len(CELERYS) >= 207 - 5  # a few are said by two names


def test_settings_without_effect_are_named_once(caplog):
    with caplog.at_level(logging.WARNING, "liteq.settings"):
        conf = configured({"broker_pool_limit": 3, "broker_heartbeat": 10}).finalize()
        conf.update(broker_pool_limit=4)
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "broker_pool_limit" in line]) == 1
    assert "broker_heartbeat, broker_pool_limit" in lines[0]


# -- names -----------------------------------------------------------------------------------------------------------


def test_old_names_in_a_module():
    conf = configured(
        {"CELERYD_CONCURRENCY": 3, "CELERY_TASK_RESULT_EXPIRES": timedelta(hours=1), "BROKER_POOL_LIMIT": 1}
    )
    assert conf.worker_concurrency == 3
    assert conf.result_expires == 3600


@pytest.mark.parametrize("name", ["worker_concurrency", "task_serializer", "beat_schedule", "broker_url", "imports"])
def test_old_names_read_as_the_new_ones(name):
    conf = configured({})
    assert conf[old_name(name)] == conf[name]
    assert getattr(conf, old_name(name)) == conf[name]


def test_old_and_new_names_cannot_be_mixed():
    with pytest.raises(ImproperlyConfigured, match="rename CELERYD_CONCURRENCY to worker_concurrency"):
        configured({"CELERYD_CONCURRENCY": 3, "task_ignore_result": True, "task_acks_late": True}).finalize()
    with pytest.raises(ImproperlyConfigured, match="rename task_ignore_result to CELERY_IGNORE_RESULT"):
        configured({"CELERYD_CONCURRENCY": 3, "CELERY_ACKS_LATE": True, "task_ignore_result": True}).finalize()


def test_what_is_said_by_both_names_is_no_mixture():
    conf = configured({"CELERYD_CONCURRENCY": 3, "worker_concurrency": 4, "task_acks_late": True})
    assert conf.worker_concurrency == 4


def test_liteq_s_own_settings_go_with_either():
    assert configured({"CELERYD_CONCURRENCY": 3, "durability": "relaxed"}).durability == "relaxed"


def test_a_mixture_said_in_code_is_refused_too():
    app = LiteQ("proj", set_as_current=False, broker="sqlite:///x.db")
    app.conf.update(task_acks_late=True, CELERYD_CONCURRENCY=3)
    with pytest.raises(ImproperlyConfigured, match="cannot be mixed"):
        app.conf.worker_concurrency  # noqa: B018


def test_a_namespace():
    settings = {"CELERY_TASK_ACKS_LATE": False, "CELERY_WORKER_CONCURRENCY": 2, "DEBUG": True}
    conf = configured(settings, namespace="CELERY")
    assert (conf.task_acks_late, conf.worker_concurrency) == (False, 2)
    assert ("DEBUG" in conf, conf.DEBUG) == (True, True)  # as Celery's `conf` passes through what it was given


def test_django_s_time_zone_is_the_schedules_unless_they_have_their_own():
    assert configured({"TIME_ZONE": "Europe/Paris"}, namespace="CELERY").timezone == "Europe/Paris"
    both = {"TIME_ZONE": "Europe/Paris", "CELERY_TIMEZONE": "Asia/Tokyo"}
    assert configured(both, namespace="CELERY").timezone == "Asia/Tokyo"


def test_questions_that_code_asks_of_celery_s_settings():
    conf = configured({"task_acks_late": False, "broker_url": "sqlite:///x.db"})
    assert conf.value_set_for("task_acks_late")
    assert not conf.value_set_for("imports")
    assert conf.without_defaults()["task_acks_late"] is False
    assert conf.get_by_parts("task", "serializer") == "json"
    assert conf.first("timezone", "task_serializer") == "json"
    assert "task_acks_late: False" in conf.finalize().humanize()


def test_a_copy_of_the_settings_is_none_of_the_app_s(app):
    app.conf.update(task_acks_late=False, beat_schedule={"nightly": {"task": "x", "schedule": 60}}, own=1)
    copied = app.conf.copy()
    assert (copied.task_acks_late, copied["own"], copied.value_set_for("task_acks_late")) == (False, 1, True)
    copied.task_acks_late = True
    copied.beat_schedule.clear()
    assert (app.conf.task_acks_late, list(app.conf.beat_schedule)) == (False, ["nightly"])


# -- what they do ----------------------------------------------------------------------------------------------------


def test_task_inherit_parent_priority(app):
    app.conf.task_inherit_parent_priority = True

    @app.task(bind=True)
    def child(self):
        return self.request.delivery_info["priority"]

    @app.task(priority=2)
    def own():
        return own.request.delivery_info["priority"]

    @app.task
    def parent():
        return child.delay().id, child.apply_async(priority=1).id, own.delay().id

    sent = parent.apply_async(priority=7)
    drain(app)
    assert [app.AsyncResult(id_).get() for id_ in sent.get()] == [7, 1, 2]


def test_task_create_missing_queues(app):
    app.conf.update(task_create_missing_queues=False, task_queues=[Queue("mail")], task_default_queue="mail")

    @app.task
    def send(): ...

    send.delay()
    send.apply_async(queue="mail")
    with pytest.raises(QueueNotFound, match="'post'"):
        send.apply_async(queue="post")


def test_worker_direct(app):
    app.conf.worker_direct = True

    @app.task
    def here():
        return 1

    with start_worker(app, hostname="w1@here", perform_ping_check=False):
        assert here.apply_async(queue="w1@here.dq").get(timeout=60) == 1


def test_result_failure_expires_is_the_age_of_dead_letters(app):
    app.conf.result_failure_expires = timedelta(hours=2)
    assert app.conf.dead_expires == 7200


def test_max_nesting(app):
    app.conf.max_nesting = 5

    @app.task
    def take(x): ...

    take.delay([[1]])
    with pytest.raises(TypeError, match="max_nesting"):
        take.delay([[[[[[1]]]]]])


def test_task_annotations(app):
    app.conf.task_annotations = {"*": {"rate_limit": "9/s"}, "proj.slow": {"time_limit": 3}}

    @app.task(name="proj.slow")
    def slow(): ...

    assert (slow.rate_limit, slow.time_limit) == (None, None)  # as Celery: when the app is finalized
    app.finalize()
    assert (slow.rate_limit, slow.time_limit) == ("9/s", 3)


@pytest.mark.parametrize(
    ("setting", "attribute", "value"),
    [
        ("task_default_rate_limit", "rate_limit", "5/m"),
        ("task_ignore_result", "ignore_result", True),
        ("task_track_started", "track_started", True),
        ("task_acks_late", "acks_late", False),
        ("task_store_errors_even_if_ignored", "store_errors_even_if_ignored", True),
        ("task_reject_on_worker_lost", "reject_on_worker_lost", True),
        ("task_serializer", "serializer", "yaml"),
    ],
)
def test_a_task_has_what_the_setting_says_until_it_says_otherwise(app, setting, attribute, value):
    app.conf[setting] = value

    @app.task
    def any_(): ...

    assert getattr(any_, attribute) == value
