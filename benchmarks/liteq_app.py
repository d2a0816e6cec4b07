"""The app that the scenarios run: its broker and its slots come from the environment."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.slots import Slots
from liteq import LiteQ

app = LiteQ("benchmarks", broker=os.environ["BENCH_BROKER"])
slots = Slots(Path(os.environ["BENCH_SLOTS"]))


@app.task
def noop(i: int, _b: int = 0) -> int:
    """Nothing but its stamp."""
    slots.stamp(i)
    return i


@app.task
def nap(i: int, seconds: float) -> int:
    """Wait, as a task that calls somebody does."""
    time.sleep(seconds)
    slots.stamp(i)
    return i


@app.task
def collect(values: list[int], i: int) -> int:
    """The body of a chord."""
    slots.stamp(i)
    return len(values)


@app.task
def step(value: int, i: int) -> int:
    """A link of a chain."""
    slots.stamp(i)
    return value + 1
