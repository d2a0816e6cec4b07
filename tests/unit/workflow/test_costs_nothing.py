"""A program without workflows imports nothing of theirs."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from liteq import LiteQ
app = LiteQ("plain", broker="sqlite:///:memory:", task_always_eager=True)
@app.task
def add(x, y):
    return x + y
assert add.delay(1, 2).get() == 3
print([name for name in sys.modules if name.startswith("liteq.workflow")])
"""


def test_plain_tasks_do_not_import_the_workflow_room():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_room_imports_neither_asyncio_nor_pydantic_before_they_are_needed():
    script = (
        "import sys, liteq.workflow, liteq.workflow.activating.activation\n"
        "print([n for n in ('asyncio', 'pydantic') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
