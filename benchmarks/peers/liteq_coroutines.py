"""liteq with the asyncio pool; results are stored, every feature is on."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.peers.surroundings import DURABILITY, FOLDER, OPTIONS
from benchmarks.slots import attach
from liteq import LiteQ

app = LiteQ("benchmarks", broker=f"sqlite:///{FOLDER}/bench.db")
app.conf.durability = DURABILITY
slots = attach()


@app.task
async def noop(i: int) -> int:
    slots.stamp(i)
    return i


@app.task
async def nap(i: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    slots.stamp(i)
    return i


def workers(n: int) -> list[list[str]]:
    command = [sys.executable, "-m", "liteq", "-A", "benchmarks.peers.liteq_coroutines", "worker", "-P", "asyncio"]
    return [[*command, "-c", str(n), "--coroutines", str(OPTIONS.get("concurrency", 1_000))]]


def parallel() -> int:
    return 2 * int(OPTIONS.get("concurrency", 1_000))


def send(i: int) -> None:
    noop.delay(i)


def send_many(first: int, n: int) -> None:
    app.enqueue_many(noop, ((i,) for i in range(first, first + n)))


def send_naps(n: int, seconds: float) -> None:
    app.enqueue_many(nap, ((i, seconds) for i in range(n)))


def call(i: int) -> None:
    noop.delay(i).get(timeout=10)
