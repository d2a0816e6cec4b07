"""`s/celery/liteq/` on an app's import lines leaves it importing; and `import liteq` alone stays cheap."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import liteq

# What ordinary applications import, by module; Celery's public API.
NAMES = {
    "liteq": [
        "Celery",
        "LiteQ",
        "Task",
        "chain",
        "chord",
        "chunks",
        "current_app",
        "current_task",
        "group",
        "maybe_signature",
        "shared_task",
        "signature",
        "subtask",
        "task",
        "xmap",
        "xstarmap",
        "__version__",
    ],
    "liteq.app.task": ["Task", "Context"],
    "liteq.canvas": ["Signature", "chain", "chord", "group", "maybe_signature", "signature"],
    "liteq.result": [
        "AsyncResult",
        "EagerResult",
        "GroupResult",
        "ResultBase",
        "ResultSet",
        "allow_join_result",
        "result_from_tuple",
    ],
    "liteq.exceptions": [
        "Ignore",
        "MaxRetriesExceededError",
        "Reject",
        "Retry",
        "SoftTimeLimitExceeded",
        "TimeoutError",
    ],
    "liteq.signals": ["task_failure", "task_postrun", "task_prerun", "worker_process_init"],
    "liteq.states": ["FAILURE", "PENDING", "READY_STATES", "SUCCESS"],
    "liteq.utils.log": ["get_task_logger"],
}


@pytest.mark.parametrize("module", NAMES)
def test_the_names_are_there(module):
    loaded = importlib.import_module(module)
    assert [name for name in NAMES[module] if not hasattr(loaded, name)] == []


def test_every_public_name_loads_and_is_listed():
    assert set(liteq.__all__) <= set(dir(liteq))
    assert all(getattr(liteq, name) is not None for name in liteq.__all__ if not name.startswith("current"))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = liteq.nonsense


def test_the_decorator_is_not_hidden_by_a_module():
    importlib.import_module("liteq.app.task")
    from liteq import shared_task, task

    assert task is shared_task


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_liteq_loads_nothing():
    loaded = run("import sys, liteq; print(sorted(m for m in sys.modules if m.startswith('liteq')))")
    assert loaded == "['liteq', 'liteq._version']"


def test_an_app_with_tasks_loads_no_pydantic_no_click_and_no_sqlite():
    loaded = run(
        "import sys\n"
        "from liteq import LiteQ, shared_task\n"
        "app = LiteQ('x', broker='sqlite:///x.db')\n"
        "app.task(name='t')(lambda: 1)\n"
        "print(sorted({'pydantic', 'click', 'rich', 'apsw', 'sqlite3'} & sys.modules.keys()))"
    )
    assert loaded == "[]"
