"""dramatiq with Redis; results by its middleware. Its command's default is eight threads a process."""

from __future__ import annotations

import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as RateLimiterBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers.surroundings import OPTIONS, REDIS
from benchmarks.slots import attach

THREADS = OPTIONS.get("threads", 8)
broker = RedisBroker(url=f"{REDIS}/0")
broker.add_middleware(Results(backend=RedisBackend(url=f"{REDIS}/1"), store_results=True))
broker.add_middleware(GroupCallbacks(RateLimiterBackend(url=f"{REDIS}/1")))
dramatiq.set_broker(broker)
slots = attach()


@dramatiq.actor
def noop(i):
    slots.stamp(i)
    return i


@dramatiq.actor
def nap(i, seconds):
    time.sleep(seconds)
    slots.stamp(i)
    return i


@dramatiq.actor
def text(i, value):
    slots.stamp(i)
    return len(value)


@dramatiq.actor
def step(i, value=0):
    slots.stamp(i)
    return value + 1


def moody(i, fails):
    again = slots.at(i)
    slots.stamp(i)
    if fails and not again:
        raise dramatiq.errors.Retry(delay=0)
    return i


# Its queue and its priority are the actor's, not the message's.
MIXED = [
    dramatiq.actor(actor_name=f"moody{i}", queue_name=("default", "second")[i % 2], priority=i % 3, max_retries=1)(
        moody
    )
    for i in range(6)
]


def workers(n):
    command = [sys.executable, "-m", "dramatiq", "benchmarks.peers.dramatiq_redis"]
    return [[*command, "-p", str(n), "-t", str(THREADS)]]


def parallel():
    return 2 * THREADS


def send(i):
    noop.send(i)


def send_naps(n, seconds):
    for i in range(n):
        nap.send(i, seconds)


def send_text(i, value):
    text.send(i, value)


def call(i):
    noop.send(i).get_result(block=True, timeout=10_000)


def chord(n):
    members = dramatiq.group([noop.message(i) for i in range(n)])
    members.add_completion_callback(noop.message(n))
    members.run()


def chain(n):
    dramatiq.pipeline([step.message(i) for i in range(n)]).run()


def send_mixed(i, fails):
    MIXED[i % 6].send(i, fails)
