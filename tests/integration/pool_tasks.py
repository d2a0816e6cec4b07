"""The tasks of the tests of pools, beside those of worker_tasks.py."""

from __future__ import annotations

import os
import time
from typing import Any

from worker_tasks import LEDGER, app, note

from liteq import BatchItem

_kept: list[bytes] = []


@app.task(bind=True)
def stuck_at_first(self: Any) -> int:
    """Never ends where it runs for the first time."""
    note("started", self.request.id)
    with open(LEDGER) as ledger:
        times = sum(line.split()[:2] == ["started", self.request.id] for line in ledger)
    if times == 1:
        time.sleep(60)
    return os.getpid()


@app.task(bind=True)
def half_way(self: Any, path: str) -> str:
    """Says that it is half way, and waits for a file."""
    self.progress(1, 2, "half")
    while not os.path.exists(path):
        time.sleep(0.005)
    return "done"


@app.task(bind=True)
def until(self: Any, path: str) -> int:
    """Runs until there is a file of that name."""
    note("started", self.request.id)
    while not os.path.exists(path):
        time.sleep(0.005)
    return os.getpid()


@app.task(batch=5, batch_wait=0.3)
def double(items: list[BatchItem]) -> list[int]:
    return [2 * item.args[0] for item in items]


@app.task
def a_peak(mib: int) -> int:
    """Takes much memory, and gives it back."""
    taken = bytearray(mib << 20)
    return os.getpid() if taken else 0


@app.task(bind=True, isolate=True)
def alone(self: Any, seconds: float = 0.0) -> tuple[int, int]:
    """Which process runs it, and how many runs of it that has seen."""
    note("started", self.request.id)
    _kept.append(b"")
    time.sleep(seconds)
    note("finished", self.request.id)
    return os.getpid(), len(_kept)


@app.task(bind=True, isolate=True)
def alone_until(self: Any, path: str) -> int:
    note("started", self.request.id)
    while not os.path.exists(path):
        time.sleep(0.005)
    return os.getpid()


@app.task(bind=True, isolate=True, time_limit=0.3)
def alone_for_too_long(self: Any) -> None:
    note("started", self.request.id)
    time.sleep(60)


@app.task(isolate=True)
def alone_and_dead() -> None:
    os._exit(3)


@app.task
def default_priority() -> Any:
    return app.conf.task_default_priority
