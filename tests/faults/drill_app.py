"""The app of the kill drills. Every execution writes a line into a ledger outside the database."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import threading
import time
from pathlib import Path
from typing import Any

import tripwire

from liteq import LiteQ, Task
from liteq.signals import task_failure

app = LiteQ("drill", broker=os.environ["DRILL_BROKER"])
LEDGER = os.environ["DRILL_LEDGER"]


def note(kind: str, task_id: str | None) -> None:
    """One line, in one write, to a file opened for append: whole or not there, whoever is killed."""
    fd = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{kind} {task_id}\n".encode())
    finally:
        os.close(fd)


@app.task(bind=True)
def work(self: Any, n: int) -> int:
    """A member of a chord, or a single task: a little work, its number as its result."""
    note("work", self.request.id)
    time.sleep(0.002)
    return n


@app.task(bind=True)
def add(self: Any, before: int, n: int) -> int:
    """A link of a chain."""
    note("add", self.request.id)
    return before + n


@app.task(bind=True)
def total(self: Any, values: list[int]) -> int:
    """The body of a chord."""
    note("total", self.request.id)
    return sum(values)


@app.task(bind=True)
def suicide(self: Any) -> None:
    """Kills the process that runs it, every time."""
    note("suicide", self.request.id)
    os.kill(os.getpid(), 9)


@app.task(bind=True)
async def wait_a_while(self: Any, seconds: float) -> float:
    """Waits beside others on an event loop."""
    note("wait_a_while", self.request.id)
    await asyncio.sleep(seconds)
    return seconds


@app.task(bind=True)
async def suicide_in_company(self: Any) -> None:
    """Kills the process that runs it, and others beside it, every time."""
    note("suicide_in_company", self.request.id)
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), 9)


class Told(Task):
    """Notes which of its hooks were called, and by what error."""

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(f"on_failure-{type(exc).__name__}{args}", task_id)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(f"after_return-{status}", task_id)


@task_failure.connect
def failed(sender: Any = None, task_id: str = "", exception: Any = None, **_: Any) -> None:
    if isinstance(sender, Told):
        note(f"task_failure-{type(exception).__name__}", task_id)


@app.task(bind=True, base=Told)
def doomed(self: Any, n: int) -> None:
    """Kills the process that runs it, every time; its hooks tell."""
    os.kill(os.getpid(), 9)


@app.task(bind=True, base=Told, time_limit=0.2)
def overdue(self: Any, n: int) -> None:
    """Runs past its hard limit; its hooks tell."""
    time.sleep(3600)


@app.task
def leave_alarm(seconds: int) -> None:
    """Leaves an alarm behind, which ends the process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)


@app.task
def leave_thread(path: str) -> None:
    """Leaves a thread behind, which ends the process once there is a file of that name."""

    def end() -> None:
        while not os.path.exists(path):
            time.sleep(0.01)
        os._exit(7)

    threading.Thread(target=end, name="the culprit", daemon=True).start()


@app.task(bind=True)
def wait(self: Any) -> None:
    """Runs until its process ends."""
    note("wait", self.request.id)
    time.sleep(3600)


@app.task(bind=True)
def until(self: Any, path: str) -> int:
    """Runs until there is a file of that name; which process did."""
    note("until", self.request.id)
    while not os.path.exists(path):
        time.sleep(0.01)
    return os.getpid()


DEATHS = {
    "segfault": lambda: ctypes.string_at(0),
    "as the OOM killer does": lambda: os.kill(os.getpid(), 9),
    "abort": os.abort,
    "exit": lambda: os._exit(3),
    "SIGTERM to itself": lambda: os.kill(os.getpid(), 15),
}


@app.task(bind=True)
def die_once(self: Any, how: str, folder: str) -> float:
    """Ends its process the first time; then says how many seconds later it was run again."""
    note("die_once", self.request.id)
    mark = Path(folder) / self.request.id
    if mark.exists():
        return time.monotonic() - float(mark.read_text())
    mark.write_text(str(time.monotonic()))
    DEATHS[how]()
    raise AssertionError(f"{how} was survived")


@app.task(bind=True)
def devour(self: Any) -> None:
    """Wants more memory than its process may have."""
    note("devour", self.request.id)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    allowed = pages * resource.getpagesize() + 32 * 2**20
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, before[1]))
    try:
        hoard = [bytes(2**20) for _ in range(4_096)]
        raise AssertionError(f"{len(hoard)} MiB were granted")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


_leaked: list[bytes] = []


@app.task(bind=True)
def leak(self: Any, kib: int) -> int:
    """Keeps memory for good; which process did."""
    note("leak", self.request.id)
    _leaked.append(b"x" * (kib << 10))
    return os.getpid()


@app.task
def large(n: int) -> str:
    """A result of `n` bytes, encoded."""
    return "x" * (n - 2)


@app.task
def tower(depth: int) -> list[Any]:
    """A result of `depth` lists in each other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@app.task
def complain(depth: int, n: int) -> None:
    """Fails `depth` calls deep, at length, with what a terminal would obey."""
    if depth:
        complain.run(depth - 1, n)
    raise ValueError("\x1b[2J\r\n[2026-01-01 00:00:00,000: INFO/MainProcess] forged\n" + "y" * n)


tripwire.install()
