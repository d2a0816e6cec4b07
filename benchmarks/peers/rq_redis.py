"""RQ: its worker pool, with the forking worker (the default) or the simple one."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from redis import Redis
from rq import Queue
from rq.job import Dependency

from benchmarks.peers.surroundings import OPTIONS, REDIS
from benchmarks.slots import attach

slots = attach()
queue = Queue("default", connection=Redis.from_url(f"{REDIS}/0"))


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


def workers(n):
    rq = str(Path(sys.executable).with_name("rq"))
    return [[rq, "worker-pool", "-q", "-n", str(n), "-u", f"{REDIS}/0", *OPTIONS.get("worker", []), "default"]]


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
