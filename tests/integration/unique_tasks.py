"""The app of test_unique_processes.py, and a program that sends calls and tells of each."""

from __future__ import annotations

import os
import sys
import time
from itertools import count
from typing import Any

from liteq import Debounce, LiteQ, Throttle

app = LiteQ("unique_tasks", broker=os.environ["WORKER_TEST_BROKER"])
LEDGER = os.environ["WORKER_TEST_LEDGER"]


def note(event: str, *words: object) -> None:
    """One line, in one write, to a file opened for append: whole or not there, whoever is killed."""
    fd = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, (" ".join([event, *map(str, words)]) + "\n").encode())
    finally:
        os.close(fd)


@app.task(bind=True, unique=True)
def refresh(self: Any, page: str) -> str:
    note("started", self.request.id, time.monotonic())
    time.sleep(0.02)
    return page


@app.task(bind=True, unique=Debounce(0.2, max_wait=0.8))
def save(self: Any, edit: int) -> int:
    note("saved", edit, time.monotonic())
    time.sleep(0.05)
    return edit


@app.task(bind=True, unique=Throttle(0.5, trailing=True))
def ping(self: Any, n: int) -> int:
    """Its period is counted from its claim: a body that begins late tells of that by the period's end, in the file.

    By the machine's uptime, which decides: the time of day was read at another moment, and is one millisecond off.
    """
    with app.storage.driver.read() as tx:
        ends = tx.execute("SELECT until_up_ms FROM liteq_unique WHERE id = ?", (self.request.id,))
    note("pinged", n, ends[0][0] if ends else "-", self.request.id)
    return n


def send_until(name: str, enough: str) -> None:
    """Send equal calls of `refresh`, or one numbered call after the other of another task, until `enough` is there."""
    task = app.tasks[f"unique_tasks.{name}"]
    for n in count():
        result = task.delay("front" if name == "refresh" else n)
        print(result.id, int(result.duplicate), n, time.monotonic(), flush=True)
        if os.path.exists(enough):
            break
        time.sleep(0.005 if name == "refresh" else 0.02)


if __name__ == "__main__":
    send_until(*sys.argv[1:])
