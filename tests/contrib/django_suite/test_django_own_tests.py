"""Django's own tests of its tasks, from its source distribution, with liteq's backend in place of the two of Django's.

They are not a part of this project: LITEQ_TEST_DJANGO_SOURCE names an unpacked source distribution of the installed
Django (`pip download --no-deps --no-binary :all: django`). Left out are, with the reason for each, LEFT_OUT.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCE = Path(os.environ.get("LITEQ_TEST_DJANGO_SOURCE", "nowhere")) / "tests" / "tasks"

# In place of a dotted path, and of the import of the class.
INSTEAD = {
    "django.tasks.backends.dummy.DummyBackend": "repointed.Collecting",
    "django.tasks.backends.immediate.ImmediateBackend": "repointed.Running",
    "from django.tasks.backends.dummy import DummyBackend": "from repointed import Collecting as DummyBackend",
    "from django.tasks.backends.immediate import ImmediateBackend": "from repointed import Running as ImmediateBackend",
}
LEFT_OUT = {
    # What Django's backends cannot do, and this one can.
    "ImmediateBackendTestCase.test_cannot_get_result": "it can",
    "ImmediateBackendTestCase.test_cannot_refresh_result": "it can",
    "ImmediateBackendTestCase.test_cannot_pass_run_after": "it takes run_after",
    # What is enqueued inside atomic() waits for the commit: that is what this backend is for.
    "DummyBackendTransactionTestCase.test_doesnt_wait_until_transaction_commit_by_default": "it does",
    "ImmediateBackendTransactionTestCase.test_doesnt_wait_until_transaction_commit_by_default": "it does",
    # Inside the two classes of Django's.
    "DummyBackendTestCase.test_refresh_result": "changes an object in the dummy's list",
    "DummyBackendTestCase.test_refresh_result_async": "the same",
    "DummyBackendTestCase.test_clear": "clear() is the dummy's",
    "ImmediateBackendTestCase.test_throws_keyboard_interrupt": "a worker's signals are its parent's, not the task's",
}


@pytest.mark.skipif(not SOURCE.is_dir(), reason="LITEQ_TEST_DJANGO_SOURCE names no source distribution of Django")
def test_djangos_own_tests_pass(new_site, tmp_path):
    shutil.copytree(SOURCE, tmp_path / "tasks")
    for path in (tmp_path / "tasks").glob("*.py"):
        text = path.read_text()
        for there, here in sorted(INSTEAD.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(there, here)
        for name in LEFT_OUT:
            case, test = name.split(".")
            if f"class {case}(" in text:
                text = re.sub(rf"def {test}\(", f"def left_out_{test}(", text)
        path.write_text(text)
    shutil.copy(HERE / "repointed.py", tmp_path)
    (tmp_path / "own.py").write_text("from shop.settings import *\n\ndel TASKS\n")
    site = new_site(SHOP_QUEUE=str(tmp_path / "queue.db"), DJANGO_SETTINGS_MODULE="own")
    site.env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    done = site.manage("test", "tasks", "-v1")
    assert done.returncode == 0, done.stderr[-8000:]
    ran = re.search(r"Ran (\d+) tests", done.stderr)
    assert ran is not None
    assert int(ran[1]) >= 60
