"""The guide's chapter on configuration: what each setting does, in an app."""

from __future__ import annotations

from datetime import timedelta

import pytest

from liteq import Celery
from liteq.settings import NO_EFFECT, SETTINGS
from liteq.testing import drain

G = "Configuration"


@pytest.mark.celery(
    G, "All 207 settings are accepted; those of brokers and stores that there are not, with one warning"
)
def test_all_names():
    names = {row.celery for row in SETTINGS.values() if row.celery} | NO_EFFECT
    app = Celery("x", set_as_current=False)
    for name in names:
        getattr(app.conf, name)
    assert len(names) >= 205


@pytest.mark.celery(G, "The old upper-case names are understood; old and new ones cannot be mixed")
def test_old_names():
    app = Celery("x", set_as_current=False)
    app.config_from_object({"CELERYD_CONCURRENCY": 7, "CELERY_IGNORE_RESULT": True})
    assert (app.conf.worker_concurrency, app.conf.CELERYD_CONCURRENCY, app.conf.task_ignore_result) == (7, 7, True)


VALUES = [
    ({"task_serializer": "yaml"}, "serializer", "yaml", "`task_serializer`", None),
    ({"task_compression": "gzip"}, "compression", "gzip", "`task_compression`", None),
    ({"task_ignore_result": True}, "ignore_result", True, "`task_ignore_result`", None),
    ({"task_track_started": True}, "track_started", True, "`task_track_started`", None),
    ({"task_default_rate_limit": "9/m"}, "rate_limit", "9/m", "`task_default_rate_limit`", None),
    ({"task_acks_late": False}, "acks_late", False, "`task_acks_late`", "True by default"),
    ({"task_reject_on_worker_lost": False}, "reject_on_worker_lost", False, "`task_reject_on_worker_lost`", None),
    (
        {"task_store_errors_even_if_ignored": True}, "store_errors_even_if_ignored", True,
        "`task_store_errors_even_if_ignored`", "errors are always kept, as dead letters",
    ),
    ({"task_annotations": {"*": {"rate_limit": "3/s"}}}, "rate_limit", "3/s", "`task_annotations` as a dict", None),
    ({"task_annotations": [lambda task: {"time_limit": 5}]}, "time_limit", 5, "`task_annotations` as a list", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "attribute", "value"),
    [
        pytest.param(settings, attribute, value, marks=pytest.mark.celery(G, text, differs=differs), id=text.strip("`"))
        for settings, attribute, value, text, differs in VALUES
    ],
)
def test_what_a_task_is_told(fresh, settings, attribute, value):
    fresh.conf.update(settings)
    task = fresh.task(name="configured")(lambda: 1)
    fresh.finalize()
    assert getattr(task, attribute) == value


@pytest.mark.celery(G, "`task_time_limit` and `task_soft_time_limit` are those of workers")
def test_limits(fresh):
    from liteq.worker import Worker

    fresh.conf.update(task_time_limit=20, task_soft_time_limit=10)
    worker = Worker(fresh)
    assert worker.limits == (20, 10)
    worker._signals.restore()


@pytest.mark.celery(G, "`result_expires` takes seconds or a timedelta; a day by default")
def test_result_expires(fresh):
    assert fresh.conf.result_expires == 86400
    fresh.conf.result_expires = timedelta(hours=2)
    assert fresh.conf.result_expires == 7200


@pytest.mark.celery(G, "Results older than `result_expires` go")
def test_expired(tmp_path):
    from liteq.testing import FakeClock

    clock = FakeClock()
    app = Celery("x", broker=f"sqlite:///{tmp_path}/x.db", clock=clock, set_as_current=False, result_expires=60)
    result = app.task(name="soon.gone")(lambda: 1).delay()
    drain(app)
    clock.advance(61)
    app.backend.cleanup()
    assert not app.AsyncResult(result.id).exists()
    app.close()


@pytest.mark.celery(G, "`accept_content` and `result_accept_content` say what is read", differs="JSON always is")
def test_accept_content(fresh):
    from liteq.exceptions import SecurityError

    fresh.conf.update(accept_content=["json", "pickle"], result_accept_content=["json"], pickle_key="k" * 32)
    data = fresh.content.write({1, 2}, "pickle", None, what="a value")
    assert fresh.content.read(data) == {1, 2}
    with pytest.raises(SecurityError):
        fresh.result_content.read(data)


@pytest.mark.celery(G, "`result_serializer` and `result_compression`")
def test_result_serializer(fresh):
    fresh.conf.update(
        result_serializer="pickle", result_compression="gzip", accept_content=["pickle"], pickle_key="k" * 32
    )
    result = fresh.task(name="a.set")(lambda: {1, 2}).delay()
    drain(fresh)
    assert result.get() == {1, 2}


@pytest.mark.celery(G, "pickle", differs="only with `pickle_key`: what is read must be signed")
def test_pickle(fresh):
    from liteq.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured, match="pickle_key"):
        fresh.task(name="pickled", serializer="pickle")(lambda x: x).delay({1})


@pytest.mark.celery(G, "`timezone` and `enable_utc`; Django's TIME_ZONE where there is none")
def test_timezone():
    app = Celery("x", set_as_current=False)
    app.config_from_object({"CELERY_ENABLE_UTC": True, "TIME_ZONE": "Asia/Tokyo"}, namespace="CELERY")
    assert str(app.timezone) == "Asia/Tokyo"


@pytest.mark.celery(
    G, "`broker_transport_options['visibility_timeout']`", differs="a lease is extended while its task runs"
)
def test_visibility_timeout(fresh):
    fresh.conf.broker_transport_options = {"visibility_timeout": 120}
    assert fresh.conf.visibility_timeout == 120


@pytest.mark.celery(G, "`imports` and `include` are modules that workers import")
def test_imports(fresh, tmp_path, monkeypatch):
    (tmp_path / "guide_imported.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    fresh.conf.imports = ("guide_imported",)
    fresh.import_tasks()
    import sys

    assert sys.modules["guide_imported"].loaded


@pytest.mark.celery(G, "`worker_log_format`, `worker_task_log_format`, `worker_log_datefmt`, `worker_log_color`")
def test_log_formats(fresh):
    from liteq.utils.log import TaskFormatter

    line = TaskFormatter(fresh.conf.worker_task_log_format)
    import logging

    record = logging.LogRecord("x", logging.INFO, __file__, 1, "hello", None, None)
    assert "???[???]: hello" in line.format(record)


@pytest.mark.celery(G, "CELERY_BROKER_URL of the environment goes before the app's code")
def test_environment(monkeypatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "sqlite:///from-the-environment.db")
    app = Celery("x", broker="sqlite:///code.db", set_as_current=False)
    assert app.conf.broker_url == "sqlite:///from-the-environment.db"
