"""taskiq with Redis streams, which acknowledge: coroutines, a hundred at once in each of two processes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers.surroundings import OPTIONS, REDIS
from benchmarks.slots import attach

CONCURRENCY = OPTIONS.get("concurrency", 100)
slots = attach()
broker = RedisStreamBroker(f"{REDIS}/0").with_result_backend(RedisAsyncResultBackend(f"{REDIS}/0"))
runner = asyncio.Runner()
connected: list[bool] = []


@broker.task
async def noop(i: int) -> int:
    slots.stamp(i)
    return i


@broker.task
async def nap(i: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    slots.stamp(i)
    return i


@broker.task
async def text(i: int, value: str) -> int:
    slots.stamp(i)
    return len(value)


def run(coroutine):
    if not connected:
        runner.run(broker.startup())
        connected.append(True)
    return runner.run(coroutine)


def workers(n):
    taskiq = str(Path(sys.executable).with_name("taskiq"))
    app = ["benchmarks.peers.taskiq_redis:broker", "--log-level", "WARNING"]
    return [[taskiq, "worker", *app, "--workers", str(n), "--max-async-tasks", str(CONCURRENCY)]]


def parallel():
    return 2 * CONCURRENCY


def send(i):
    run(noop.kiq(i))


def send_each(n):
    async def loop():
        for i in range(n):
            await noop.kiq(i)

    run(loop())


def send_many(first, n):
    """Many at a time, as an asynchronous program would: a hundred calls in flight."""

    async def loop():
        for start in range(first, first + n, 100):
            await asyncio.gather(*(noop.kiq(i) for i in range(start, min(start + 100, first + n))))

    run(loop())


def send_naps(n, seconds):
    async def loop():
        for i in range(n):
            await nap.kiq(i, seconds)

    run(loop())


def send_text(i, value):
    run(text.kiq(i, value))


def call(i):
    async def both():
        sent = await noop.kiq(i)
        await sent.wait_result(timeout=10, **OPTIONS.get("wait", {}))

    run(both())
