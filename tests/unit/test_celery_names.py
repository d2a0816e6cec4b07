"""Celery's names that code of users, libraries and health checks calls: connections, bound classes, and so on."""

from __future__ import annotations

import pickle

import pytest

from liteq import LiteQ, Task, group
from liteq.app.compat.connection import Connection
from liteq.clock import SystemClock
from liteq.context import Request
from liteq.events import Event, State
from liteq.exceptions import ImproperlyConfigured, OperationalError, TimeoutError
from liteq.result import AsyncResult, EagerResult, GroupResult, ResultSet
from liteq.result.graph import DependencyGraph
from liteq.testing import start_worker
from liteq.worker import Worker


@pytest.fixture
def app(tmp_path):
    app = LiteQ("proj", broker=f"sqlite:///{tmp_path}/tasks.db", set_as_current=False)

    @app.task(name="add")
    def add(x, y):
        return x + y

    yield app
    app.close()


@pytest.fixture
def nowhere(tmp_path):
    return LiteQ("proj", broker=f"sqlite:///{tmp_path}/no/such/folder/tasks.db", set_as_current=False)


# -- connections


@pytest.mark.parametrize("name", ["connection", "connection_for_read", "connection_for_write"])
def test_a_health_check_connects(app, name):
    with getattr(app, name)() as connection:
        assert not connection.connected
        assert connection.ensure_connection(max_retries=3) is connection
        assert connection.connected
    assert not connection.connected


def test_a_health_check_is_told_that_the_queue_cannot_be_used(nowhere):
    with nowhere.connection_for_read() as connection, pytest.raises(OperationalError):
        connection.ensure_connection(max_retries=0)
    assert not connection.connected


def test_as_many_retries_as_asked_for_and_the_errback_hears_of_each_pause(nowhere):
    heard = []
    with nowhere.connection() as connection, pytest.raises(OperationalError):
        connection.ensure_connection(
            errback=lambda exc, pause_s: heard.append((type(exc), pause_s)),
            max_retries=2, interval_start=0, interval_step=0.001,
        )  # fmt: skip
    assert [pause_s for _, pause_s in heard] == [0, 0.001]
    assert all(issubclass(cls, OperationalError) for cls, _ in heard)


def test_a_timeout_ends_the_retries(nowhere):
    with nowhere.connection() as connection, pytest.raises(OperationalError):
        connection.ensure_connection(timeout=0.01)


def test_a_connection_that_comes_up_later_is_there(app, tmp_path):
    folder = tmp_path / "later"
    with app.connection(f"sqlite:///{folder}/tasks.db") as connection:
        connection.ensure_connection(errback=lambda *_: folder.mkdir(), max_retries=1, interval_start=0)
        assert connection.connected
    assert (folder / "tasks.db").exists()


def test_release_closes_and_a_released_connection_can_be_used_again(app):
    connection = app.connection()
    connection.connect()
    connection.release()
    assert not connection.connected
    connection.connect()
    assert connection.connected
    connection.close()
    connection.close()


def test_closing_a_connection_leaves_the_app_s_file_open(app):
    result = app.send_task("add", (1, 2))
    with app.connection() as connection:
        connection.ensure_connection()
    assert result.exists()


def test_a_connection_tells_where_the_queue_is(app):
    assert app.connection().as_uri() == app.broker_url
    assert app.broker_url in repr(app.connection())
    with pytest.raises(ImproperlyConfigured):
        LiteQ("none", set_as_current=False).connection().as_uri()
    assert "hunter2" not in repr(app.connection("postgresql://ann:hunter2@db/shop"))
    with pytest.raises(ImproperlyConfigured):
        app.connection("redis://localhost").connect()


def test_the_backend_tells_where_results_are_without_a_password():
    url = "postgresql://ann:hunter2@db/shop"
    backend = LiteQ("shop", broker=url, set_as_current=False).backend
    assert backend.as_uri() == "postgresql://ann:********@db/shop"
    assert backend.as_uri(include_password=True) == url


@pytest.mark.parametrize(
    "several",
    [
        lambda results: (one.id for one in results),
        lambda results: {one.id: one for one in results}.keys(),
        lambda results: GroupResult("group", results),
        lambda results: [results[0], GroupResult("group", results[1:])],
    ],
)
def test_a_revoke_takes_any_iterable_of_ids_and_results(app, several):
    results = [app.send_task("add", (n, n)) for n in range(3)]
    app.control.revoke(several(results))
    assert [one.state for one in results] == ["REVOKED"] * 3


def test_a_signature_stands_for_one_id_in_a_revoke(app):
    """It is a dict, whose keys are no ids."""
    sig = app.signature("add", (1, 2))
    result = sig.freeze()
    sig.apply_async()
    app.control.revoke(sig)
    assert result.state == "REVOKED"


def test_connection_or_acquire_closes_what_it_made_and_nothing_else(app):
    with app.connection() as mine:
        mine.connect()
        with app.connection_or_acquire(mine) as same:
            assert same is mine
        assert mine.connected
    with app.connection_or_acquire() as made:
        assert isinstance(made, Connection)
        made.connect()
    assert not made.connected


# -- results


def test_the_result_classes_of_an_app_are_called_and_asked_as_classes(app):
    sent = app.send_task("add", (1, 2))
    found = app.AsyncResult(sent.id)
    assert found == sent
    assert found.app is app
    assert type(found) is AsyncResult
    assert isinstance(sent, app.AsyncResult)
    assert not isinstance(app.ResultSet([]), app.AsyncResult)
    assert issubclass(app.AsyncResult, AsyncResult)
    assert isinstance(app.ResultSet([sent]), ResultSet)
    assert not isinstance("an id", app.AsyncResult)


def test_a_subclass_of_an_app_s_class_belongs_to_the_app(app):
    class Mine(app.AsyncResult):
        pass

    made = Mine("id")
    assert type(made) is Mine
    assert made.app is app
    assert not isinstance(AsyncResult("id", app=app), Mine)


def test_a_group_is_restored_by_the_app_s_class(app):
    add = app.tasks["add"]
    sent = group(add.s(1, 1), add.s(2, 2)).apply_async()
    restored = app.GroupResult.restore(sent.id)
    assert isinstance(restored, GroupResult)
    assert restored.results == sent.results
    assert restored.app is app
    assert app.GroupResult.restore("unknown") is None


def test_an_app_s_result_is_pickled_as_any(app):
    app.set_current()
    assert pickle.loads(pickle.dumps(app.AsyncResult("id"))) == AsyncResult("id", app=app)


def test_a_result_throws_what_it_is_told(app):
    with pytest.raises(KeyError):
        app.AsyncResult("id").throw(KeyError("x"))
    with pytest.raises(ValueError, match="bad"):
        EagerResult("id", ValueError("bad"), "FAILURE").throw()


def test_a_result_names_its_timeout_and_how_it_is_joined(app):
    result = app.AsyncResult("id")
    assert result.TimeoutError is TimeoutError
    with pytest.raises(result.TimeoutError):
        result.get(timeout=0)
    assert result.supports_native_join
    assert not EagerResult("id", 3, "SUCCESS").supports_native_join


def test_the_leaf_is_what_ran_last():
    assert EagerResult("id", 3, "SUCCESS").get_leaf() == 3


# -- tasks


def test_on_replace_sees_what_a_task_is_replaced_by(app):
    seen = []

    class Watched(Task):
        def on_replace(self, sig):
            seen.append(sig.task)
            return super().on_replace(sig)

    @app.task(bind=True, base=Watched)
    def outer(self):
        return self.replace(app.tasks["add"].s(2, 3))

    assert outer.apply().get() == 5
    assert seen == ["add"]


def test_the_request_stack_has_the_running_request_on_top(app):
    task = app.tasks["add"]
    assert task.request_stack.top is None
    request = Request(id="1")
    task.request_stack.push(request)
    task.push_request(id="2")
    try:
        assert [one.id for one in task.request_stack.stack] == ["1", "2"]
        assert task.request_stack.top is task.request
        assert len(task.request_stack) == 2
    finally:
        assert task.request_stack.pop().id == "2"
        assert task.request_stack.pop() is request


def test_annotate_applies_the_setting(app):
    task = app.tasks["add"]
    app.conf.task_annotations = {"add": {"rate_limit": "1/s"}}
    task.annotate()
    assert task.rate_limit == "1/s"


# -- the app


def test_defaults_count_where_nothing_else_is_said(app, monkeypatch):
    app.add_defaults(lambda: {"task_default_queue": "fallback", "worker_concurrency": 3})
    app.conf.worker_concurrency = 7
    assert app.conf.task_default_queue == "fallback"
    assert app.conf.worker_concurrency == 7
    app.add_defaults({"worker_concurrency": 9, "result_expires": 60})
    assert app.conf.worker_concurrency == 7
    assert app.conf.result_expires == 60
    app.config_from_object({"task_default_queue": "said"}, force=True)
    assert app.conf.task_default_queue == "said"
    app.conf.add_defaults({"worker_concurrency": 9, "result_expires": 90, "SQLALCHEMY_URI": "sqlite://"})  # Flask's
    assert (app.conf.result_expires, app.conf.get("SQLALCHEMY_URI")) == (90, "sqlite://")


def test_whether_schedules_go_by_utc(app):
    assert app.uses_utc_timezone()
    app.conf.timezone = "Europe/Berlin"
    assert not app.uses_utc_timezone()


def test_an_app_has_an_id_of_its_own(app, nowhere):
    assert app.oid == app.oid != nowhere.oid


def test_workers_take_from_the_queues_that_were_selected(app):
    app.select_queues("mail, reports")
    assert app.default_queues() == ["mail", "reports"]
    app.select_queues()
    assert app.default_queues() == [app.conf.task_default_queue]


def test_a_worker_made_by_the_app_works_until_it_is_stopped(app):
    result = app.send_task("add", (2, 3), queue="a")
    worker = app.Worker(
        queues="a,b", exclude_queues="b", pool="solo", hostname="w@here",
        on_ready=lambda worker: result.then(lambda _: worker.stop()),
    )  # fmt: skip
    assert (worker.app, worker.queues, worker.hostname) == (app, ["a"], "w@here")
    assert worker.start() == 0
    assert result.get(timeout=60) == 5


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({"pool_cls": "solo", "quiet": True}, ("solo", (None, None), None)),
        ({"pool_cls": "solo", "pool": "threads"}, ("threads", (None, None), None)),
        ({"pool_cls": "solo", "pool": None}, ("solo", (None, None), None)),
        ({"pool_cls": object}, ("prefork", (None, None), None)),
        ({"task_time_limit": 9, "task_soft_time_limit": 5}, ("prefork", (9, 5), None)),
        ({"autoscale": "3,1"}, ("prefork", (None, None), (3, 1))),
        ({"autoscale": "3"}, ("prefork", (None, None), (3, 1))),
    ],
)
def test_a_worker_takes_celery_s_second_names_of_options(app, options, made):
    worker = app.Worker(**options)
    worker.leave()
    assert (worker.pool_kind, worker.limits, worker._autoscale) == made


def test_a_worker_of_the_app_refuses_options_that_it_does_not_know(app):
    with pytest.raises(TypeError):
        app.Worker(no_such_option=1)


def test_a_beat_made_by_the_app_sends_its_entries(app):
    app.conf.beat_schedule = {"tick": {"task": "add", "schedule": 30, "args": (1, 1)}}
    beat = app.Beat(max_interval=1)
    beat.turn()
    assert [entry.name for entry in app.schedules.all()] == ["tick"]


def test_a_bug_report_has_versions_settings_and_tasks_and_no_secret(app):
    app.conf.update(email_password="open sesame")
    report = app.bugreport()
    assert report.startswith("liteq: ")
    assert "sqlite:///" in report
    assert "add" in report
    assert "open sesame" not in report


def test_the_app_s_default_logger(app):
    assert app.log.get_default_logger().name == "liteq"
    assert app.log.get_default_logger("proj").parent is app.log.get_default_logger()


# -- the running task, and modules of tasks


def test_the_task_that_runs_and_the_worker_s(app):
    seen = []

    @app.task(name="inner")
    def inner():
        seen.append((app.current_task.name, app.current_worker_task.name))

    @app.task(name="outer")
    def outer():
        inner()

    assert (app.current_task, app.current_worker_task) == (None, None)
    outer.apply()
    assert seen == [("inner", "outer")]


def test_modules_of_tasks_are_imported_as_a_worker_does(tmp_path, monkeypatch):
    (tmp_path / "loaded_jobs.py").write_text("from liteq import shared_task\n@shared_task\ndef job(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    app = LiteQ("proj", broker="sqlite:///never-opened.db", set_as_current=False, imports=["loaded_jobs"])
    (module,) = app.loader.import_default_modules()
    assert module.__name__ == "loaded_jobs"
    assert app.loader.task_modules == {"loaded_jobs"}
    assert "loaded_jobs.job" in app.tasks


# -- workers in tests


def test_a_worker_takes_celery_s_options_and_purges(app, tmp_path):
    lost = app.tasks["add"].delay(1, 1)
    options = {
        "without_heartbeat": False, "without_mingle": True, "without_gossip": True, "prefetch_multiplier": 1,
        "optimization": "fair", "statedb": None,
    }  # fmt: skip
    logfile = tmp_path / "worker.log"
    with start_worker(app, 1, "solo", "info", str(logfile), purge=True, **options):
        assert app.tasks["add"].delay(2, 3).get(timeout=60) == 5
    assert lost.state != "SUCCESS"
    lines = logfile.read_text().splitlines()
    assert any("Task add[" in line and "received" in line for line in lines)
    assert any("succeeded" in line for line in lines)


def test_a_level_of_warnings_says_nothing_of_tasks(app, tmp_path, caplog):
    logfile = tmp_path / "worker.log"
    with start_worker(app, loglevel="WARNING", logfile=str(logfile)):
        assert app.tasks["add"].delay(2, 3).get(timeout=60) == 5
    assert "Task add[" not in logfile.read_text()


def test_a_misspelt_option_of_a_worker_is_refused(app):
    with pytest.raises(TypeError, match="'prefetch_multiplier'"), start_worker(app, prefetch_multplier=1):
        pass


def test_an_event_says_when_it_was_made_and_a_state_takes_in_an_incomplete_one():
    assert Event("task-sent", uuid="1")["timestamp"] == pytest.approx(SystemClock().now_ms() / 1000, abs=5)
    assert Event("task-sent", {"timestamp": 3.0}, uuid="1") == {"type": "task-sent", "timestamp": 3.0, "uuid": "1"}
    state = State()
    state.event({"type": "worker-unknown-event", "foo": "bar"})
    state.event({"type": "task-sent", "uuid": "1"})
    assert state.event_count == 2


def test_a_graph_is_made_of_nodes_and_their_edges():
    graph = DependencyGraph([("a", ["b"]), ("b", []), ("c", ["a"])])
    assert graph.topsort() == ["b", "a", "c"]
    assert sorted(graph.edges()) == ["a", "c"]


def test_a_module_of_settings_that_is_not_there_is_one_that_cannot_be_imported(app):
    app.config_from_object("no_such_module_of_settings")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_settings"):
        app.conf.get("task_default_queue")


def test_names_of_an_app_in_a_thread_and_its_worker_class(app):
    assert app.thread_oid.startswith(app.oid)
    assert issubclass(app.WorkController, Worker)
    del app.timezone  # Celery's is cached
    assert str(app.timezone) == "UTC"
