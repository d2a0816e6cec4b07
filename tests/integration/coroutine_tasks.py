"""The tasks of the asyncio pool's tests. What they do outside the queue is a line in a ledger."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from hurry import hurry

import liteq
from liteq import LiteQ, current_task
from liteq.exceptions import SoftTimeLimitExceeded, WorkerShutdown

hurry()
app = LiteQ("coroutine_tasks", broker=os.environ["WORKER_TEST_BROKER"])
app.conf.update(visibility_timeout=float(os.environ.get("WORKER_TEST_VISIBILITY_S", "60")))
LEDGER = os.environ["WORKER_TEST_LEDGER"]
tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


def note(event: str, task_id: str = "-") -> None:
    fd = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{event} {task_id} {os.getpid()}\n".encode())
    finally:
        os.close(fd)


@app.task(bind=True)
async def nap(self: Any, seconds: float) -> int:
    note("started", self.request.id)
    try:
        await asyncio.sleep(seconds)
    finally:
        note("left", self.request.id)
    note("finished", self.request.id)
    return os.getpid()


@app.task(bind=True)
async def rest_once(self: Any) -> str:
    """Sleeps without end the first time, not at all the second, in another process."""
    note("started", self.request.id)
    lines = Path(LEDGER).read_text().splitlines()  # noqa: ASYNC240 - a short file
    pids = [line.split()[2] for line in lines if line.startswith(f"started {self.request.id}")]
    if len(pids) == 1:
        await asyncio.sleep(3600)
    return "rested elsewhere" if pids[0] != pids[-1] else "rested here"


@app.task(bind=True, acks_late=False)
def hold_once(self: Any) -> str:
    """Runs at most once; holds its thread until the ledger says that all may go on."""
    note("started", self.request.id)
    while "\ngo " not in Path(LEDGER).read_text():
        time.sleep(0.01)
    return "held"


@app.task
async def as_tenant(name: str) -> list[str]:
    """Sees its own variable, and its own request, after each await; the tasks that it starts do too."""
    before = tenant.get()
    tenant.set(name)
    found = [before]

    async def inner() -> str:
        await asyncio.sleep(0.01)
        return f"{tenant.get()} {current_task.request.args[0]}"

    for _ in range(3):
        await asyncio.sleep(0.01)
        found.append(tenant.get())
    found += await asyncio.gather(inner(), asyncio.to_thread(tenant.get))
    return found


@app.task(bind=True)
def plain(self: Any, seconds: float) -> str:
    note("started", self.request.id)
    time.sleep(seconds)
    note("finished", self.request.id)
    return threading.current_thread().name


@app.task(bind=True)
def until(self: Any, path: str) -> str:
    """Runs in its thread until there is a file of that name; the thread's."""
    note("started", self.request.id)
    while not Path(path).exists():
        time.sleep(0.01)
    note("finished", self.request.id)
    return threading.current_thread().name


@app.task(bind=True)
async def soft(self: Any, seconds: float) -> str:
    note("started", self.request.id)
    try:
        await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0)
        return "caught"
    return "undisturbed"


@app.task(bind=True)
async def stubborn(self: Any) -> None:
    """Takes no hint and no cancel."""
    note("started", self.request.id)
    while True:
        with contextlib.suppress(asyncio.CancelledError, SoftTimeLimitExceeded):
            await asyncio.sleep(60)


@app.task(bind=True)
async def block(self: Any, seconds: float) -> str:
    """Holds up the loop, the first time."""
    note("started", self.request.id)
    await asyncio.sleep(0.05)
    if Path(LEDGER).read_text().count(f"started {self.request.id}") == 1:  # noqa: ASYNC240 - it blocks as it is
        time.sleep(seconds)  # noqa: ASYNC251
    return "went on"


@app.task(bind=True)
async def die(self: Any) -> None:
    note("started", self.request.id)
    await asyncio.sleep(0.2)
    os._exit(3)


@app.task(bind=True)
async def leave(self: Any, how: str) -> str:
    if how == "sys.exit":
        sys.exit(3)
    if how == "in a child":

        async def inner() -> None:
            sys.exit(4)

        await asyncio.gather(inner())
    if how == "cancelled":
        raise asyncio.CancelledError
    if how == "shutdown":
        raise WorkerShutdown("enough")
    if how == "interrupt":
        raise KeyboardInterrupt
    return how


@app.task(bind=True, max_retries=2)
async def fails_twice(self: Any) -> int:
    await asyncio.sleep(0.001)
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return int(self.request.retries)


@app.task(bind=True, autoretry_for=(ValueError,), default_retry_delay=0.05, max_retries=1)
async def never_works(self: Any) -> None:
    note("started", self.request.id)
    await asyncio.sleep(0)
    raise ValueError("no")


@app.task(bind=True)
async def reports(self: Any, n: int) -> str:
    for i in range(n):
        self.progress(i + 1, n, "on its way")
        self.emit("words", f"word {i + 1}")
        await asyncio.sleep(0.02)
    return "told"


@app.task(bind=True)
async def ticks(self: Any, path: str) -> None:
    """A line each time that the loop has come back, until there is a file of that name."""
    note("started", self.request.id)
    while not Path(path).exists():  # noqa: ASYNC240 - a short look
        note("tick")
        await asyncio.sleep(0.01)


@app.task(batch=50, batch_wait=0.2)
async def together(items: list[liteq.BatchItem]) -> list[int]:
    await asyncio.sleep(0.01)
    for item in items:
        if item.args[0] < 0:
            item.fail(ValueError("negative"))
    return [len(items)] * len(items)


@app.task
async def pid() -> int:
    return os.getpid()


hoard: list[bytes] = []


@app.task
async def grow(mib: int) -> int:
    hoard.append(os.urandom(1 << 20) * mib)
    await asyncio.sleep(0.3)
    return os.getpid()


@app.step
async def fetch(n: int) -> int:
    await asyncio.sleep(0.01)
    return n + 1


@app.workflow
async def counts(n: int) -> int:
    for _ in range(3):
        n = await fetch(n)
    return n


@app.step(timeout="1s", retries=0)
def stuck(n: int) -> int:
    """Does not await, and does not end: the first time."""
    note("stuck")
    if Path(LEDGER).read_text().count("stuck -") == 1:
        time.sleep(60)
    return n


@app.workflow
def gets_stuck(n: int) -> int:
    return stuck(n)
