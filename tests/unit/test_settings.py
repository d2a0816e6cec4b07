"""Settings: every name Celery has is taken, a bad value is one clear line, reading is an attribute."""

from __future__ import annotations

import logging
import subprocess
import sys
import types
from datetime import timedelta
from pathlib import Path

import pytest

import liteq
from liteq.exceptions import ImproperlyConfigured
from liteq.settings import NO_EFFECT, SETTINGS, Conf, Given, Source, canonical, read_object


@pytest.fixture
def conf():
    return Conf()


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "liteq.settings")
    return lambda: [record.getMessage() for record in caplog.records]


# -- the table -------------------------------------------------------------------------------------------------------


def test_all_207_settings_of_celery_are_known():
    celery = {row.celery for row in SETTINGS.values() if row.celery} | NO_EFFECT
    assert len(celery) == 207
    assert not NO_EFFECT & SETTINGS.keys()


@pytest.mark.parametrize("row", SETTINGS.values(), ids=SETTINGS)
def test_every_default_is_a_value_that_its_setting_takes(row):
    assert row.check(row.default) == row.default
    assert row.doc.endswith(".")
    assert row.allowed


def test_the_documented_defaults(conf):
    assert conf.task_default_queue == "celery"
    assert conf.task_acks_late is True  # a task whose worker died runs again, unlike Celery's default
    assert (conf.durability, conf.visibility_timeout, conf.busy_timeout) == ("durable", 60, 30)
    assert (conf.max_payload_bytes, conf.max_result_bytes, conf.max_traceback_bytes) == (2**20, 2**20, 2**16)
    assert (conf.max_nesting, conf.max_crashes, conf.max_reaps) == (100, 3, 10)
    assert (conf.result_expires, conf.dead_expires) == (86_400, 30 * 86_400)


# -- values ----------------------------------------------------------------------------------------------------------


def test_text_becomes_the_type_of_its_setting(conf):
    conf.update(worker_concurrency="4", task_always_eager="true", visibility_timeout="2.5", imports="a, b")
    assert (conf.worker_concurrency, conf.task_always_eager, conf.visibility_timeout) == (4, True, 2.5)
    assert conf.imports == ("a", "b")


def test_a_timedelta_is_taken_for_seconds(conf):
    conf.result_expires = timedelta(hours=1)
    assert conf.result_expires == 3600


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("durability", "safe", "'durable' or 'strict' or 'relaxed'"),
        ("max_crashes", 0, "a whole number from 1"),
        ("max_crashes", "many", "a whole number from 1"),
        ("worker_concurrency", True, "a whole number from 0, or None"),
        ("worker_concurrency", 2.5, "a whole number from 0, or None"),
        ("visibility_timeout", float("nan"), "a number from 1 (seconds, or text as '5m')"),
        ("busy_timeout", float("inf"), "a number from 0 (seconds, or text as '5m')"),
        ("max_nesting", 5000, "from 4 up to 200"),
        ("max_payload_bytes", 10, "(bytes)"),
        ("durability", "sometimes", "'strict'"),
        ("beat_schedule", [], "dict"),
    ],
)
def test_a_bad_value_is_refused_with_name_value_and_what_is_allowed(conf, name, value, allowed):
    with pytest.raises(ImproperlyConfigured) as caught:
        conf[name] = value
    message = str(caught.value)
    assert message.startswith(f"the setting {name} = {value!r} is not allowed: it takes ")
    assert allowed in message
    assert "\n" not in message


def test_one_bad_value_leaves_everything_as_it_was(conf):
    with pytest.raises(ImproperlyConfigured):
        conf.update({"task_always_eager": True, "durability": "safe"})
    assert conf.task_always_eager is False


def test_visibility_timeout_is_also_read_from_the_transport_options(conf):
    conf.broker_transport_options = {"visibility_timeout": 3600}
    assert conf.visibility_timeout == 3600
    conf.update(broker_transport_options={"visibility_timeout": 5}, visibility_timeout=7)
    assert conf.visibility_timeout == 7


def test_a_bad_timeout_in_the_transport_options_changes_nothing(conf):
    with pytest.raises(ImproperlyConfigured, match="visibility_timeout"):
        conf.broker_transport_options = {"visibility_timeout": -1}
    assert conf.broker_transport_options == {}


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CELERY_TASK_ALWAYS_EAGER", "CELERY_TASK_ALWAYS_EAGER"),  # never was an old name
        ("CELERY_ALWAYS_EAGER", "task_always_eager"),
        ("CELERYD_CONCURRENCY", "worker_concurrency"),
        ("CELERYBEAT_SCHEDULE", "beat_schedule"),
        ("BROKER_URL", "broker_url"),
        ("CELERY_RESULT_BACKEND", "result_backend"),
        ("CELERY_TASK_RESULT_EXPIRES", "result_expires"),
        ("CELERYD_TASK_TIME_LIMIT", "task_time_limit"),
        ("CELERY_SEND_EVENTS", "worker_send_task_events"),
        ("CELERY_EAGER_PROPAGATES_EXCEPTIONS", "task_eager_propagates"),
        ("task_always_eager", "task_always_eager"),
        ("mine", "mine"),
    ],
)
def test_celerys_old_names_mean_the_new_ones(old, new):
    assert canonical(old) == new


def test_an_old_name_reads_and_writes_the_new_setting(conf):
    conf.CELERYD_CONCURRENCY = 3
    assert conf.worker_concurrency == conf["worker_concurrency"] == conf.CELERYD_CONCURRENCY == 3
    assert "CELERYD_CONCURRENCY" in conf


def test_a_setting_without_effect_reads_celery_s_default(conf):
    assert conf.task_protocol == conf["task_protocol"] == conf.get("task_protocol") == conf.CELERY_TASK_PROTOCOL == 2
    assert conf.result_backend_max_retries == float("inf")
    assert conf.first("broker_use_ssl", "broker_connection_retry") is False
    assert "task_protocol" in conf
    assert conf.redis_host is None, "Celery's default, too"
    assert "task_protocol" not in conf.changes()
    conf.task_protocol = 1
    assert conf.task_protocol == 1
    del conf["task_protocol"]
    assert conf.task_protocol == 2
    assert conf.pop("task_protocol", None) == 2, "nobody has set it"


def test_a_default_that_a_program_changes_in_place_is_nobody_else_s(conf):
    conf.task_publish_retry_policy["max_retries"] = 99
    assert conf.task_publish_retry_policy["max_retries"] == 3


def test_settings_of_other_brokers_are_named_once_in_one_warning(conf, lines):
    conf.update(broker_pool_limit=10, redis_host="localhost", task_always_eager=True)
    conf.update(broker_pool_limit=20)
    assert lines() == ["accepted for Celery's sake, without effect in liteq: broker_pool_limit, redis_host"]
    assert conf.broker_pool_limit == 20
    assert conf.broker_heartbeat == 120, "Celery's default"


def test_keys_of_the_users_own_are_kept_without_a_word(conf, lines):
    conf.update(my_bucket="b", SITE_ID=1)
    assert (conf.my_bucket, conf["SITE_ID"]) == ("b", 1)
    assert lines() == []


def test_a_misspelt_name_is_answered_with_the_nearest(conf, lines):
    conf.task_alway_eager = True
    assert lines() == ["'task_alway_eager' is not a setting of liteq; did you mean 'task_always_eager'?"]
    with pytest.raises(AttributeError, match="did you mean 'task_default_queue'"):
        _ = conf.task_defualt_queue
    with pytest.raises(KeyError):
        _ = conf["task_defualt_queue"]
    assert conf.get("task_defualt_queue", "x") == "x"


# -- who said so -----------------------------------------------------------------------------------------------------


def test_the_environment_outranks_the_app_and_the_command_line_both(conf, lines):
    conf.apply({"max_crashes": 5}, Source.ENVIRONMENT, "LITEQ_MAX_CRASHES")
    conf.max_crashes = 7
    assert conf.max_crashes == 5
    assert lines() == ["max_crashes is set by LITEQ_MAX_CRASHES; the value of the app is not used"]
    conf.apply({"max_crashes": 9}, Source.COMMAND_LINE, "the command line")
    assert conf.given("max_crashes") == Given(9, Source.COMMAND_LINE, "the command line")
    assert conf.given("max_reaps") == Given(10, Source.DEFAULT, "default")


def test_deleting_brings_the_default_back(conf):
    conf.max_crashes = 7
    del conf.max_crashes
    assert conf.max_crashes == 3
    conf.update(mine=1, max_crashes=7)
    conf.clear()
    assert conf.max_crashes == 3
    assert "mine" not in conf


def test_defaults_are_not_shared_between_apps(conf):
    conf.beat_schedule["a"] = {}
    assert Conf().beat_schedule == {}


def test_a_report_shows_what_was_set_and_hides_secrets(conf):
    conf.update(redis_password="hunter2", max_crashes=7)
    assert conf.table() == {"redis_password": "********", "max_crashes": 7}
    assert conf.table(with_defaults=True)["durability"] == "durable"
    assert "hunter2" not in repr(conf)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:hunter2@db/shop?schema=q", "postgresql://ann:********@db/shop?schema=q"),
        ("postgresql://ann:hunt@er2@db/shop", "postgresql://ann:********@db/shop"),
        (
            "postgresql://db/shop?user=ann&password=hunter2&sslmode=require",
            "postgresql://db/shop?user=ann&password=********&sslmode=require",
        ),
        ("redis://:hunter2@cache:6379/0", "redis://:********@cache:6379/0"),
        ("postgresql://ann@db:5432/shop", "postgresql://ann@db:5432/shop"),
        ("sqlite:////srv/a:b@c/q.db", "sqlite:////srv/a:b@c/q.db"),
    ],
)
def test_a_report_hides_the_password_of_a_url(conf, url, shown):
    conf.update(broker_url=url)
    assert conf.table()["broker_url"] == shown
    assert conf.table(censored=False)["broker_url"] == url


def test_addresses_that_hold_secrets_are_not_shown(conf):
    conf.update(alert_to=["https://chat.example/hooks/s3cret"], alert_smtp="smtp://liteq:s3cret@mail.example")
    assert "s3cret" not in conf.humanize()


def test_a_report_hides_secrets_inside_of_settings(conf):
    conf.update(
        PAYMENT_API="s3cret", signature_of_hooks="s3cret", database_url="postgresql://ann:s3cret@db/shop",
        broker_transport_options={"sentinel_kwargs": {"password": "s3cret"}, "visibility_timeout": 60},
        mirrors=["postgresql://ann:s3cret@db/shop", {"token": "s3cret", "region": "eu"}],
    )  # fmt: skip
    shown = conf.table()
    assert "s3cret" not in repr(shown)
    assert shown["broker_transport_options"] == {"sentinel_kwargs": {"password": "********"}, "visibility_timeout": 60}
    assert shown["mirrors"] == ["postgresql://ann:********@db/shop", {"token": "********", "region": "eu"}]
    assert conf.mirrors[1]["token"] == "s3cret"


def test_names_of_tasks_and_queues_are_no_secrets(conf):
    queues, routes = {"api": {"exchange": "x"}}, [{"shop.api.*": "api"}]
    conf.update(task_queues=queues, task_routes=routes, task_annotations={"shop.pass_on": {"rate_limit": "1/s"}})
    assert (conf.table()["task_queues"], conf.table()["task_routes"]) == (queues, routes)
    assert conf.table()["task_annotations"] == {"shop.pass_on": {"rate_limit": "1/s"}}


# -- read_object -----------------------------------------------------------------------------------------------------


def test_an_objects_settings_are_read_by_present_names():
    class Config:
        BROKER_URL = "sqlite:///a.db"
        task_always_eager = True
        CELERY_ALWAYS_EAGER = False  # the present name wins
        MINE = 1
        _private = 2

        def helper(self):
            """Code, not a setting."""

    assert read_object(Config) == {"broker_url": "sqlite:///a.db", "task_always_eager": True, "MINE": 1}


def test_a_namespace_picks_the_names_that_begin_with_it(lines):
    source = {"CELERY_TASK_ALWAYS_EAGER": True, "CELERY_BROKER_URL": "x", "DEBUG": True, "CELERY_ACKS_LATE": 1}
    found = read_object(source, namespace="CELERY")
    assert found == {"task_always_eager": True, "broker_url": "x", "acks_late": 1}
    assert lines() == ["CELERY_ACKS_LATE is an old name, without effect here: write CELERY_TASK_ACKS_LATE"]


def test_only_the_namespaces_attributes_are_touched():
    class Lazy:
        CELERY_TIMEZONE = "UTC"

        @property
        def SECRET_KEY(self):
            raise RuntimeError

    assert read_object(Lazy(), namespace="CELERY_") == {"timezone": "UTC"}
    assert read_object(Lazy()) == {"timezone": "UTC"}


def test_a_module_is_found_by_name(monkeypatch):
    module = types.ModuleType("fake_celeryconfig")
    module.__dict__.update(timezone="UTC", math=sys, Production=types.SimpleNamespace(task_default_queue="p"))
    monkeypatch.setitem(sys.modules, "fake_celeryconfig", module)
    assert read_object("fake_celeryconfig")["timezone"] == "UTC"
    assert "math" not in read_object("fake_celeryconfig")
    assert read_object("fake_celeryconfig:Production") == {"task_default_queue": "p"}
    assert read_object("fake_celeryconfig.Production") == {"task_default_queue": "p"}


@pytest.mark.parametrize("name", ["no_such_module", "no_such_module:x", "os:nothing", "os.nothing", ":x", ""])
def test_a_name_that_leads_nowhere_is_said_in_one_line(name):
    with pytest.raises(ImproperlyConfigured, match="read settings from"):
        read_object(name)


def test_an_error_inside_the_module_is_its_own(tmp_path, monkeypatch):
    (tmp_path / "broken_config.py").write_text("import a_missing_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_missing_dependency"):
        read_object("broken_config")


# -- cost ------------------------------------------------------------------------------------------------------------


def test_values_of_the_right_type_do_not_import_pydantic():
    code = (
        "import sys; from liteq.settings import Conf; import liteq.settings.sources as s; "
        "Conf({'task_always_eager': True, 'worker_concurrency': 2, 'result_expires': 5}); s.load(environ={}); "
        "sys.exit('pydantic' in sys.modules)"
    )
    root = str(Path(liteq.__file__).parents[1])
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
