"""The app of the drill with hosts: every execution, and every step of a run, writes its start and its end.

A line: what, its kind, the id of the task or the run, the fencing token (of a step: its number), the host, the time.
The files are shared by the hosts, and an append of one line is whole or not there, whichever process is killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from liteq import LiteQ
from liteq.clock import SystemClock
from liteq.exceptions import Retry
from liteq.workflow import ctx

LEDGER = os.environ["DRILL_LEDGER"]
HOST = os.environ["DRILL_HOST"]
SKEW_MS = int(os.environ.get("DRILL_SKEW_MS", "0"))  # by how much this host's clock is wrong
LONG_S = float(os.environ["DRILL_LONG_S"])  # longer than a lease


class Skewed(SystemClock):
    """The clock of a host that nobody sets."""

    def now_ms(self) -> int:
        return super().now_ms() + SKEW_MS


app = LiteQ("hosts", broker=os.environ["DRILL_BROKER"], clock=Skewed())


def note(what: str, kind: str, id_: str, token: int) -> None:
    fd = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{what} {kind} {id_} {token} {HOST} {time.time():.3f}\n".encode())
    finally:
        os.close(fd)


@contextmanager
def noted(kind: str, request: Any) -> Iterator[None]:
    note("start", kind, request.id, request.token)
    yield
    note("end", kind, request.id, request.token)


@app.task(bind=True)
def work(self: Any, n: int) -> int:
    with noted("work", self.request):
        time.sleep(0.01)
        return n


@app.task(bind=True)
def add(self: Any, before: int, n: int) -> int:
    """A link of a chain."""
    with noted("add", self.request):
        return before + n


@app.task(bind=True)
def total(self: Any, values: list[int]) -> int:
    """The body of a chord."""
    with noted("total", self.request):
        return sum(values)


@app.task(bind=True)
def long(self: Any, n: int) -> int:
    """Works for longer than its lease lasts."""
    with noted("long", self.request):
        time.sleep(LONG_S)
        return n


@app.task(bind=True, max_retries=None)
def retried(self: Any, n: int) -> int:
    """Asks to be run again, twice."""
    with noted("retried", self.request):
        if self.request.retries < 2:
            try:
                raise self.retry(countdown=0.2)
            except Retry:
                note("end", "retried", self.request.id, self.request.token)
                raise
        return n


@app.task(bind=True)
def keyed(self: Any, k: int) -> int:
    """Sent under a unique key made of `k`: whichever message of that key runs, this is its result."""
    with noted("keyed", self.request):
        time.sleep(0.1)
        return 1_000 + k


@app.step
def step(n: int) -> int:
    note("start", f"step-{n}", ctx.run_id, n)
    time.sleep(0.02)
    note("end", f"step-{n}", ctx.run_id, n)
    return n * 10


@app.workflow
def order(n: int) -> int:
    """Four steps, with a wait between them, and a chord's worth of tasks."""
    made = step(1) + step(2)
    ctx.sleep(0.3)
    return made + step(3) + step(4) + n
