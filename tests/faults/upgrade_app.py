"""The app whose file is filled by an older liteq and carried on by this one: written for what both of them have.

Each execution writes a line into a ledger. What fails succeeds once there is a file `good`; what waits goes on once
there is a file `go`. The tasks of `later` are there for a queue that the older worker does not serve.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from liteq import LiteQ, Task
from liteq.clock import SystemClock
from liteq.schedules import crontab

FOLDER = Path(os.environ["DRILL_FOLDER"])
HOUR_S = 3_600
HAS_RUNS = hasattr(LiteQ, "workflow")
HAS_CURSORS = hasattr(Task, "save_cursor")


class Earlier(SystemClock):
    """The machine's clock, so many seconds ago: a file is filled years before it is carried on, on any machine."""

    def now_ms(self) -> int:
        return super().now_ms() - int(os.environ.get("UPGRADE_EARLIER_S", "0")) * 1_000


app = LiteQ("upgrade", broker=os.environ["DRILL_BROKER"], clock=Earlier())
app.conf.beat_schedule = {
    "a tick": {"task": "upgrade_app.tick", "schedule": 1.0},
    "each hour": {"task": "upgrade_app.strike", "schedule": crontab(minute=0)},
}


def note(kind: str, id_: str | None) -> None:
    """One line, in one write, to a file opened for append: whole or not there, whichever process is killed."""
    fd = os.open(FOLDER / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{kind} {id_}\n".encode())
    finally:
        os.close(fd)


def wait_for_go() -> None:
    while not (FOLDER / "go").exists():
        time.sleep(0.005)


@app.task(bind=True)
def work(self: Any, n: int) -> int:
    note("work", self.request.id)
    return n


@app.task(bind=True)
def large(self: Any, n: int) -> str:
    """A result that stands beside its row."""
    note("large", self.request.id)
    return str(n).ljust(20_000)


@app.task(bind=True)
def add(self: Any, before: int, n: int) -> int:
    note("add", self.request.id)
    return before + n


@app.task(bind=True)
def total(self: Any, values: list[int]) -> int:
    note("total", self.request.id)
    return sum(values)


@app.task(bind=True)
def flaky(self: Any, n: int) -> int:
    """A dead letter, until all is good."""
    note("flaky", self.request.id)
    if not (FOLDER / "good").exists():
        raise ValueError(f"not good yet: {n}")
    return n


@app.task(bind=True)
def until(self: Any, n: int) -> int:
    """Shows how far it has come, and goes on when it may."""
    note("until", self.request.id)
    self.update_state(state="PROGRESS", meta={"at": n})
    wait_for_go()
    return n


@app.task(bind=True, max_retries=5)
def again(self: Any, n: int) -> int:
    """Is put off by an hour the first time."""
    note("again", self.request.id)
    if not self.request.retries:
        raise self.retry(countdown=HOUR_S)
    return n + self.request.retries


@app.task(bind=True, global_rate_limit="1/h")
def shared(self: Any, n: int) -> int:
    note("shared", self.request.id)
    return n


@app.task(bind=True, rate_limit="1/h")
def paced(self: Any, n: int) -> int:
    note("paced", self.request.id)
    return n


@app.task(bind=True)
def failed(self: Any, *_: Any) -> None:
    """An errback."""
    note("failed", self.request.id)


@app.task(bind=True)
def tick(self: Any) -> None:
    note("tick", self.request.id)


@app.task(bind=True)
def strike(self: Any) -> None:
    note("strike", self.request.id)


if HAS_RUNS:
    from liteq.workflow import ctx

    @app.task(bind=True, max_concurrency=1, concurrency_key="{user}")
    def narrow(self: Any, n: int, user: str) -> int:
        """The first has its user's only place until it may go on; the others are held."""
        note("narrow", self.request.id)
        wait_for_go()
        return n

    @app.task(batch=10, batch_wait=0.05)
    def together(items: list[Any]) -> None:
        for item in items:
            note("together", item.id)
            item.ok(item.args[0])

    @app.step
    def one(n: int) -> int:
        note(f"one-{n}", ctx.run_id)
        return n * 10

    @app.step
    def held(n: int) -> int:
        note("held", ctx.run_id)
        wait_for_go()
        return n

    @app.step(memo=True)
    def expensive(question: str) -> str:
        note("paid", question)
        return question.upper()

    @app.step
    def undo(n: int) -> None:
        note(f"undo-{n}", ctx.run_id)

    @app.workflow
    def asks(question: str) -> str:
        return expensive(question)

    @app.workflow
    def sleeps() -> int:
        before = one(1)
        ctx.sleep(HOUR_S)
        return before + one(2)

    @app.workflow
    def listens() -> int:
        ctx.set("at", "the wait")
        got = one(1)
        ctx.emit("log", "waits")
        return got + int(ctx.wait_event("go")) + int(ctx.wait_event("go"))

    @app.workflow
    def approves() -> str:
        one(1)
        return "yes" if ctx.approval("May it?").ok else "no"

    @app.workflow
    def interrupted() -> int:
        return one(1) + held(2) + one(3)

    @app.workflow
    def gathers() -> list[int]:
        """One child has ended, the other waits in a queue that nobody serves."""
        return ctx.gather([ctx.spawn(work.s(1)), ctx.spawn(work.s(2).set(queue="later"))])

    @app.workflow
    def undoes() -> None:
        with ctx.saga() as started:
            one(1)
            started.add(undo, 1)
            ctx.wait_event("fail")
            raise LookupError("the order is refused")


if HAS_CURSORS:

    @app.task(bind=True)
    def pieces(self: Any, n: int) -> list[int]:
        """Goes on at its cursor: the result is the pieces of this execution."""
        note("pieces", self.request.id)
        begun = self.cursor or 0
        for piece in range(begun, n):
            if piece == 1:
                note("cursor", self.request.id)
                wait_for_go()
            self.save_cursor(piece + 1)
        return list(range(begun, n))
