"""liteq with workflows: an app without them, as the other measures have it, loads nothing of theirs."""

from __future__ import annotations

import time

from benchmarks.peers import liteq as plain
from benchmarks.peers.liteq import *  # noqa: F403 - what every measure asks a contestant for
from benchmarks.peers.liteq import app, claims, send_many, slots
from liteq.workflow import ctx


def workers(n: int) -> list[list[str]]:
    return plain.workers(n, "benchmarks.peers.liteq_flows")


@app.step
def mark(i: int) -> int:
    slots.stamp(i)
    return i


@app.workflow
def marks(first: int, steps: int) -> int:
    for i in range(first, first + steps):
        mark(i)
    return steps


@app.workflow
def woken(first: int, turns: int) -> None:
    for i in range(first, first + turns):
        ctx.wait_event("go")
        mark(i)


@app.workflow
def asleep_for(seconds: float) -> float:
    ctx.sleep(seconds)
    mark(slots.n - 2)
    return 0.0


def flows(runs: int, steps: int, first: int) -> None:
    app.enqueue_many(marks.s(first + run * steps, steps) for run in range(runs))


def waiting_run(run: int, first: int, turns: int) -> None:
    woken.options(id=f"woken-{run}").start(first, turns)


def wake(run: int) -> None:
    app.Run(f"woken-{run}").send("go")


def sleepers(runs: int) -> None:
    for first in range(0, runs, 10_000):
        app.enqueue_many(asleep_for.s(86_400.0) for _ in range(min(10_000, runs - first)))


def asleep() -> int:
    with app.storage.driver.read(alone=True) as tx:  # the counts for people stop at 10,000
        ((n,),) = tx.execute("SELECT count(*) FROM liteq_messages WHERE state = 'scheduled'")
    return n


def naps_late(samples: int) -> list[float]:
    late = []
    for _ in range(samples):
        before = slots.at(slots.n - 2)
        begun = time.monotonic()  # before the start: the wait for the processor after it is none of the sleep
        asleep_for.start(0.3)
        while slots.at(slots.n - 2) == before:
            time.sleep(0.0002)
        late.append(slots.at(slots.n - 2) - begun - 0.3)
    return late


def claims_beside(n: int) -> list[float]:
    send_many(0, n)
    return claims(n)
