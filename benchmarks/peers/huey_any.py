"""huey, with Redis or with SQLite, and two worker processes. Its SQLite is in WAL; FULL unless `fsync=False`: OFF."""

from __future__ import annotations

import sys
import time

from huey import RedisHuey, SqliteHuey
from huey.api import chord as make_chord

from benchmarks.peers.surroundings import DURABILITY, FOLDER, OPTIONS, REDIS
from benchmarks.slots import attach

slots = attach()
if OPTIONS["storage"] == "redis":
    huey = RedisHuey("benchmarks", url=f"{REDIS}/0")
else:
    fsync = {} if DURABILITY == "durable" else {"fsync": False}
    huey = SqliteHuey("benchmarks", filename=str(FOLDER / "huey.db"), **fsync)


@huey.task()
def noop(i):
    slots.stamp(i)
    return i


@huey.task()
def nap(i, seconds):
    time.sleep(seconds)
    slots.stamp(i)
    return i


@huey.task()
def text(i, value):
    slots.stamp(i)
    return len(value)


@huey.task()
def collect(i, values):
    slots.stamp(i)
    return len(values)


@huey.task()
def step(i, value):
    slots.stamp(i)
    return value + 1


def workers(n):
    command = [sys.executable, "-m", "huey.bin.huey_consumer", "benchmarks.peers.huey_any.huey"]
    return [[*command, "-w", str(n), "-k", "process", "-q", *OPTIONS.get("worker", [])]]


def send(i):
    noop(i)


def send_naps(n, seconds):
    for i in range(n):
        nap(i, seconds)


def send_text(i, value):
    text(i, value)


def call(i):
    noop(i).get(blocking=True, timeout=10, **OPTIONS.get("get", {}))


def chord(n):
    huey.enqueue(make_chord([noop.s(i) for i in range(n)], collect.s(n)))


def chain(n):
    first = last = step.s(0, 0)
    for i in range(1, n):
        following = step.s(i)
        last.on_complete = following  # `first.then()` walks to the end of the chain each time
        last = following
    huey.enqueue(first)
