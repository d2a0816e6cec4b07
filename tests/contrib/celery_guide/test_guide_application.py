"""The guide's chapters on the application, on signals and on testing."""

from __future__ import annotations

import os
import sys
import types

import pytest

from liteq import Celery, Task, current_app, shared_task, signals
from liteq.exceptions import ImproperlyConfigured, NotRegistered
from liteq.schedules import crontab
from liteq.testing import drain

W = 60  # for one result, on a busy machine


# -- the app ---------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Application", "Several apps live in one process, each with its own settings")
def test_apps():
    one = Celery("one", broker="sqlite:///a.db", set_as_current=False)
    two = Celery("two", broker="sqlite:///b.db", set_as_current=False)
    assert one.conf.broker_url != two.conf.broker_url


@pytest.mark.celery(
    "Application", "The workers of an app run the tasks of other apps in their process, but for `shared=False`",
    differs="one that has limits, or `isolate`, waits for a worker of its own app",
)  # fmt: skip
def test_tasks_of_another_app(tmp_path):
    """As where a module makes an app for its tasks, and the factory of a web framework one for the workers."""
    broker = f"sqlite:///{tmp_path}/q.db"

    class InContext(Task):
        def __call__(self, *args, **kwargs):
            return ["in context", self.run(*args, **kwargs)]

    class Twice(Task):
        def __call__(self, *args, **kwargs):
            return self.run(*args, **kwargs) * 2

    modules = Celery("modules", broker=broker, set_as_current=False)
    factorys = Celery("factorys", broker=broker, set_as_current=False, task_cls=InContext)
    add = modules.task(name="theirs.add")(lambda x, y: x + y)
    twice = modules.task(name="theirs.twice", base=Twice, bind=True)(lambda self, x: x + self.max_retries)
    modules.task(name="theirs.own", shared=False)(lambda: 1)
    modules.task(name="theirs.alone", max_concurrency=1)(lambda: 1)
    sent = add.delay(2, 3), twice.delay(1)
    drain(factorys)
    assert [one.get(timeout=W) for one in sent] == [["in context", 5], 8]
    assert factorys.tasks["theirs.add"].app is factorys
    assert add.app is modules
    for name in ("theirs.own", "theirs.alone"):
        with pytest.raises(NotRegistered):
            factorys.tasks[name]


@pytest.mark.celery("Application", "`main` names tasks of a module that is run as a script")
def test_main():
    app = Celery("tasks", broker="sqlite:///a.db", set_as_current=False)
    assert app.gen_task_name("add", "__main__") == "tasks.add"
    assert app.main == "tasks"


@pytest.mark.celery("Application", "`app.conf.x = y`, `app.conf.update(x=)`, `app.conf['x']`")
def test_conf():
    app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
    app.conf.timezone = "Europe/London"
    app.conf.update(enable_utc=True, result_expires=60)
    app.conf["task_track_started"] = True
    assert (app.conf.timezone, app.conf.result_expires, app.conf.task_track_started) == ("Europe/London", 60, True)


@pytest.mark.celery("Application", "`config_from_object` takes a module, its name, a class, an object, a dict")
def test_config_from_object(monkeypatch):
    module = types.ModuleType("celeryconfig_of_the_guide")
    module.result_expires = 11
    monkeypatch.setitem(sys.modules, module.__name__, module)

    class Config:
        result_expires = 11

    for source in (module, module.__name__, Config, Config(), {"result_expires": 11}):
        app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
        app.config_from_object(source)
        assert app.conf.result_expires == 11


@pytest.mark.celery("Application", "`config_from_object('module:attribute')`, with `namespace=`")
def test_config_namespace(monkeypatch):
    module = types.ModuleType("settings_of_the_guide")
    module.Production = type("Production", (), {"CELERY_RESULT_EXPIRES": 12, "DEBUG": 1})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
    app.config_from_object("settings_of_the_guide:Production", namespace="CELERY")
    assert app.conf.result_expires == 12


@pytest.mark.celery(
    "Application", "With a namespace `conf` also knows names as the object has them, and its other ones"
)
def test_names_behind_a_namespace():
    class Source:
        CELERY_TASK_TIME_LIMIT = 7
        CELERY_ONCE = {"backend": "file"}
        MEDIA_ROOT = "/media"

    app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
    app.config_from_object(Source, namespace="CELERY")
    app.conf.task_soft_time_limit = 5
    names = ("task_time_limit", "TASK_TIME_LIMIT", "CELERY_TASK_TIME_LIMIT", "CELERY_TASK_SOFT_TIME_LIMIT")
    assert [getattr(app.conf, name) for name in names] == [7, 7, 7, 5]
    assert app.conf.ONCE == app.conf.CELERY_ONCE == app.conf["once"] == {"backend": "file"}
    assert ("MEDIA_ROOT" in app.conf, app.conf.MEDIA_ROOT, app.conf.get("STATIC_ROOT")) == (True, "/media", None)
    with pytest.raises(AttributeError, match="STATIC_ROOT"):
        _ = app.conf.STATIC_ROOT
    assert "MEDIA_ROOT" not in app.conf.table(with_defaults=True)
    app.config_from_object({"MEDIA_ROOT": "/media"}, namespace="CELERY")
    assert app.conf.MEDIA_ROOT == "/media"


@pytest.mark.celery("Application", "`config_from_object(name, silent=True)`: a module that may be missing")
def test_config_silent():
    app = Celery("x", set_as_current=False)
    app.config_from_object("settings_of_nobody", silent=True)
    assert app.conf.task_serializer == "json"
    app.config_from_object("settings_of_nobody", silent=True)
    with pytest.raises(ModuleNotFoundError, match="settings_of_nobody"):
        app.config_from_object("settings_of_nobody")
    strict = Celery("x", set_as_current=False)
    strict.config_from_object("settings_of_nobody")
    with pytest.raises(ModuleNotFoundError, match="settings_of_nobody"):
        _ = strict.conf.task_serializer


@pytest.mark.celery("Application", "`create_task_cls()` and `subclass_with_self()` of a class of apps")
def test_create_task_cls():
    class Tenants(Celery):
        def create_task_cls(self):
            return self.subclass_with_self("liteq.app.task:Task", name="TenantTask", attribute="_app", keep_reduce=True)

    app = Tenants("x", broker="sqlite:///a.db", set_as_current=False)
    made = app.task(name="of.tenants")(lambda: 1)
    assert (app.Task.__name__, isinstance(made, app.Task), made.app is app) == ("TenantTask", True, True)


def test_small_questions_to_an_app(app):
    assert app.either("task_serializer") == "json"
    assert app.either("task_serializer", None, "yaml") == "yaml"
    with app.producer_pool.acquire(block=True) as producer, app.broker_connection() as connection:
        assert producer is not None
        assert connection.ensure_connection() is not None
    with pytest.raises(ImproperlyConfigured, match="liteq_crypt"):
        app.setup_security()


@pytest.mark.celery("Application", "`config_from_envvar` reads the module that a variable names")
def test_config_from_envvar(monkeypatch):
    module = types.ModuleType("env_config_of_the_guide")
    module.result_expires = 13
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("GUIDE_CONFIG_MODULE", module.__name__)
    app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
    app.config_from_envvar("GUIDE_CONFIG_MODULE")
    assert app.conf.result_expires == 13
    with pytest.raises(ImproperlyConfigured):
        app.config_from_envvar("NOT_SET_AT_ALL")


@pytest.mark.celery("Application", "Settings may be given before they are read: an app is configured when first asked")
def test_lazy_configuration():
    app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
    app.config_from_object("no_such_module_at_all")
    assert not app.configured
    with pytest.raises(ImproperlyConfigured):
        app.conf.result_expires  # noqa: B018


@pytest.mark.celery("Application", "`conf.humanize()` and `conf.table()` hide what looks like a secret")
def test_censored():
    app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
    app.conf.update(redis_password="hunter2", task_track_started=True)
    assert "hunter2" not in app.conf.humanize(with_defaults=False, censored=True)
    assert app.conf.table(censored=True)["redis_password"] == "********"


@pytest.mark.celery("Application", "Tasks are finalized when the app is first used; `on_after_finalize` tells")
def test_finalize():
    app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
    seen = []
    app.on_after_finalize.connect(lambda sender, **_: seen.append(sender), weak=False)
    app.task(name="late")(lambda: 1)
    assert not app.finalized
    assert "late" in app.tasks
    assert (app.finalized, seen) == (True, [app])


@pytest.mark.celery("Application", "`on_after_configure` tells that the settings are there")
def test_on_after_configure():
    app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
    seen = []
    app.on_after_configure.connect(lambda sender, **_: seen.append(sender.conf.result_expires), weak=False)
    app.conf.result_expires = 5
    assert app.conf.result_expires == 5
    assert seen == [5]


@pytest.mark.celery("Application", "A class of apps with `on_init()` and `on_configure()`, as error trackers have them")
def test_hooks_of_a_class():
    called = []

    class Tracked(Celery):
        def on_init(self):
            called.append((self.main, "init"))

        def on_configure(self):
            called.append((self.main, "configure"))

    app = Tracked("tracked", broker="sqlite:///a.db", set_as_current=False)
    assert called == [("tracked", "init")]
    assert app.conf.result_expires
    assert app.conf.task_serializer == "json"
    assert called == [("tracked", "init"), ("tracked", "configure")]


@pytest.mark.celery("Application", "`current_app` is the app that was set last, `set_default` is for all threads")
def test_current_app(app):
    mine = Celery("mine", broker="sqlite:///a.db")
    assert current_app.main == "mine"
    app.set_current()
    assert current_app.main == "guide"
    assert mine is not app


@pytest.mark.celery("Application", "An unknown task raises NotRegistered")
def test_not_registered(app):
    with pytest.raises(NotRegistered):
        app.tasks["no.such.task"]


@pytest.mark.celery("Application", "`autodiscover_tasks` imports the module `tasks` of packages, or another one")
def test_autodiscover(tmp_path, monkeypatch):
    for package, module in (("guide_shop", "tasks"), ("guide_mail", "jobs")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / f"{module}.py").write_text(
            f"from liteq import shared_task\n@shared_task(name='{package}.one')\ndef one(): ...\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    app = Celery("x", broker="sqlite:///a.db", set_as_current=False)
    app.autodiscover_tasks(["guide_shop"])
    app.autodiscover_tasks(lambda: ["guide_mail"], related_name="jobs")
    app.import_tasks()
    assert {"guide_shop.one", "guide_mail.one"} <= set(app.tasks)


@pytest.mark.celery("Application", "Pickling a task gives the task of that name")
def test_pickle(app, add):
    import pickle

    app.set_current()
    assert pickle.loads(pickle.dumps(add)) is app.tasks["guide.add"]


@pytest.mark.celery("Application", "An app is a context manager, and can be closed")
def test_close(tmp_path):
    with Celery("x", broker=f"sqlite:///{tmp_path}/a.db", set_as_current=False) as app:
        app.task(name="closing")(lambda: 1).delay()
    assert os.path.exists(tmp_path / "a.db")


@pytest.mark.celery("Application", "An abstract task class is no task; `shared_task(base=)`")
def test_abstract():
    class Base(Task):
        abstract = True
        answer = 7

    shared = shared_task(base=Base, name="guide.shared_base")(lambda: 1)
    assert shared.answer == 7


# -- signals ---------------------------------------------------------------------------------------------------------

ALL_SIGNALS = """
before_task_publish after_task_publish task_prerun task_postrun task_success task_retry task_failure
task_internal_error task_received task_revoked task_unknown task_rejected import_modules celeryd_init
celeryd_after_setup worker_init worker_before_create_process worker_ready heartbeat_sent worker_shutting_down
worker_process_init worker_process_shutdown worker_shutdown beat_init beat_embedded_init eventlet_pool_started
eventlet_pool_preshutdown eventlet_pool_postshutdown eventlet_pool_apply setup_logging after_setup_logger
after_setup_task_logger
""".split()


@pytest.mark.celery("Signals", "Every signal of Celery's can be imported and connected to")
def test_all_signals():
    for name in ALL_SIGNALS:
        assert hasattr(getattr(signals, name), "connect"), name


@pytest.fixture
def heard():
    """Connect to signals for one test; what was sent, as (name, arguments)."""
    seen, undo = [], []

    def listen(*names):
        for name in names:

            def receiver(sender=None, *, _name=name, **named):
                seen.append((_name, sender, named))

            signal = getattr(signals, name)
            signal.connect(receiver, weak=False)
            undo.append((signal, receiver))
        return seen

    yield listen
    for signal, receiver in undo:
        signal.disconnect(receiver)


@pytest.mark.celery("Signals", "before_task_publish and after_task_publish, with body, headers, exchange, routing_key")
def test_publish_signals(fresh, heard):
    seen = heard("before_task_publish", "after_task_publish")
    task = fresh.task(name="signals.sent")(lambda x: x)
    result = task.delay(2)
    assert [name for name, *_ in seen] == ["before_task_publish", "after_task_publish"]
    for _, sender, named in seen:
        assert sender == "signals.sent"
        assert named["headers"]["id"] == result.id
        assert named["body"][:2] == ([2], {})
        assert named["routing_key"] == "celery"


@pytest.mark.celery("Signals", "task_prerun, task_success and task_postrun around a task")
def test_run_signals(fresh, heard):
    seen = heard("task_prerun", "task_success", "task_postrun")
    task = fresh.task(name="signals.run")(lambda x: x)
    result = task.delay(2)
    drain(fresh)
    assert [name for name, *_ in seen] == ["task_prerun", "task_success", "task_postrun"]
    prerun, success, postrun = (named for *_, named in seen)
    assert (prerun["task_id"], prerun["task"].name, list(prerun["args"])) == (result.id, "signals.run", [2])
    assert (success["result"], postrun["state"], postrun["retval"]) == (2, "SUCCESS", 2)


@pytest.mark.celery("Signals", "task_failure, with exception, args, kwargs, traceback, einfo")
def test_task_failure(fresh, heard):
    seen = heard("task_failure")
    fresh.task(name="signals.fails")(lambda: 1 / 0).delay()
    drain(fresh)
    ((_, sender, named),) = seen
    assert sender.name == "signals.fails"
    assert isinstance(named["exception"], ZeroDivisionError)
    assert {"task_id", "args", "kwargs", "traceback", "einfo"} <= named.keys()


@pytest.mark.celery("Signals", "task_retry, with request, reason, einfo")
def test_task_retry(fresh, heard):
    seen = heard("task_retry")

    @fresh.task(bind=True, name="signals.retries")
    def retries(self):
        if not self.request.retries:
            raise self.retry(exc=OSError("later"), countdown=0)

    retries.delay()
    drain(fresh)
    ((_, _sender, named),) = seen
    assert {"request", "reason", "einfo"} <= named.keys()


@pytest.mark.celery("Signals", "A receiver may be connected for one sender only: the task's name or the task")
def test_sender(fresh):
    seen = []
    one, two = (fresh.task(name=f"signals.{n}")(lambda: 1) for n in ("one", "two"))

    @signals.task_prerun.connect(sender=one)
    def receiver(sender=None, **_):
        seen.append(sender.name)

    one.delay()
    two.delay()
    drain(fresh)
    signals.task_prerun.disconnect(receiver, sender=one)
    assert seen == ["signals.one"]


@pytest.mark.celery("Signals", "What a receiver raises is logged and hurts nobody")
def test_receiver_raises(fresh):
    def receiver(**_):
        raise RuntimeError("not today")

    signals.task_prerun.connect(receiver, weak=False)
    try:
        result = fresh.task(name="signals.robust")(lambda: 5).delay()
        drain(fresh)
        assert result.get(timeout=W) == 5
    finally:
        signals.task_prerun.disconnect(receiver)


# -- testing ---------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Testing", "`task_always_eager`: `delay` runs the task here; EagerResult")
def test_always_eager(fresh):
    fresh.conf.task_always_eager = True
    result = fresh.task(name="testing.eager")(lambda x: x).delay(3)
    assert (result.get(), result.state) == (3, "SUCCESS")


@pytest.mark.celery("Testing", "`task_eager_propagates`: it raises what the task raises")
def test_eager_propagates(fresh):
    fresh.conf.update(task_always_eager=True)
    task = fresh.task(name="testing.broken")(lambda: 1 / 0)
    assert task.delay().failed()
    fresh.conf.update(task_eager_propagates=True)
    with pytest.raises(ZeroDivisionError):
        task.delay()


@pytest.mark.celery("Testing", "Eager tasks retry, link and run whole workflows")
def test_eager_workflow(fresh):
    from liteq import chain, chord

    fresh.conf.task_always_eager = True
    add = fresh.task(name="testing.add")(lambda x, y: x + y)
    total = fresh.task(name="testing.total")(sum)
    assert chain(add.s(1, 1), add.s(2)).delay().get() == 4
    assert chord([add.s(1, 1), add.s(2, 2)], total.s()).delay().get() == 6


@pytest.mark.celery("Testing", "A task's body is tested by calling it; `apply()` runs it with hooks and retries")
def test_body(fresh):
    @fresh.task(bind=True, name="testing.flaky", default_retry_delay=0)
    def flaky(self):
        if not self.request.retries:
            raise self.retry(exc=OSError("once"))
        return self.request.retries

    assert flaky.apply().get() == 1


@pytest.mark.celery("Testing", "`start_worker(app)` runs a worker in a thread", differs="imported from `liteq.testing`")
def test_start_worker(app, run, add):
    assert run(add, 1, 1) == 2


@pytest.mark.celery("Testing", "crontab can be compared and printed")
def test_crontab_repr():
    assert crontab(minute=5) == crontab(minute="5")
    assert "crontab" in repr(crontab(hour=3))
