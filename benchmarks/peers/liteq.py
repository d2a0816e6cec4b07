"""liteq itself, as its README says to use it; results are stored, every feature is on.

On a file, or on a PostgreSQL server where the tool has started one for it.
"""

from __future__ import annotations

import os
import sys
import time

from benchmarks.peers.surroundings import DURABILITY, FOLDER, OPTIONS
from benchmarks.slots import attach
from liteq import LiteQ
from liteq import chain as make_chain
from liteq import chord as make_chord

app = LiteQ("benchmarks", broker=os.environ.get("BENCH_POSTGRESQL", f"sqlite:///{FOLDER}/bench.db"))
app.conf.durability = DURABILITY
app.conf.max_payload_bytes = 8_000_000  # for the arguments of 5 MB; the default is 1 MiB
slots = attach()


@app.task
def noop(i: int) -> int:
    slots.stamp(i)
    return i


@app.task
def nap(i: int, seconds: float) -> int:
    time.sleep(seconds)
    slots.stamp(i)
    return i


@app.task
def text(i: int, value: str) -> int:
    slots.stamp(i)
    return len(value)


@app.task
def collect(values: list[int], i: int) -> int:
    slots.stamp(i)
    return len(values)


@app.task
def step(value: int, i: int) -> int:
    slots.stamp(i)
    return value + 1


@app.task(bind=True)
def moody(self, i: int, fails: bool) -> int:
    slots.stamp(i)
    if fails and not self.request.retries:
        raise self.retry(countdown=0)
    return i


def workers(n: int, module: str = "benchmarks.peers.liteq") -> list[list[str]]:
    command = [sys.executable, "-m", "liteq", "-A", module, "worker", "-c", str(n)]
    return [[*command, "-Q", "celery,second", *OPTIONS.get("worker", [])]]


def send(i: int) -> None:
    noop.delay(i)


def send_many(first: int, n: int) -> None:
    calls = range(first, first + n)
    if OPTIONS.get("signatures"):
        app.enqueue_many(noop.s(i) for i in calls)
    else:
        app.enqueue_many(noop, ((i,) for i in calls))


def send_naps(n: int, seconds: float) -> None:
    app.enqueue_many(nap, ((i, seconds) for i in range(n)))


def send_text(i: int, value: str) -> None:
    text.delay(i, value)


def call(i: int) -> None:
    noop.delay(i).get(timeout=10)


def chord(n: int) -> None:
    make_chord((noop.s(i) for i in range(n)), collect.s(n)).apply_async()


def chain(n: int) -> None:
    make_chain(step.s(0, 0), *(step.s(i) for i in range(1, n))).apply_async()


def stored(n: int) -> bool:
    return all(count.state == "succeeded" for count in app.storage.reader.counts())


def send_mixed(i: int, fails: bool) -> None:
    moody.apply_async((i, fails), queue=("celery", "second")[i % 2], priority=i % 3 * 3)


def claims(n: int) -> list[float]:
    from liteq.message import WorkerIdentity

    me = app.storage.register_worker(WorkerIdentity("0", "bench", "bench", "none", os.getpid(), "0"))
    took = []
    for _ in range(n):
        before = time.perf_counter()
        app.storage.claim(["celery"], worker=me, limit=1, visibility_s=600)
        took.append(time.perf_counter() - before)
    return took
