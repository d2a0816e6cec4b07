"""The tasks of the tests of batches. A line in the ledger for each member: `<event> <task id> <pid>`."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from worker_tasks import app, note

from liteq import BatchItem
from liteq.exceptions import RateLimited, SoftTimeLimitExceeded


def begin(items: list[BatchItem]) -> None:
    note(f"batch-{len(items)}")
    for item in items:
        note("started", item.id or "")


@app.task(batch=10, batch_wait=0.3)
def double(items: list[BatchItem]) -> list[int]:
    begin(items)
    return [2 * item.args[0] for item in items]


@app.task(batch=1000, batch_wait=60)
def patient(items: list[BatchItem]) -> None:
    begin(items)


@app.task(batch=10, batch_wait=6)
def patient_ten(items: list[BatchItem]) -> None:
    begin(items)


@app.task(batch=10, batch_wait=0.3)
def rest(items: list[BatchItem]) -> None:
    """Sleeps as long as the longest asks for; runs until there is a file, where they name one."""
    begin(items)
    most = max(item.args[0] for item in items)
    if isinstance(most, str):
        while not os.path.exists(most):
            time.sleep(0.005)
    else:
        time.sleep(most)


@app.task(batch=10, batch_wait=0.3)
def deadly(items: list[BatchItem]) -> None:
    """Ends its process where one of its messages says so."""
    begin(items)
    if any(item.args[0] == "die" for item in items):
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(batch=10, batch_wait=0.3, time_limit=2.5)
def limited(items: list[BatchItem]) -> None:
    begin(items)
    if any(item.args[0] == "slow" for item in items):
        time.sleep(30)


@app.task(batch=10, batch_wait=0.3, soft_time_limit=1)
def soft(items: list[BatchItem]) -> None:
    begin(items)
    items[0].ok("in time")
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        items[1].ok("caught")
        raise


@app.task(batch=10, batch_wait=0.3, acks_late=False)
def once(items: list[BatchItem]) -> None:
    begin(items)
    if any(item.args[0] == "die" for item in items):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(items[0].args[0])


asked: set[str | None] = set()


@app.task(batch=10, batch_wait=0.3, limits=["api"])
def ask(items: list[BatchItem]) -> None:
    """Ask an API, which is busy for one of them, once."""
    begin(items)
    for item in items:
        if item.args[0] == "busy" and item.id not in asked:
            item.fail(RateLimited(retry_after=0.3))
        else:
            item.ok("second" if item.id in asked else "first")
        asked.add(item.id)


@app.task(batch=3, batch_wait=60, batch_key="{shop}")
def by_shop(items: list[BatchItem]) -> list[str]:
    begin(items)
    return ["".join(item.kwargs["shop"] for item in items)] * len(items)


@app.task
def plain(x: Any) -> Any:
    return x


@app.task
def nap(seconds: float) -> None:
    time.sleep(seconds)
