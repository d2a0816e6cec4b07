"""The page about Celery's behaviour and the tests that it names speak of the same rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_each_row_of_the_page_has_its_test_and_each_test_its_row():
    tool = ROOT / "docs" / "generate" / "celery_page.py"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run([sys.executable, tool, "--check"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
