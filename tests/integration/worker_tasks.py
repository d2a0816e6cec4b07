"""The tasks of the worker's tests. What they do outside the queue is a line in a ledger: `<event> <task id> <pid>`."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from typing import Any

import click
from hurry import hurry

from liteq import LiteQ, signals
from liteq.exceptions import SoftTimeLimitExceeded, WorkerShutdown, WorkerTerminate

hurry()
app = LiteQ("worker_tasks", broker=os.environ["WORKER_TEST_BROKER"])
app.conf.update(visibility_timeout=float(os.environ.get("WORKER_TEST_VISIBILITY_S", "60")))
LEDGER = os.environ["WORKER_TEST_LEDGER"]


def note(event: str, task_id: str = "-") -> None:
    """One line, in one write, to a file opened for append: whole or not there, whoever is killed."""
    fd = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{event} {task_id} {os.getpid()}\n".encode())
    finally:
        os.close(fd)


@signals.worker_process_init.connect
def _born(**_: Any) -> None:
    note("process_init")


@signals.worker_process_shutdown.connect
def _gone(**_: Any) -> None:
    note("process_shutdown")


@app.task(bind=True)
def nap(self: Any, seconds: float) -> str:
    note("started", self.request.id)
    time.sleep(seconds)
    note("finished", self.request.id)
    return "rested"


@app.task(bind=True)
def until(self: Any, path: str) -> int:
    """Runs until there is a file of that name; the PID of its process."""
    note("started", self.request.id)
    while not os.path.exists(path):
        time.sleep(0.005)
    note("finished", self.request.id)
    return os.getpid()


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def echo(value: Any) -> Any:
    return value


@app.task
def blob(size: int) -> str:
    return "x" * size


@app.task
def pid() -> int:
    return os.getpid()


@app.task
def collector() -> tuple[bool, tuple[int, int, int], int]:
    return gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()


@app.task(bind=True)
def soft(self: Any, seconds: float) -> str:
    note("started", self.request.id)
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "caught"
    return "undisturbed"


@app.task(bind=True)
async def async_soft(self: Any, seconds: float) -> str:
    try:
        await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0)
        return "caught"
    return "undisturbed"


@app.task
async def async_nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@app.task(soft_time_limit=0.1)
def soft_by_option() -> None:
    time.sleep(30)


@app.task(time_limit=0.2)
def hard_by_option() -> None:
    time.sleep(30)


@app.task(bind=True)
def stubborn(self: Any) -> None:
    """Takes no hint: only the hard limit ends it."""
    note("started", self.request.id)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            time.sleep(30)
        except SoftTimeLimitExceeded:
            note("hint", self.request.id)


@app.task(bind=True, max_retries=2)
def fails_twice(self: Any) -> int:
    note("started", self.request.id)
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return int(self.request.retries)


@app.task(bind=True, autoretry_for=(ValueError,), default_retry_delay=0.05, max_retries=2)
def never_works(self: Any) -> None:
    note("started", self.request.id)
    raise ValueError("no")


@app.task(bind=True)
def die(self: Any, signum: int = signal.SIGKILL) -> None:
    note("started", self.request.id)
    os.kill(os.getpid(), signum)
    time.sleep(10)


@app.task(bind=True)
def leave(self: Any, how: str) -> None:
    note("started", self.request.id)
    match how:
        case "sys.exit":
            sys.exit(3)
        case "SystemExit":
            raise SystemExit("enough")
        case "os._exit":
            os._exit(0)
        case "KeyboardInterrupt":
            raise KeyboardInterrupt


@app.task(bind=True)
def comes_back_from_a_fork(self: Any, raising: bool) -> int:
    """A body that forgets `os._exit`: its copy returns, or raises, as it does itself."""
    note("started", self.request.id)
    child = os.fork()
    if child == 0 and raising:
        raise ValueError("in the copy")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else -1


@app.task(bind=True)
def retries_at_no_time(self: Any) -> None:
    note("started", self.request.id)
    raise self.retry(countdown=float("nan"))


@app.task
def echoes(text: str) -> None:
    click.echo(text)


@app.task
def reads_stdin() -> str:
    return sys.stdin.readline()


@app.task
def writes_to_descriptors() -> int:
    """How much stdout and stderr take, past Python's streams, as a program that a task starts would write."""
    return sum(os.write(fd, b"written\n") for fd in (1, 2))


class Unspeakable(Exception):
    """An exception that no codec takes: its arguments are live objects, its text raises."""

    def __init__(self) -> None:
        super().__init__(object(), open(os.devnull))

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@app.task
def raises_unspeakable() -> None:
    raise Unspeakable


@app.task
def returns_an_object() -> Any:
    return object()


def _double(queue: Any, x: int) -> None:
    queue.put(2 * x)


@app.task
def uses_multiprocessing(x: int) -> int:
    queue: Any = multiprocessing.Queue()
    process = multiprocessing.Process(target=_double, args=(queue, x))
    process.start()
    value: int = queue.get(timeout=60)
    process.join()
    return value


@app.task
def terminates_a_process() -> int | None:
    """As `multiprocessing.Pool.terminate` does: SIGTERM, then join."""
    process = multiprocessing.Process(target=time.sleep, args=(30,))
    process.start()
    process.terminate()
    process.join(60)
    return process.exitcode


@app.task
def uses_subprocess() -> str:
    return subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout.strip()


@app.task
def uses_fork() -> int:
    if (child := os.fork()) == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@app.task
def reaps_anything() -> str:
    """Waits for whichever child of its process there is, as careless code does."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return "none"
    return "some"


@app.task(bind=True)
def fan_out(self: Any, n: int) -> list[str]:
    self.update_state(state="PROGRESS", meta={"sent": 0})
    ids = [add.delay(i, i).id for i in range(n)]
    self.update_state(state="PROGRESS", meta={"sent": n})
    note("sent", self.request.id)
    return ids


@app.task(bind=True)
def reports_progress(self: Any, path: str) -> str:
    """Says where it is, and waits for a file before it goes on."""
    self.update_state(state="PROGRESS", meta={"done": 1})
    while not os.path.exists(path):
        time.sleep(0.005)
    return "done"


@app.task
def grow(mib: int) -> int:
    globals().setdefault("_kept", []).append(b"x" * (mib << 20))
    return os.getpid()


@app.task
def logs(text: str) -> None:
    logging.getLogger("shop").warning("%s", text)


@app.task(bind=True)
def order(self: Any, name: str) -> None:
    note(f"order:{name}", self.request.id)


@app.task(bind=True)
def pid_after(self: Any, seconds: float) -> int:
    note("started", self.request.id)
    time.sleep(seconds)
    note("finished", self.request.id)
    return os.getpid()


@app.task(bind=True)
def ends_the_worker(self: Any, cold: bool) -> None:
    note("started", self.request.id)
    raise WorkerTerminate if cold else WorkerShutdown
