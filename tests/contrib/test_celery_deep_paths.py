"""`s/celery/liteq/` on an import line that names a module deep in Celery: it works, or says what there is instead."""

from __future__ import annotations

import importlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import liteq
from liteq.testing.worker import start_worker

# Lines of applications, with `liteq` in the place of `celery`. liteq has no module, or no name, of its own for them.
LINES = """
from liteq import VERSION, app_or_default, bugreport, version_info
from liteq._state import get_current_app, get_current_task
from liteq.app.base import Celery
from liteq.app.log import TaskFormatter
from liteq.app.task import Context, Task
from liteq.app.utils import Settings
from liteq.apps.worker import Worker
from liteq.backends.base import BaseBackend
from liteq.beat import ScheduleEntry, Scheduler
from liteq.bin.celery import main
from liteq.contrib.abortable import AbortableAsyncResult, AbortableTask
from liteq.contrib.testing.app import TestApp
from liteq.contrib.testing.tasks import ping
from liteq.contrib.testing.worker import start_worker
from liteq.local import Proxy
from liteq.platforms import EX_OK
from liteq.utils import cached_property, uuid
from liteq.utils.functional import maybe_list
from liteq.utils.nodenames import nodesplit
from liteq.utils.serialization import strtobool
from liteq.utils.time import rate, remaining
from liteq.worker import WorkController, strategy
from liteq.worker.control import Panel, inspect_command, revoke
from liteq.worker.request import Request
""".strip().splitlines()

ABSENT = {
    "from liteq.app.amqp import AMQP": "one SQLite file",
    "from liteq.backends.redis import RedisBackend": "app.backend",
    "from liteq.beat import PersistentScheduler": "app.schedules",
    "from liteq.concurrency.prefork import TaskPool": "the pools are prefork, asyncio, threads and solo",
    "from liteq.contrib.rdb import set_trace": "pdb with the solo pool",
    "from liteq.contrib.testing.worker import nothing_of_the_kind": "is not part of liteq",
    "from liteq.loaders.base import BaseLoader": "there are no loaders",
    "from liteq.worker.consumer import Consumer": "liteq.worker.loop",
}


@pytest.mark.celery("Application", "a deep path with `liteq` for `celery`: `from liteq.contrib.abortable import ...`")
def test_an_import_line_that_was_only_renamed_works():
    """In a process that knows nothing of the shim."""
    code = "\n".join([*LINES, "import sys", "assert not any(name.split('.')[0] == 'celery' for name in sys.modules)"])
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_objects_are_those_that_liteq_has():
    assert importlib.import_module("liteq.contrib.testing.worker").start_worker is start_worker
    assert importlib.import_module("liteq.contrib").testing.worker.start_worker is start_worker
    assert importlib.import_module("liteq.app.base").Celery is liteq.Celery


def test_a_task_is_known_by_the_proxy_that_celery_makes_of_it(tmp_path):
    local = importlib.import_module("liteq.local")
    app = liteq.Celery("app", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)

    @app.task
    def add(x, y): ...

    shared = liteq.shared_task(name="deep.shared")(lambda: 1)
    assert [isinstance(one, local.PromiseProxy) for one in (add, shared, len)] == [True, False, False]
    made = []
    promise = local.PromiseProxy(lambda *args, **more: made.append(args) or [args, more], (1,), {"y": 2}, name="pair")
    assert not made
    assert (promise[0], promise[1], local.maybe_evaluate(promise), made) == ((1,), {"y": 2}, [(1,), {"y": 2}], [(1,)])
    assert isinstance(promise, local.PromiseProxy)


def test_a_schedule_of_ones_own_counts_what_remains():
    now = datetime(2026, 1, 1, 12, 0, 50, tzinfo=UTC)
    remaining = importlib.import_module("liteq.utils.time").remaining
    assert remaining(now - timedelta(seconds=100), timedelta(seconds=60), now) == timedelta(seconds=-40)
    assert remaining(now, timedelta(minutes=1), now, relative=True) == timedelta(seconds=10)


@pytest.mark.parametrize(("line", "reason"), ABSENT.items())
def test_a_module_that_liteq_has_not_is_explained(line, reason):
    with pytest.raises(ImportError, match=reason):
        exec(line, {})


@pytest.mark.parametrize("line", ["import liteq.nothing_of_the_kind", "from liteq.utils.nothing import of_the_kind"])
def test_a_name_that_celery_has_not_either_is_missing_as_ever(line):
    with pytest.raises(ModuleNotFoundError, match="No module named 'liteq"):
        exec(line, {})


def test_without_the_alias_package_a_missing_module_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "liteq_celery.deep_paths", None)
    for name in [name for name in sys.modules if name.startswith("liteq.contrib")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'liteq\.contrib'"):
        exec("from liteq.contrib.abortable import AbortableTask", {})
