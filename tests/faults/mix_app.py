"""The app of the long mix: tasks whose result is known before they are sent, however they come to it.

A task of a number returns that number, `keyed` a number made of its key. So the input of each body of a chord can be
written into its signature, and the body says when it has got another.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

from drill_app import note

from liteq import LiteQ, chain, chord
from liteq.clock import SystemClock
from liteq.exceptions import RateLimited, SoftTimeLimitExceeded

GOOD = Path(os.environ["MIX_FOLDER"]) / "good"  # once it is there, what failed would succeed
OFFSET = Path(os.environ["MIX_FOLDER"]) / "clock"  # by how many seconds the wall clock has been set
LARGE = 40_000  # bytes: arguments and results so large stand beside their row


class SetClock(SystemClock):
    """The machine's clock, set as the drill says.

    Not by libfaketime: its processes share a semaphore, and one that is killed with it stops all others for good.
    """

    def now_ms(self) -> int:
        return super().now_ms() + int(OFFSET.read_text() or 0) * 1000


app = LiteQ("mix", broker=os.environ["DRILL_BROKER"], clock=SetClock())
app.conf.beat_schedule = {
    "a tick": {"task": "mix_app.tick", "schedule": 1.0},
    "a chord": {"task": "mix_app.spread", "schedule": 2.0, "args": (3,)},
}


@app.task(bind=True)
def work(self: Any, n: int, pad: str = "") -> int:
    note("work", self.request.id)
    time.sleep(random.random() / 100)
    return n


@app.task(bind=True)
def add(self: Any, before: Any, n: int) -> int:
    """A link of a chain."""
    note("add", self.request.id)
    return int(before) + n


@app.task(bind=True)
def total(self: Any, values: list[Any], expected: list[int]) -> int:
    """The body of a chord; zeros come from members that were added meanwhile."""
    note("total", self.request.id)
    if not isinstance(values, list) or [int(value) for value in values if int(value)] != expected:
        note("wrong", f"{self.request.id} {values!r:.200} for {expected}")
    return sum(expected)


@app.task(bind=True)
def keyed(self: Any, k: int) -> int:
    """Sent under a unique key made of `k`: whichever message of that key runs, this is its result."""
    note("keyed", self.request.id)
    time.sleep(random.random() / 10)
    return 1_000 + k


def by_key(k: int) -> Any:
    return keyed.si(k).set(unique_key=f"key-{k}")


@app.task(bind=True)
def large(self: Any, n: int, pad: str) -> str:
    note("large", self.request.id)
    return str(n).ljust(LARGE)


@app.task(bind=True)
def flaky(self: Any, n: int) -> int:
    """A dead letter, until it is replayed when all is good."""
    note("flaky", self.request.id)
    if not GOOD.exists():
        raise ValueError(f"not good yet: {n}")
    return n


@app.task(bind=True, max_retries=None)
def retried(self: Any, n: int) -> int:
    note("retried", self.request.id)
    if not GOOD.exists() and random.random() < 0.6:
        raise self.retry(countdown=random.random() / 2)
    return n


@app.task(bind=True, soft_time_limit=0.2)
def soft(self: Any, n: int) -> int:
    """Runs past its soft limit, where the pool has one, in the midst of calls; and comes to its result."""
    note("soft", self.request.id)
    end = time.monotonic() + 0.6
    try:
        while time.monotonic() < end:
            self.update_state(state="PROGRESS", meta={"n": n})
            work.delay(0)
            time.sleep(0.05)
    except SoftTimeLimitExceeded:
        pass
    return n


@app.task(bind=True, time_limit=0.3)
def overdue(self: Any, n: int) -> int:
    """Runs past its hard limit, where the pool has one."""
    note("overdue", self.request.id)
    time.sleep(0.6)
    return n


@app.task(bind=True, rate_limit="20/s")
def limited(self: Any, n: int) -> int:
    note("limited", self.request.id)
    return n


@app.task(bind=True, global_rate_limit="20/s")
def shared(self: Any, n: int) -> int:
    note("shared", self.request.id)
    return n


@app.task(bind=True, max_concurrency=2, concurrency_key="{k}", limits=("mix",))
def narrow(self: Any, n: int, k: int) -> int:
    note("narrow", self.request.id)
    time.sleep(random.random() / 50)
    return n


@app.task(bind=True, fair_key="{k}", limits=("mix",))
def fair(self: Any, n: int, k: int) -> int:
    note("fair", self.request.id)
    return n


@app.task(bind=True, limits=("api",))
def polite(self: Any, n: int) -> int:
    """Is refused now and then, and told when to come again."""
    note("polite", self.request.id)
    if not GOOD.exists() and random.random() < 0.1:
        raise RateLimited(retry_after=random.random())
    return n


@app.task(batch=5, batch_wait=0.05, max_concurrency=3)
def together(items: list[Any]) -> None:
    for item in items:
        note("together", item.id)
        item.ok(item.args[0])


@app.task(bind=True)
def replaced(self: Any, n: int, how: str) -> int:
    """Something else takes its place, which comes to the same number."""
    note("replaced", self.request.id)
    if how == "own":
        raise self.replace(self.signature_from_request(args=[n, "none"]))
    if how == "chain":
        raise self.replace(chain(work.si(n - 3), add.s(1), add.s(2)))
    if how == "chord":
        raise self.replace(chord([work.si(n - 1), work.si(1)], total.s([n - 1, 1])))
    if how == "key":
        raise self.replace(by_key(n - 1_000))
    return n


@app.task(bind=True)
def grows(self: Any, n: int) -> int:
    """Adds a member that counts nothing to its chord."""
    note("grows", self.request.id)
    if self.request.group:
        self.add_to_chord(work.si(0))
    return n


@app.task(bind=True)
def failed(self: Any, *_: Any) -> None:
    """An errback."""
    note("failed", self.request.id)


@app.task(bind=True)
def tick(self: Any) -> None:
    note("tick", self.request.id)


@app.task(bind=True)
def spread(self: Any, n: int) -> None:
    """Sends a chord of its own."""
    note("spread", self.request.id)
    values = list(range(1, n + 1))
    chord([work.si(value) for value in values], total.s(values)).apply_async()
