"""The pytest plugin, as a project uses it: run by a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys

CONFTEST = """
import pytest

pytest_plugins = ("liteq.testing.plugin",)

@pytest.fixture(scope="session")
def celery_config():
    return {"task_default_queue": "tests", "broker_url": "memory://", "result_backend": "cache+memory://"}

@pytest.fixture(scope="session")
def celery_includes():
    return ["project_tasks"]
"""
TASKS = """
from liteq import shared_task

@shared_task
def mul(x, y):
    return x * y
"""
TESTS = """
import pytest
from liteq import current_app

from project_tasks import mul

def test_an_app_and_a_worker_of_its_own(celery_app, celery_worker):
    @celery_app.task
    def add(x, y):
        return x + y

    celery_worker.reload()
    celery_worker.reload(["project_tasks"], reload=True)
    with pytest.raises(ImportError, match="no_such_module"):
        celery_worker.reload(["no_such_module"])
    assert celery_app.conf.task_default_queue == "tests"
    assert add.delay(1, 2).get(timeout=60) == 3

@pytest.mark.celery(task_always_eager=True)
def test_settings_of_one_test(celery_app):
    assert mul.delay(2, 3).get() == 6

def test_shared_tasks(celery_app, celery_worker):
    assert current_app.main == celery_app.main
    assert mul.delay(2, 3).get(timeout=60) == 6

def test_one_worker_for_all(celery_session_app, celery_session_worker):
    assert mul.delay(2, 4).get(timeout=60) == 8

def test_the_same_one_again(celery_session_app, celery_session_worker):
    assert celery_session_worker.hostname in {n for r in celery_session_app.control.ping(timeout=60) for n in r}
"""
TRAP = """
import pytest
from liteq import current_app

@pytest.fixture(scope="session")
def use_celery_app_trap():
    return True

def test_the_trap(celery_app):
    with pytest.raises(RuntimeError, match="depends on the current app"):
        current_app.conf

def test_who_asks_gets_it(celery_app, depends_on_current_app):
    assert current_app.conf.task_default_queue == "tests"
"""


def test_the_plugin_in_a_project(tmp_path):
    for name, text in (
        ("conftest.py", CONFTEST), ("project_tasks.py", TASKS), ("test_it.py", TESTS), ("test_trap.py", TRAP),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    working = tmp_path / "working.db"  # where the shell of whoever runs the tests has the queue
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "LITEQ_BROKER_URL": f"sqlite:///{working}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "-o", "addopts="]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "7 passed" in done.stdout
    assert not working.exists()
