"""The names of Celery, kombu and billiard under the shim: what they are, what is said of others, when it yields."""

from __future__ import annotations

import builtins
import importlib
import logging
import os
import subprocess
import sys
import warnings
from contextlib import nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from importlib import metadata
from uuid import UUID

import pytest

import liteq
from liteq.exceptions import CeleryWarning, ImproperlyConfigured, StorageBusy
from liteq_celery.absent import INSTEAD
from liteq_celery.finder import ROOTS, AliasModule, ShimFinder, install, uninstall
from liteq_celery.names import MODULES

# What Celery's documentation and ordinary applications import, line by line.
LINES = """
from celery import Celery, Signature, Task, bugreport, chain, chord, chunks, current_app, current_task, group
from celery import maybe_signature, shared_task, signature, subtask, uuid, xmap, xstarmap, VERSION, __version__
from celery import exceptions, schedules, signals, states
from celery._state import get_current_app, get_current_task, _set_current_app
from celery.app import app_or_default, default_app
from celery.app.base import Celery
from celery.app.control import Control, Inspect, flatten_reply
from celery.app.log import TaskFormatter
from celery.app.registry import TaskRegistry
from celery.app.task import Context, Task
from celery.backends.base import Backend, BaseBackend
from celery.bin.celery import celery, main
from celery.bin.worker import worker
from celery.bin.control import control, inspect, status
from celery.bin.events import events
from celery.bin.multi import multi
from celery.events import Event, EventDispatcher, EventReceiver
from celery.events.snapshot import Polaroid
from celery.events.state import State, Task, Worker
from celery.canvas import Signature, StampingVisitor, _chain, chain, chord, group, maybe_signature, signature, subtask
from celery.contrib.abortable import ABORTED, AbortableAsyncResult, AbortableTask
from celery.contrib.testing.tasks import ping
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Ignore, ImproperlyConfigured, MaxRetriesExceededError, NotRegistered, Reject, Retry
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded, TimeoutError, WorkerLostError
from celery.local import PromiseProxy, Proxy, class_property
from celery import platforms
from celery.platforms import EX_FAILURE, EX_OK, IS_WINDOWS, IS_macOS, signals
from celery.app.log import Logging
from celery.app.utils import Settings
from celery.utils.objects import Bunch, FallbackContext, mro_lookup
from celery.utils.serialization import UnpickleableExceptionWrapper, pickle, strtobool
from kombu.utils.url import maybe_sanitize_url, parse_url, safequote
from celery.result import AsyncResult, EagerResult, GroupResult, ResultSet, allow_join_result, result_from_tuple
from celery.schedules import ParseException, crontab, crontab_parser, maybe_schedule, schedule, solar
from celery.signals import after_setup_logger, beat_init, celeryd_init, setup_logging, task_failure, task_prerun
from celery.signals import worker_process_init, worker_ready, worker_shutdown
from celery.states import ALL_STATES, FAILURE, PENDING, READY_STATES, RETRY, REVOKED, STARTED, SUCCESS
from celery.utils import cached_property, gen_unique_id, uuid
from celery.utils.log import get_logger, get_task_logger
from celery.utils.dispatch import Signal
from celery.utils.functional import maybe_list, memoize, noop
from celery.utils.graph import DependencyGraph
from celery.utils.iso8601 import parse_iso8601
from celery.utils.time import get_exponential_backoff_interval, humanize_seconds, maybe_timedelta, rate, timezone
from celery.contrib.testing.manager import Manager
from celery.utils import LOG_LEVELS, chunks, gen_task_name, memoize, nodename, nodesplit, noop, worker_direct
from celery.utils.time import adjust_timestamp, utcoffset
from celery.worker.control import Panel, active, add_consumer, cancel_consumer, control_command, inspect_command
from celery.worker.control import nok, ok, revoke, stats
from celery.app.base import PendingConfiguration
from kombu import Connection
from kombu.exceptions import ChannelError, ConnectionError, LimitExceeded, OperationalError, TimeoutError
from kombu.utils.json import JSONEncoder, dumps, loads, register_type
from celery import bootsteps
from celery.app.defaults import DEFAULT_TASK_LOG_FMT
from celery.apps.worker import Worker, logger
from celery.beat import SchedulingError, crontab
from celery.bootsteps import StartStopStep, Step
from celery.signals import user_preload_options
from celery.worker.worker import WorkController
from billiard import Pool, Process, Queue, cpu_count, current_process
from billiard.context import Process
from billiard.pool import Pool
from celery.app.utils import bugreport, find_app
from celery.backends.base import DisabledBackend
from celery.contrib.testing.app import TestApp
from kombu.utils.json import dumps, loads, register_type
from celery.utils.imports import instantiate, qualname, symbol_by_name
from celery.utils.nodenames import anon_nodename, default_nodename, host_format, nodesplit
from celery.utils.text import pluralize, truncate
from kombu.utils.encoding import bytes_to_str, safe_str
from kombu.utils.imports import symbol_by_name
from kombu.utils.objects import cached_property
from kombu.utils.functional import maybe_list, retry_over_time
from celery import registry
from celery.app.trace import build_tracer, task_has_custom
from celery.beat import ScheduleEntry, Scheduler
from celery.worker.request import Request
from kombu import Producer
from kombu.messaging import Producer
from billiard.pool import Worker
from billiard.einfo import ExceptionWithTraceback
from celery.worker import WorkController
from celery.worker.control import Panel, control_command, inspect_command
from kombu import Exchange, Queue, binding, uuid
from kombu.entity import Exchange, Queue
from kombu.exceptions import EncodeError, KombuError, OperationalError
from kombu.utils import uuid
from kombu.utils.json import register_type
from kombu.utils.uuid import uuid
from billiard.einfo import ExceptionInfo
from billiard.exceptions import SoftTimeLimitExceeded, Terminated, TimeLimitExceeded, WorkerLostError
""".strip().splitlines()


@pytest.fixture
def shim():
    """The finder in its place; the test's own process as it was, afterwards."""
    kept = list(sys.meta_path)
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ROOTS}
    if any(not isinstance(module, AliasModule) for module in modules.values()):
        pytest.skip("Celery itself is installed")
    yield install()
    uninstall()
    sys.meta_path[:] = kept


# -- what there is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", LINES)
def test_import_lines_work_as_they_are(shim, line):
    imported: dict[str, object] = {}
    exec(line, imported)
    del imported["__builtins__"]
    assert imported
    assert [name for name, value in imported.items() if value is None] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_name_that_is_mapped_leads_somewhere(shim, module):
    found = importlib.import_module(module)
    assert {name for name in found.__all__ if getattr(found, name, None) is None} <= {"current_task"}


def test_classes_are_liteq_s_own(shim):
    import celery.app.task
    import celery.canvas
    import kombu
    from billiard.exceptions import SoftTimeLimitExceeded

    assert celery.Celery is liteq.LiteQ
    assert celery.canvas.Signature is celery.Signature is liteq.canvas.Signature
    assert celery.app.task.Task is liteq.Task
    assert kombu.Queue is liteq.Queue
    assert SoftTimeLimitExceeded is liteq.exceptions.SoftTimeLimitExceeded


def test_submodules_are_attributes_without_an_import_of_their_own(shim):
    import celery

    assert celery.states.SUCCESS == "SUCCESS"
    assert celery.signals.task_failure is liteq.signals.task_failure


def test_a_function_stays_one_when_the_module_of_its_name_is_imported(shim):
    importlib.import_module("kombu.utils.uuid")
    from kombu.utils import uuid

    assert len(uuid()) == 36


def test_names_can_be_patched(shim, monkeypatch):
    monkeypatch.setattr("celery.result.AsyncResult", str)
    from celery.result import AsyncResult

    assert AsyncResult is str


def test_the_version_is_that_of_the_celery_that_is_followed(shim):
    import celery

    assert celery.VERSION >= (5, 7)
    assert celery.__version__ == ".".join(map(str, celery.VERSION[:3]))


def test_libraries_find_the_packages_that_liteq_stands_for(shim):
    assert metadata.version("celery") == "5.7.0"
    assert {"celery", "kombu", "billiard"} <= {one.name for one in metadata.distributions()}
    assert metadata.entry_points(group="liteq.nothing") == ()
    uninstall()
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("celery")


def test_an_installed_package_has_its_own_metadata(shim, tmp_path, monkeypatch):
    (tmp_path / "kombu").mkdir()
    (tmp_path / "kombu" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("kombu")


def test_the_registry_is_that_of_the_current_app(shim):
    from celery import registry

    app = liteq.LiteQ("registry")
    assert registry.tasks.get("celery.chunks") is app.tasks["celery.chunks"]


def test_the_logger_of_the_name_celery_stands_above_liteq_s(shim):
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("celery").addHandler(handler)
    try:
        logging.getLogger("liteq.worker").warning("seen")
    finally:
        logging.getLogger("celery").removeHandler(handler)
    assert [record.getMessage() for record in records] == ["seen"]


def test_the_small_helpers_of_celery_and_kombu_do_what_their_names_say(shim):
    from celery import platforms
    from celery.local import class_property
    from celery.utils.objects import Bunch, FallbackContext, mro_lookup
    from celery.utils.serialization import strtobool
    from kombu.utils.url import maybe_sanitize_url, parse_url, safequote

    class Counted:
        name = "counted"
        label = class_property(lambda cls: cls.name)

    class More(Counted):
        name = "more"

    assert (Counted.label, More().label) == ("counted", "more")
    assert [mro_lookup(More, one) for one in ("label", "nothing")] == [Counted, None]
    assert mro_lookup(More, "nothing", stop={Counted}) is None
    with FallbackContext(None, nullcontext, 3) as made, FallbackContext(4, nullcontext, 3) as provided:
        assert (made, provided) == (3, 4)
    assert Bunch(x=1).x == 1
    assert [strtobool(one) for one in ("yes", "OFF", None)] == [True, False, None]
    with pytest.raises(TypeError):
        strtobool("perhaps")

    url = f"redis://me:{safequote('a/b@c')}@host:6379/2?ssl=1"
    parts = parse_url(url)
    assert (parts["hostname"], parts["port"], parts["password"], parts["ssl"]) == ("host", 6379, "a/b@c", "1")
    assert parts["virtual_host"] == "2"
    assert maybe_sanitize_url(url) == "redis://me:**@host:6379/2?ssl=1"
    assert maybe_sanitize_url("a name") == "a name"

    platforms.C_FORCE_ROOT = True
    before = platforms.signals["USR2"]
    try:
        platforms.signals.ignore("USR2", "NOSUCHSIGNAL")
        assert platforms.signals["SIGUSR2"] == platforms.signals.ignored
    finally:
        platforms.signals["USR2"] = before
    assert platforms.signal_name("term") == "TERM"
    assert not platforms.signals.supported("NOSUCHSIGNAL")


def test_kombu_s_encoder_writes_what_messages_hold(shim):
    import json

    from kombu.utils.json import JSONEncoder, dumps, loads

    class Own(JSONEncoder):
        def default(self, o):
            return sorted(o) if isinstance(o, set) else super().default(o)

    values = {"when": datetime(2026, 1, 2, tzinfo=UTC), "price": Decimal("1.20"), "id": UUID(int=5)}
    assert loads(json.dumps(values, cls=JSONEncoder)) == loads(dumps(values)) == values
    assert loads(dumps({"tags": {2, 1}, **values}, cls=Own)) == {"tags": [1, 2], **values}
    with pytest.raises(TypeError):
        dumps({"tags": {2, 1}}, cls=JSONEncoder)


def test_kombu_s_connection_is_to_a_file(shim, tmp_path):
    from kombu import Connection

    with Connection(f"sqlite:///{tmp_path / 'queue.db'}") as connection:
        assert connection.ensure_connection(max_retries=0).connected
    with pytest.raises(ImproperlyConfigured, match="amqp"):
        Connection("amqp://guest@localhost//")


def test_errors_of_a_connection_are_the_storage_s(shim):
    from kombu.exceptions import ConnectionError, TimeoutError

    assert issubclass(StorageBusy, ConnectionError)
    assert TimeoutError is builtins.TimeoutError


def test_pytest_starts_beside_the_plugin_pytest_celery(tmp_path):
    """The names that it imports when it is loaded, as pytest loads each installed plugin."""
    (tmp_path / "pytest_celery_s_imports.py").write_text(
        "from celery.contrib.pytest import *\n"
        "import celery.utils\n"
        "from celery import Celery, Task, shared_task\n"
        "from celery.app.base import PendingConfiguration\n"
        "from celery.result import AsyncResult\n"
        "from kombu import Connection\n"
    )
    (tmp_path / "test_own.py").write_text(
        "def test_own(celery_app, celery_worker):\n"
        "    assert celery_app.task(lambda: 2, name='two').delay().get(timeout=60) == 2\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "liteq_celery.shim", "-p", "pytest_celery_s_imports"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_signal_of_one_s_own(shim):
    from celery.utils.dispatch import Signal

    heard = []
    paid = Signal(name="paid", providing_args={"order"}, use_caching=True)
    paid.connect(lambda order, **_: heard.append(order), weak=False)
    paid.send(sender=None, order=7)
    assert heard == [7]


def test_an_abortable_task_is_asked_by_its_id(shim, tmp_path):
    from celery.contrib.abortable import AbortableTask

    app = liteq.LiteQ("proj", broker=f"sqlite:///{tmp_path / 'queue.db'}", set_as_current=False)
    task = app.task(name="export", base=AbortableTask)(lambda: None)
    sent = task.delay()
    assert not task.is_aborted(task_id=sent.id)
    sent.abort()
    assert task.is_aborted(task_id=sent.id)
    app.close()


def test_an_argument_by_its_name_or_its_place(shim):
    from celery.utils.functional import fun_takes_argument

    def fun(a, b, foo): ...

    assert fun_takes_argument("foo", fun)
    assert fun_takes_argument("foo", fun, position=3)
    assert not fun_takes_argument("foo", fun, position=4)


def test_utc_offsets(shim):
    from celery.utils.time import adjust_timestamp, utcoffset

    assert adjust_timestamp(7200.0, 1, here=lambda: -1) == 0.0
    assert adjust_timestamp(7200.0, utcoffset()) == 7200.0


def test_django_s_task_class(shim):
    pytest.importorskip("django", reason="needs pip install django")
    from celery.contrib.django.task import DjangoTask

    from liteq_django.task import DjangoTask as Ours

    assert DjangoTask is Ours


# -- what there is not -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("from celery.beat import PersistentScheduler", "liteq.beat.Beat"),
        ("import celery.concurrency.gevent", "prefork, asyncio, threads and solo"),
        ("from celery.worker.request import create_request_cls", "self.request"),
        ("from celery.bootsteps import Blueprint", "StartStopStep"),
        ("from celery.result import AsyncReslt", "'AsyncResult'"),
        ("from celery.utils.term import colored", "not part of liteq"),
        ("from kombu import Consumer", "one SQLite file"),
        ("from billiard import forking_enable", "multiprocessing"),
    ],
)
def test_an_import_that_leads_nowhere_says_what_there_is_instead(shim, line, says):
    with pytest.raises(ImportError) as caught:
        exec(line, {})
    assert says in str(caught.value)


def test_code_that_tries_finds_nothing(shim):
    import celery

    assert not hasattr(celery, "nothing")
    assert not hasattr(celery.beat, "PersistentScheduler")


def test_what_is_said_to_be_absent_is_not_mapped(shim):
    for path in INSTEAD:
        parent, _, name = path.rpartition(".")
        if path not in MODULES and parent in MODULES:
            assert not hasattr(importlib.import_module(parent), name), path


# -- when it yields --------------------------------------------------------------------------------------------------


def test_an_installed_celery_is_left_alone_and_the_user_is_told(tmp_path, monkeypatch):
    (tmp_path / "celery").mkdir()
    (tmp_path / "celery" / "__init__.py").write_text("real = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    uninstall()
    try:
        with pytest.warns(CeleryWarning, match="Celery itself is installed"):
            install()
        assert importlib.import_module("celery").real
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("celery.canvas")
    finally:
        uninstall()
        sys.modules.pop("celery", None)


def test_a_folder_of_that_name_is_no_celery(tmp_path, monkeypatch, shim):
    (tmp_path / "celery").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    import celery

    assert celery.Celery is liteq.LiteQ


def test_installing_twice_is_installing_once(shim):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert install() is shim
    assert sum(isinstance(finder, ShimFinder) for finder in sys.meta_path) == 1


# -- how it is switched on -------------------------------------------------------------------------------------------


def run(*args, cwd, **env):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env}
    return subprocess.run(
        [sys.executable, "-m", *args], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def project(tmp_path):
    (tmp_path / "proj.py").write_text("from celery import Celery\napp = Celery('proj', broker='sqlite:///q.db')\n")
    return tmp_path


def test_the_command_line_needs_the_variable(project):
    off = run("liteq", "-A", "proj", "report", cwd=project)
    zero = run("liteq", "-A", "proj", "report", cwd=project, LITEQ_CELERY_SHIM="0")
    on = run("liteq", "-A", "proj", "report", cwd=project, LITEQ_CELERY_SHIM="1")
    assert "No module named 'celery'" in off.stderr
    assert "No module named 'celery'" in zero.stderr
    assert on.returncode == 0, on.stderr


def test_a_script_or_a_module_is_run_under_the_shim(project):
    (project / "main.py").write_text("import sys, proj\nprint(__name__, sys.argv[1:], proj.app.main)\n")
    expected = "__main__ ['a', '-b'] proj\n"
    assert run("liteq_celery", "main.py", "a", "-b", cwd=project).stdout == expected
    assert run("liteq_celery", "-m", "main", "a", "-b", cwd=project).stdout == expected
    assert run("liteq_celery", cwd=project).returncode == 1


def test_liteq_alone_does_not_import_the_shim():
    code = "import liteq, liteq.cli.parts.find_app, sys; sys.exit('liteq_celery' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_the_fixtures_of_celery_contrib_pytest(project):
    (project / "conftest.py").write_text("pytest_plugins = ('celery.contrib.pytest',)\n")
    (project / "test_it.py").write_text(
        "from celery import shared_task\n"
        "@shared_task\n"
        "def add(x, y): return x + y\n"
        "def test_add(celery_app, celery_worker):\n"
        "    assert add.delay(2, 2).get(timeout=60) == 4\n"
    )
    ran = run("pytest", "-q", "-p", "liteq_celery.shim", "-p", "no:cacheprovider", cwd=project)
    assert ran.returncode == 0, ran.stdout


# -- helpers ---------------------------------------------------------------------------------------------------------


def test_names_of_workers(shim):
    from celery.utils.nodenames import default_nodename, host_format, nodename, nodesplit

    assert nodesplit(nodename("mail", "box.example")) == ("mail", "box.example")
    assert default_nodename("mail@box") == "mail@box"
    assert host_format("%n-1@%h/%d%%", "box.example.org") == "box-1@box.example.org/example.org%"


def test_objects_by_their_paths(shim):
    from celery.utils.imports import instantiate, qualname, symbol_by_name

    assert symbol_by_name("collections:OrderedDict") is symbol_by_name("collections.OrderedDict")
    assert instantiate("decimal:Decimal", "1.5") == 1.5
    assert symbol_by_name("nowhere.at_all", default=None) is None
    assert qualname(instantiate("collections.OrderedDict")) == "collections.OrderedDict"


def test_a_call_is_repeated_until_it_raises_no_more(shim):
    from kombu.utils.functional import retry_over_time

    answers = [KeyError("not yet"), KeyError("not yet"), "there"]

    def ask():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry_over_time(ask, KeyError, interval_start=0, interval_step=0, max_retries=2) == "there"
    with pytest.raises(IndexError):
        retry_over_time(ask, KeyError)


def test_spans_and_rates_in_words_and_numbers(shim):
    from celery.utils.time import humanize_seconds, rate

    assert (humanize_seconds(7200), humanize_seconds(0), humanize_seconds(60)) == ("2.00 hours", "now", "1.00 minute")
    assert (rate("120/m"), rate("3600/h"), rate(None), rate(2)) == (2.0, 1.0, 0.0, 2.0)


def test_an_app_may_make_its_names_out_of_celery_s(shim):
    from celery.utils.imports import gen_task_name

    class Mine(liteq.LiteQ):
        def gen_task_name(self, name, module):
            return gen_task_name(self, name, module.removesuffix(".tasks"))

    app = Mine("x", broker="sqlite:///never.db", set_as_current=False)
    assert app.gen_task_name("add", "shop.tasks") == "shop.add"


def test_billiard_is_multiprocessing_and_knows_which_of_a_worker_s_processes_it_is_in(shim, monkeypatch):
    import multiprocessing

    import billiard

    assert billiard.Queue is not None
    assert billiard.pool.Pool is multiprocessing.pool.Pool
    monkeypatch.setattr(multiprocessing.current_process(), "_name", "MainProcess")
    assert billiard.current_process() is multiprocessing.current_process()
    assert not hasattr(billiard.current_process(), "index")
    make = logging.getLogRecordFactory()

    def in_child(*args, **kwargs):
        record = make(*args, **kwargs)
        record.processName = "ForkPoolWorker-3"
        return record

    logging.setLogRecordFactory(in_child)
    try:
        assert (billiard.current_process().name, billiard.current_process().index) == ("ForkPoolWorker-3", 2)
    finally:
        logging.setLogRecordFactory(make)
        del multiprocessing.current_process().index


def test_an_app_for_tests_has_a_file_of_its_own(shim):
    from celery.contrib.testing.app import TestApp

    with TestApp(config={"broker_url": "memory://", "task_default_queue": "tests"}) as app:
        app.task(name="one")(lambda: 1)
        sent = app.tasks["one"].delay()
        assert (sent.queue, app.tasks["one"].apply().get()) == ("tests", 1)


def test_kombu_s_json_has_what_messages_have(shim):
    from datetime import UTC, datetime
    from uuid import UUID

    from kombu.utils.json import dumps, loads

    value = {"at": datetime(2026, 1, 2, tzinfo=UTC), "id": UUID(int=5), "n": [1, None]}
    assert isinstance(dumps(value), str)
    assert loads(dumps(value)) == value


LOGGED = """
import logging.config

from celery import Celery
from celery.signals import worker_ready
from celery.utils.log import get_task_logger

logging.config.dictConfig({
    "version": 1,  # and disable_existing_loggers, by default
    "formatters": {"own": {"format": "OWN %(message)s"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
    "loggers": {"celery": {"level": "INFO"}, "celery.task": {"handlers": ["own"], "propagate": False}},
})
app = Celery("logged", broker="redis://nowhere:1/0")

@worker_ready.connect
def go(sender, **kwargs):
    get_task_logger("tasks").info("in a task")
    sender.stop()
"""


def test_loggers_that_a_project_configures_by_celery_s_names_rule_those_of_the_worker(tmp_path):
    (tmp_path / "logged.py").write_text(LOGGED)
    env = {**os.environ, "LITEQ_CELERY_SHIM": "1", "LITEQ_BROKER_URL": "sqlite:///q.db",
           "PYTHONPATH": os.pathsep.join(sys.path)}  # fmt: skip
    command = [sys.executable, "-m", "liteq", "-A", "logged", "worker", "--without-tasks", "-P", "solo", "-l", "INFO"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=env)
    log = ended.stderr.splitlines()
    assert [line for line in log if "in a task" in line] == ["OWN in a task"], ended.stderr
    assert any(line.endswith("ready.") for line in log), ended.stderr
