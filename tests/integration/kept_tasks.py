"""Tasks that can be interrupted, and tasks whose log is kept; for real workers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from liteq import LiteQ
from liteq.utils.log import get_task_logger

app = LiteQ("kept_tasks", broker=os.environ["WORKER_TEST_BROKER"])
LEDGER = Path(os.environ["WORKER_TEST_LEDGER"])
log = get_task_logger(__name__)
library = logging.getLogger("a.library")


def note(text: object) -> None:
    fd = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, f"{text}\n".encode())
    os.close(fd)


def held_up() -> bool:
    return LEDGER.with_name("slowly").exists()


@app.task(bind=True)
def export(self: Any, total: int) -> str:
    """Each row once; as careful as people are, who catch all that is an error."""
    try:
        for n in range(self.cursor or 0, total):
            try:
                note(n)
                self.save_cursor(n + 1)
            except Exception:
                note("an error")
            if held_up():
                time.sleep(0.02)
    finally:
        note("left")
    return "done"


@app.task(bind=True)
async def aexport(self: Any, total: int) -> str:
    for n in range(self.cursor or 0, total):
        note(n)
        self.save_cursor(n + 1)
        if held_up():
            await asyncio.sleep(0.02)
    return "done"


@app.task(bind=True, isolate=True)
def isolated(self: Any, total: int) -> str:
    for n in range(self.cursor or 0, total):
        note(n)
        self.save_cursor(n + 1)
        if held_up():
            time.sleep(0.02)
    return "done"


@app.task(bind=True)
def dies(self: Any, total: int) -> str:
    for n in range(self.cursor or 0, total):
        note(n)
        self.save_cursor(n + 1)
        time.sleep(0.05)
        if n == 30 and not self.request.crashes:
            os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@app.task(bind=True, autoretry_for=(ValueError,), default_retry_delay=0, retry_kwargs={"countdown": 0})
def fails_once(self: Any, total: int) -> list[Any]:
    begun = self.cursor
    for n in range(begun or 0, total):
        note(n)
        self.save_cursor(n + 1)
        if n == 3 and not self.request.retries:
            raise ValueError("once")
    return [begun, self.cursor]


# -- logs ------------------------------------------------------------------------------------------------------------


@app.task(log_keep="1h")
def speaks(name: str) -> None:
    log.info("hello %s", name)
    library.warning("of a library")
    print("printed")


@app.task(log_keep="1h", bind=True, max_retries=1, default_retry_delay=0)
def stumbles(self: Any) -> None:
    log.warning("try %d", self.request.retries)
    raise self.retry(exc=ValueError("no good"), countdown=0)


@app.task(log_keep="1h", bind=True)
def talks(self: Any) -> None:
    for n in range(3):
        log.warning("line %d", n)
        while not LEDGER.with_name(f"read {n}").exists():
            time.sleep(0.005)


@app.task(log_keep="1h")
def floods(n: int) -> None:
    for i in range(n):
        log.warning("line %d", i)


@app.task
def silent(name: str) -> None:
    log.warning("hello %s", name)


@app.task(log_keep="1h", batch=10, batch_wait=0.2)
def together(items: list[Any]) -> None:
    log.warning("%d at once", len(items))


@app.task(log_keep="1h", sensitive=("password",))
def logs_in(user: str, password: str) -> None:
    raise ValueError(f"refused: {user} with {password}")


@app.task(log_keep="1h")
async def aspeaks(name: str) -> None:
    log.info("hello %s", name)
    await asyncio.sleep(0)
    log.info("bye %s", name)
