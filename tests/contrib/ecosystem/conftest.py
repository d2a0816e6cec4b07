"""Programs of libraries that were written for Celery, unmodified: a sender and a prefork worker under the shim."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.states import UNFINISHED

PATIENCE_S = 60
WORKER = ("-A", "shop", "worker", "--concurrency", "1")

SHOP = """
import json, os
from celery import Celery, chain, shared_task
app = Celery("shop", broker="sqlite:///queue.db")

def note(kind, **fields):
    with open("noted.jsonl", "a") as file:
        print(json.dumps({"kind": kind, "pid": os.getpid(), **fields}, default=str), file=file)
"""


@pytest.fixture
def noted(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The notes of the programs, of one kind, in order."""

    def noted(kind: str) -> list[dict[str, Any]]:
        lines = (tmp_path / "noted.jsonl").read_text().splitlines() if (tmp_path / "noted.jsonl").exists() else []
        return [one for one in map(json.loads, lines) if one["kind"] == kind]

    return noted


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Write the module `shop`, run code that sends, and a worker until nothing is unfinished."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LITEQ_CELERY_SHIM": "1"}

    def run(shop: str, sends: str) -> None:
        (tmp_path / "shop.py").write_text(SHOP + shop)
        (tmp_path / "sends.py").write_text("from shop import *\n" + sends)
        with (tmp_path / "log").open("w+") as log:
            how = {"cwd": tmp_path, "env": environment, "stdout": log, "stderr": log}
            sent = subprocess.run([sys.executable, "-m", "liteq_celery", "sends.py"], timeout=PATIENCE_S, **how)
            assert sent.returncode == 0, (tmp_path / "log").read_text()
            worker = subprocess.Popen([sys.executable, "-m", "liteq", *WORKER], **how)
            try:
                wait_until_finished(f"sqlite:///{tmp_path}/queue.db")
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.wait(PATIENCE_S)
            assert worker.returncode == 0, (tmp_path / "log").read_text()

    return run


def wait_until_finished(url: str) -> None:
    """Wait until no message of the file is unfinished."""
    give_up_at = time.monotonic() + PATIENCE_S
    with LiteQ("shop", broker=url, set_as_current=False) as app:
        while any(one.state in UNFINISHED for one in app.storage.reader.counts()):
            assert time.monotonic() < give_up_at, "the worker has not finished"
            time.sleep(0.02)
