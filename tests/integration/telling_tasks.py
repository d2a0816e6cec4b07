"""Tasks that tell of themselves while they run, and one that is sent very often; for real workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import liteq
from liteq import LiteQ

app = LiteQ("telling_tasks", broker=os.environ["WORKER_TEST_BROKER"])
LEDGER = Path(os.environ["WORKER_TEST_LEDGER"])


def until(file: str) -> None:
    """Wait until the test has made a file."""
    while not LEDGER.with_name(file).exists():
        time.sleep(0.005)


@app.task(bind=True)
def import_rows(self: Any, total: int) -> str:
    for n in range(1, total + 1):
        self.progress(n, total, f"row {n}")
    until("go on")  # busy with something else: it says no more
    return "done"


@app.task(bind=True, ignore_result=True)
def words(self: Any) -> None:
    for n, word in enumerate(("one", "two", "three"), 1):
        self.emit("words", word)
        until(f"read {n}")
    for n in range(100):
        self.emit("words", n)  # its last chunks are held back


@app.task(bind=True)
def dies_once(self: Any) -> None:
    self.emit("words", "first")
    if not self.request.crashes:
        until("kill")
        os.kill(os.getpid(), signal.SIGKILL)
    self.emit("words", "second")


@app.task
def counted(done: int) -> None:
    liteq.progress(done, 2, "counted")


@app.task(ignore_result=True)
def element(n: int) -> None:
    fd = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, f"{n}\n".encode())
    os.close(fd)


def elements(n: int) -> Iterator[int]:
    """The numbers below `n`; the last tenth of them when the test says so: it is to kill senders that are at work."""
    for number in range(n):
        if number == n * 9 // 10:
            until("come to the end")
        yield number


if __name__ == "__main__":  # a sender: `element`, so many times, under one name
    print(element.send_many(elements(int(sys.argv[1])), chunk=25, name="all of them"), flush=True)
