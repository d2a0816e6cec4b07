"""Celery with its queue and its results in Redis, or in a liteq file: one app, one worker, two URLs.

Tuned: the larger prefetch that its guide names for short tasks.
"""

from __future__ import annotations

import sys
import time

from celery import Celery
from celery import chain as make_chain
from celery import chord as make_chord

from benchmarks.peers.surroundings import DURABILITY, FOLDER, OPTIONS, REDIS
from benchmarks.slots import attach

if OPTIONS["storage"] == "redis":
    app = Celery("benchmarks", broker=f"{REDIS}/0", backend=f"{REDIS}/1")
else:
    app = Celery("benchmarks", broker=f"liteq:///{FOLDER}/bench.db", backend=f"liteq:///{FOLDER}/bench.db")
    app.conf.broker_transport_options = {"durability": DURABILITY}
app.conf.update(broker_connection_retry_on_startup=True, **OPTIONS.get("conf", {}))
slots = attach()


@app.task
def noop(i):
    slots.stamp(i)
    return i


@app.task
def nap(i, seconds):
    time.sleep(seconds)
    slots.stamp(i)
    return i


@app.task
def text(i, value):
    slots.stamp(i)
    return len(value)


@app.task
def collect(values, i):
    slots.stamp(i)
    return len(values)


@app.task
def step(value, i):
    slots.stamp(i)
    return value + 1


@app.task
def link(i):
    slots.stamp(i)
    return i


@app.task(bind=True)
def moody(self, i, fails):
    slots.stamp(i)
    if fails and not self.request.retries:
        raise self.retry(countdown=0)
    return i


def workers(n):
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_any", "worker", "-c", str(n)]
    return [[*command, "-l", "warning", "-Q", "celery,second", *OPTIONS.get("worker", [])]]


def senders(greenlets, first, tasks):
    """The command of a process that sends `tasks` tasks by `greenlets` greenlets at once, or by as many threads."""
    kind = "greenlets" if OPTIONS.get("gevent") else "threads"
    return [sys.executable, "-m", "benchmarks.peers.celery_senders", kind, str(greenlets), str(first), str(tasks)]


def send(i):
    noop.delay(i)


def send_many(first, n):
    """It has no call for many: its guide's way is one producer, held open."""
    with app.producer_or_acquire() as producer:
        for i in range(first, first + n):
            noop.apply_async((i,), producer=producer)


def send_naps(n, seconds):
    for i in range(n):
        nap.delay(i, seconds)


def send_text(i, value):
    text.delay(i, value)


def call(i):
    noop.delay(i).get(timeout=10)


def chord(n):
    make_chord((noop.s(i) for i in range(n)), collect.s(n)).apply_async()


def chain(n):
    make_chain(step.s(0, 0), *(step.s(i) for i in range(1, n))).apply_async()


def flows(runs, steps, first):
    """A chain for each run, its links for the steps: it has no step."""
    for run in range(runs):
        make_chain(*(link.si(first + run * steps + n) for n in range(steps))).apply_async()


def send_mixed(i, fails):
    moody.apply_async((i, fails), queue=("celery", "second")[i % 2], priority=i % 3 * 3)
