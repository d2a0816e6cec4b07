"""arq with Redis: coroutines, ten at once in each of two processes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.peers.surroundings import OPTIONS, REDIS
from benchmarks.slots import attach

slots = attach()
settings = RedisSettings.from_dsn(f"{REDIS}/0")
runner = asyncio.Runner()
pools = []


async def noop(ctx, i):
    slots.stamp(i)
    return i


async def nap(ctx, i, seconds):
    await asyncio.sleep(seconds)
    slots.stamp(i)
    return i


async def text(ctx, i, value):
    slots.stamp(i)
    return len(value)


class WorkerSettings:
    functions = (noop, nap, text)
    redis_settings = settings
    poll_delay = OPTIONS.get("poll_delay", 0.5)
    max_jobs = OPTIONS.get("concurrency", 10)


def pool():
    if not pools:
        pools.append(runner.run(create_pool(settings)))
    return pools[0]


def workers(n):
    arq = str(Path(sys.executable).with_name("arq"))
    return [[arq, "benchmarks.peers.arq_redis.WorkerSettings"]] * n


def parallel():
    return 2 * int(OPTIONS.get("concurrency", 10))


def send(i):
    runner.run(pool().enqueue_job("noop", i))


def send_each(n):
    redis = pool()

    async def loop():
        for i in range(n):
            await redis.enqueue_job("noop", i)

    runner.run(loop())


def send_naps(n, seconds):
    redis = pool()

    async def loop():
        for i in range(n):
            await redis.enqueue_job("nap", i, seconds)

    runner.run(loop())


def send_text(i, value):
    runner.run(pool().enqueue_job("text", i, value))


def call(i):
    redis = pool()

    async def both():
        job = await redis.enqueue_job("noop", i)
        await job.result(timeout=10, **OPTIONS.get("result", {}))

    runner.run(both())
