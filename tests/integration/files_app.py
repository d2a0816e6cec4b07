"""The tasks of the tests of many files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from liteq import LiteQ
from liteq.worker.files.seat import Seat
from liteq.workflow import ctx

app = LiteQ("files")
if os.environ.get("FILES_APP_BEAT"):
    app.conf.beat_schedule = {"tick": {"task": "files_app.tick", "schedule": 1.0}}


def note(*words: object) -> None:
    """Add a line to the ledger."""
    with Path(os.environ["WORKER_TEST_LEDGER"]).open("a", encoding="utf-8") as file:
        file.write(" ".join(map(str, words)) + "\n")


@app.task(bind=True)
def where(self: Any) -> str:
    return str(self.request.db)


@app.task(bind=True)
def tick(self: Any) -> None:
    note("ticked", self.request.db)


@app.task
def sends(db: str | None = None) -> str:
    if db is None:
        return str(where.delay().id)
    with app.using(db):
        return str(where.delay().id)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def tries_again(self: Any) -> list[Any]:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return [self.request.retries, self.request.db]


@app.task(bind=True)
def takes_another_place(self: Any) -> None:
    raise self.replace(add.s(2, 3))


@app.task(bind=True)
def tells(self: Any) -> None:
    for n in range(4):
        self.progress(n, 3)


@app.task(time_limit=1)
def hangs() -> None:
    time.sleep(60)


@app.task(batch=10, batch_wait=0.5)
def together(items: list[Any]) -> list[Any]:
    return [[[item.args[0] for item in items], item.args[0]] for item in items]


@app.step
def double(n: int) -> list[Any]:
    note("double", n)
    return [2 * n, where.delay().id]


@app.workflow
def doubles(n: int) -> list[Any]:
    first, sent = double(n)
    ctx.sleep(0.2)
    return [double(first)[0], ctx.call(where), sent]


@app.task
def counted(name: str, n: int) -> str:
    note("ran", name, n)
    return name


@app.task(bind=True)
def sleeps(self: Any, seconds: float) -> str:
    note("sleeps", self.request.id, os.getpid())
    time.sleep(seconds)
    return "slept"


@app.task(bind=True)
def waits(self: Any, path: str) -> str:
    """Runs until there is a file of that name."""
    note("sleeps", self.request.id, os.getpid())
    while not os.path.exists(path):
        time.sleep(0.005)
    return "slept"


def send_without_a_ring(path: str) -> str:
    """Send `where` to the file, and tell nobody; its id."""
    with app.using(path):
        driver = type(app.storage.driver)
        with mock.patch.object(driver, "ring", return_value=None):
            return str(where.delay().id)


if os.environ.get("FILES_APP_SENDS_AT_REST"):

    def rest(seat: Seat, now: float, close: Callable[[Seat, float], None] = Seat.rest) -> None:
        if "sent" not in Path(os.environ["WORKER_TEST_LEDGER"]).read_text(encoding="utf-8"):
            note("sent", send_without_a_ring(seat.path))
        close(seat, now)

    Seat.rest = rest  # type: ignore[method-assign]
