"""taskito on SQLite (WAL, NORMAL), two prefork processes. Its chain and chord are driven by whoever starts them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from taskito import Queue, group
from taskito import chain as make_chain
from taskito import chord as make_chord

from benchmarks.peers.surroundings import FOLDER, OPTIONS
from benchmarks.slots import attach

slots = attach()
queue = Queue(db_path=str(FOLDER / "taskito.db"), workers=2, **OPTIONS.get("queue", {}))


@queue.task()
def noop(i):
    slots.stamp(i)
    return i


@queue.task()
def nap(i, seconds):
    time.sleep(seconds)
    slots.stamp(i)
    return i


@queue.task()
def text(i, value):
    slots.stamp(i)
    return len(value)


@queue.task()
def collect(values, i):
    slots.stamp(i)
    return len(values)


@queue.task()
def step(value, i):
    slots.stamp(i)
    return value + 1


@queue.task(max_retries=1, retry_delays=[0])
def moody(i, fails):
    again = slots.at(i)
    slots.stamp(i)
    if fails and not again:
        raise RuntimeError(i)
    return i


def workers(n):
    taskito = str(Path(sys.executable).with_name("taskito"))
    return [
        [
            taskito,
            "worker",
            "--app",
            "benchmarks.peers.taskito_sqlite:queue",
            "--pool",
            "prefork",
            "--queues",
            "default,second",
        ]
    ]


def send(i):
    noop.delay(i)


def send_many(first, n):
    noop.map([(i,) for i in range(first, first + n)])


def send_naps(n, seconds):
    nap.map([(i, seconds) for i in range(n)])


def send_text(i, value):
    text.delay(i, value)


def call(i):
    noop.delay(i).result(timeout=10)


def chord(n):
    make_chord(group(*(noop.s(i) for i in range(n))), collect.s(n)).apply()


def chain(n):
    make_chain(step.s(0, 0), *(step.s(i) for i in range(1, n))).apply()


def send_mixed(i, fails):
    moody.apply_async((i, fails), queue=("default", "second")[i % 2], priority=i % 3)
