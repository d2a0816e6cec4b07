"""The app of the rolling restart. A line of the ledger has also when the task was sent, and when it began."""

from __future__ import annotations

import os
import time
from typing import Any

from liteq import LiteQ

app = LiteQ("rolling", broker=os.environ["DRILL_BROKER"])
LEDGER = os.environ["DRILL_LEDGER"]
LONG_S = 0.5


def note(task_id: str, sent_ns: int) -> None:
    """One line, in one write, to a file opened for append; times of the clock that all processes have in common."""
    fd = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"step {task_id} {sent_ns} {time.monotonic_ns()}\n".encode())
    finally:
        os.close(fd)


@app.task(bind=True)
def short(self: Any, n: int, sent_ns: int) -> int:
    """Most of the load."""
    note(self.request.id, sent_ns)
    time.sleep(0.005)
    return n


@app.task(bind=True)
def long(self: Any, n: int, sent_ns: int) -> int:
    """Something that a worker which is asked to end still has to finish."""
    note(self.request.id, sent_ns)
    time.sleep(LONG_S)
    return n
