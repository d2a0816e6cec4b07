"""saq with Redis: coroutines, ten at once in each of two processes unless told otherwise. No chains, no chords."""

from __future__ import annotations

import asyncio
import sys

from saq import Queue

from benchmarks.peers.surroundings import OPTIONS, REDIS
from benchmarks.slots import attach

CONCURRENCY = OPTIONS.get("concurrency", 10)
slots = attach()
queue = Queue.from_url(f"{REDIS}/0")
runner = asyncio.Runner()


async def noop(ctx, *, i):
    slots.stamp(i)
    return i


async def nap(ctx, *, i, seconds):
    await asyncio.sleep(seconds)
    slots.stamp(i)
    return i


async def text(ctx, *, i, value):
    slots.stamp(i)
    return len(value)


settings = {"queue": queue, "functions": [noop, nap, text], "concurrency": CONCURRENCY}


def workers(n):
    return [[sys.executable, "-m", "saq", "benchmarks.peers.saq_redis.settings", "-q", "--workers", str(n)]]


def parallel():
    return 2 * CONCURRENCY


def send(i):
    runner.run(queue.enqueue("noop", i=i))


def send_each(n):
    async def loop():
        for i in range(n):
            await queue.enqueue("noop", i=i)

    runner.run(loop())


def send_many(first, n):
    """Many at a time, as an asynchronous program would: a hundred calls in flight."""

    async def loop():
        for start in range(first, first + n, 100):
            await asyncio.gather(*(queue.enqueue("noop", i=i) for i in range(start, min(start + 100, first + n))))

    runner.run(loop())


def send_naps(n, seconds):
    async def loop():
        for i in range(n):
            await queue.enqueue("nap", i=i, seconds=seconds)

    runner.run(loop())


def send_text(i, value):
    runner.run(queue.enqueue("text", i=i, value=value))


def call(i):
    runner.run(queue.apply("noop", i=i, **OPTIONS.get("apply", {})))
