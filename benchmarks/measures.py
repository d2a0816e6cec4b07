"""What is measured. Each function runs one contestant once and returns its figures; ratios are made by the caller."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson

from benchmarks.worker import ROOT, bench

__all__ = ["MEASURES"]

Figures = dict[str, float]


def drain(tasks: int = 40_000, durability: str = "relaxed") -> Figures:
    """No-op tasks with stored results, all there before the worker starts: from the first start to the last commit."""
    with bench(tasks + 1, durability=durability) as b:
        b.app.enqueue_many(b.tasks.noop.s(i, 1) for i in range(tasks))
        with b.worker():
            b.wait_for(tasks - 1)
            while any(c.state != "succeeded" for c in b.app.storage.counts()):
                time.sleep(0.001)
            end = time.monotonic()
        start = min(t for t in b.slots.times() if t)
        executions = b.slots.executions()
        return {
            "tasks_per_s": tasks / (end - start),
            "lost": executions[:tasks].count(0),
            "duplicated": sum(n > 1 for n in executions[:tasks]),
        }


def ceiling(tasks: int = 40_000) -> Figures:
    """The same drain by a bare pipeline without a queue's features."""
    command = [sys.executable, "-m", "benchmarks.ceiling", str(tasks)]
    return orjson.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)  # type: ignore[no-any-return]


def latency(samples: int = 300) -> Figures:
    """From the call of `apply_async` to the start of the task, one at a time, the worker idle before each."""
    with bench(samples + 1) as b, b.worker():
        b.warm_up(samples)
        waits = []
        for i in range(samples):
            time.sleep(0.01)
            before = time.monotonic()
            b.tasks.noop.apply_async((i,), ignore_result=True)
            waits.append((b.wait_for(i) - before) * 1000)
        return {"p50_ms": statistics.median(waits), "p99_ms": statistics.quantiles(waits, n=100)[98]}


def roundtrip(samples: int = 200) -> Figures:
    """`delay().get()`, one at a time."""
    with bench(samples + 1) as b, b.worker():
        b.warm_up(samples)
        waits = []
        for i in range(samples):
            before = time.monotonic()
            b.tasks.noop.delay(i).get(timeout=10)
            waits.append((time.monotonic() - before) * 1000)
        return {"p50_ms": statistics.median(waits), "p99_ms": statistics.quantiles(waits, n=100)[98]}


def chord(members: int = 1_000) -> Figures:
    """A chord from its send to the start of its body, the worker idle before."""
    from liteq import chord as make_chord

    with bench(members + 2) as b, b.worker():
        b.warm_up(members + 1)
        before = time.monotonic()
        make_chord((b.tasks.noop.s(i) for i in range(members)), b.tasks.collect.s(members)).apply_async()
        sent = time.monotonic()
        done = b.wait_for(members)
        return {"seconds": done - before, "send_s": sent - before}


def chain(links: int = 200) -> Figures:
    """A chain from its send to the start of its last link."""
    from liteq import chain as make_chain

    with bench(links + 2) as b, b.worker():
        b.warm_up(links)
        before = time.monotonic()
        make_chain(b.tasks.step.s(0, 0), *(b.tasks.step.s(i) for i in range(1, links))).apply_async()
        return {"ms_per_step": (b.wait_for(links - 1) - before) * 1000 / links}


def sleeps(tasks: int = 1_000, seconds: float = 0.005) -> Figures:
    """Tasks that wait, on two children: the share of the ideal time that was used."""
    with bench(tasks + 1) as b, b.worker():
        b.warm_up(tasks)
        before = time.monotonic()
        b.app.enqueue_many(b.tasks.nap.s(i, seconds) for i in range(tasks))
        while not all(b.slots.times()):
            time.sleep(0.002)
        return {"share_of_ideal": tasks * seconds / 2 / (max(b.slots.times()) - before)}


def enqueue(tasks: int = 5_000) -> Figures:
    """Producers alone: one call each, durable and relaxed, and many in one."""
    figures = {}
    for durability in ("relaxed", "durable"):
        with bench(1, durability=durability) as b:
            b.tasks.noop.delay(0)
            before = time.perf_counter()
            for i in range(tasks):
                b.tasks.noop.delay(i)
            figures[f"{durability}_per_s"] = tasks / (time.perf_counter() - before)
            before = time.perf_counter()
            b.app.enqueue_many(b.tasks.noop.s(i) for i in range(tasks * 10))
            figures[f"many_{durability}_per_s"] = tasks * 10 / (time.perf_counter() - before)
    return figures


MEASURES: dict[str, Callable[..., Any]] = {
    "ceiling": ceiling,
    "drain": drain,
    "latency": latency,
    "roundtrip": roundtrip,
    "chord": chord,
    "chain": chain,
    "sleeps": sleeps,
    "enqueue": enqueue,
}
