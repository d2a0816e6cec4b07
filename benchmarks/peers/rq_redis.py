"""RQ: its worker pool, with the forking worker (the default) or the simple one."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from redis import Redis
from rq import Queue, Retry
from rq.job import Dependency

from benchmarks.peers.surroundings import OPTIONS, REDIS
from benchmarks.slots import attach

slots = attach()
server = Redis.from_url(f"{REDIS}/0")
queue = Queue("default", connection=server)
# Its guide's priorities: queues, served in the order in which the worker names them.
MIXED = [f"{urgency}-{name}" for urgency in ("high", "middle", "low") for name in ("first", "second")]


def noop(i):
    slots.stamp(i)
    return i


def nap(i, seconds):
    time.sleep(seconds)
    slots.stamp(i)
    return i


def text(i, value):
    slots.stamp(i)
    return len(value)


def moody(i, fails):
    again = slots.at(i)
    slots.stamp(i)
    if fails and not again:
        raise RuntimeError(i)
    return i


def workers(n):
    rq = str(Path(sys.executable).with_name("rq"))
    return [[rq, "worker-pool", "-q", "-n", str(n), "-u", f"{REDIS}/0", *OPTIONS.get("worker", []), "default", *MIXED]]


def here(function):
    """By its importable name: the driver has this module under that name too, but RQ would say __main__."""
    return f"benchmarks.peers.rq_redis.{function.__name__}"


def send(i):
    queue.enqueue(here(noop), i)


def send_many(first, n):
    queue.enqueue_many([Queue.prepare_data(here(noop), (i,)) for i in range(first, first + n)])


def send_naps(n, seconds):
    queue.enqueue_many([Queue.prepare_data(here(nap), (i, seconds)) for i in range(n)])


def send_text(i, value):
    queue.enqueue(here(text), i, value)


def call(i):
    queue.enqueue(here(noop), i).latest_result(timeout=10)


def chord(n):
    jobs = queue.enqueue_many([Queue.prepare_data(here(noop), (i,)) for i in range(n)])
    queue.enqueue(here(noop), n, depends_on=Dependency(jobs=jobs))


def chain(n):
    job = queue.enqueue(here(noop), 0)
    for i in range(1, n):
        job = queue.enqueue(here(noop), i, depends_on=job)


def send_mixed(i, fails):
    Queue(MIXED[i % 6], connection=server).enqueue(here(moody), i, fails, retry=Retry(max=1))
