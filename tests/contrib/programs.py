"""Programs of a test: a module `shop`, one that sends, and a prefork worker until nothing is unfinished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from liteq import LiteQ
from liteq.states import UNFINISHED

PATIENCE_S = 60
NOTE = """
def note(kind, **fields):
    with open("noted.jsonl", "a") as file:
        print(json.dumps({"kind": kind, "pid": os.getpid(), **fields}, default=str), file=file)
"""


def noted_in(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The notes of the programs in `folder`, of one kind, in order."""
    notes = folder / "noted.jsonl"
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [one for one in map(json.loads, lines) if one["kind"] == kind]


def run_programs(
    folder: Path, shop: str, sends: str, *, python: Sequence[str] = (), options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Write the module `shop`, run code that sends, and a worker until nothing is unfinished; their log.

    `python`: how Python is told to run the sender. `options`: more of the worker.
    """
    (folder / "shop.py").write_text(shop)
    (folder / "sends.py").write_text("from shop import *\n" + sends)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})}
    with (folder / "log").open("w+") as log:
        how: dict[str, Any] = {"cwd": folder, "env": env, "stdout": log, "stderr": log}
        sent = subprocess.run([sys.executable, *python, "sends.py"], timeout=PATIENCE_S, **how)
        assert sent.returncode == 0, (folder / "log").read_text()
        command = [sys.executable, "-m", "liteq", "-A", "shop", "worker", "--concurrency", "1", *options]
        worker = subprocess.Popen(command, **how)
        try:
            wait_until_finished(f"sqlite:///{folder}/queue.db")
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(PATIENCE_S)
        assert worker.returncode == 0, (folder / "log").read_text()
    return (folder / "log").read_text()


def wait_until_finished(url: str) -> None:
    """Wait until no message of the file is unfinished."""
    give_up_at = time.monotonic() + PATIENCE_S
    with LiteQ("shop", broker=url, set_as_current=False) as app:
        while any(one.state in UNFINISHED for one in app.storage.reader.counts()):
            assert time.monotonic() < give_up_at, "the worker has not finished"
            time.sleep(0.02)
