"""The measures. Each function runs one contestant once, in that contestant's environment, and returns its figures.

The standard library alone: every contestant's environment must be able to import this. Sizes are parameters, so that
`--set drain.tasks=1000` and the tests can make them small. Ratios are made by the report.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from benchmarks.celery_measures import CELERY_MEASURES
from benchmarks.connection_measures import CONNECTION_MEASURES
from benchmarks.coroutine_measures import COROUTINE_MEASURES
from benchmarks.footprint_measures import FOOTPRINT_MEASURES
from benchmarks.http_measures import HTTP_MEASURES
from benchmarks.limit_measures import LIMIT_MEASURES
from benchmarks.processes import NotOffered, Workers, cpu_s, with_descendants
from benchmarks.slots import Slots
from benchmarks.workflow_measures import WORKFLOW_MEASURES

__all__ = ["MEASURES", "Bench", "Figures"]

REST = 0.05  # seconds until the worker is idle after a canvas
SETTLED = 0.2  # of one processor, of workers that have started and wait

Figures = dict[str, Any]


@dataclass
class Bench:
    """One contestant in a fresh folder; the last slot is for warming up."""

    peer: ModuleType
    folder: Path
    slots: Slots
    server: int | None = None  # the process id of its server

    def offer(self, name: str) -> Callable[..., Any]:
        """The contestant's own function `name`. Raises NotOffered."""
        found = getattr(self.peer, name, None)
        if found is None:
            raise NotOffered(f"{self.peer.__name__} has no {name}")
        return found  # type: ignore[no-any-return]

    @contextmanager
    def workers(self, n: int = 2, *, warm: bool = True) -> Iterator[Workers]:
        """Its workers; `warm`: from when they have executed something."""
        with Workers(self.offer("workers")(n), self.folder, self.slots) as workers:
            if warm:
                self.offer("send")(self.slots.n - 1)
                workers.wait_for(self.slots.n - 1, every_s=0.002)
            yield workers

    def send_all(self, n: int) -> None:
        """Tasks 0 ... n - 1, by the quickest way that the contestant has."""
        many = getattr(self.peer, "send_many", None)
        if not many:
            self.send_each(n)
            return
        for first in range(0, n, FILL):
            many(first, min(FILL, n - first))

    def send_each(self, n: int) -> None:
        """The same, one call each."""
        each = getattr(self.peer, "send_each", None)
        if each:
            each(n)
            return
        send = self.offer("send")
        for i in range(n):
            send(i)

    def drained(self, workers: Workers, tasks: int) -> Figures:
        """From the first start to the last outcome stored, where the contestant can tell; else to the last start."""
        stamps = workers.wait_for_all(tasks)
        end = max(stamps)
        stored = getattr(self.peer, "stored", None)
        if stored:
            while not stored(tasks):
                time.sleep(0.001)
            end = time.monotonic()
        return {"tasks_per_s": tasks / (end - min(stamps)), **self.counted(tasks)}

    def counted(self, n: int) -> Figures:
        """Which of `n` tasks ran never, or more than once."""
        executions = self.slots.executions(n)
        return {"lost": executions.count(0), "duplicated": sum(times > 1 for times in executions)}


def spread(waits: list[float]) -> Figures:
    """Median, tail, and the whole distribution by percentiles; the input in seconds, the output in milliseconds."""
    ms = [wait * 1000 for wait in waits]
    cuts = statistics.quantiles(ms, n=100)
    return {"p50_ms": statistics.median(ms), "p99_ms": cuts[98], "percentiles_ms": [round(cut, 4) for cut in cuts]}


def drain(bench: Bench, tasks: int = 5_000) -> Figures:
    """No-op tasks with stored results, all there before the workers start."""
    bench.send_all(tasks)
    with bench.workers(warm=False) as workers:
        return bench.drained(workers, tasks)


def cores(bench: Bench, cores: int = 1, tasks: int = 5_000) -> Figures:
    """As `drain`, with as many processes as processors; the workers, their server and this process on these alone."""
    if not hasattr(os, "sched_setaffinity"):
        raise NotOffered("this system pins no process")
    there = sorted(os.sched_getaffinity(0))
    if len(there) < cores:
        raise NotOffered(f"there are {len(there)} processors")
    chosen = set(there[:cores])
    for pid in (0, *with_descendants([bench.server] if bench.server else [])):
        with suppress(PermissionError):  # a server of another user, where this is not root
            os.sched_setaffinity(pid, chosen)
    bench.send_all(tasks)
    with bench.workers(cores, warm=False) as workers:
        return bench.drained(workers, tasks)


def crowd(bench: Bench, workers: int = 8, tasks: int = 10_000, settle_s: float = 20.0) -> Figures:
    """As `drain`, by that many workers of one process each, which have all started and wait when the tasks are sent."""
    with Workers(bench.offer("workers")(1) * workers, bench.folder, bench.slots) as many:
        give_up = time.monotonic() + settle_s
        used, before = 1.0, 0.0
        while (used > SETTLED or not before) and time.monotonic() < give_up:
            time.sleep(0.5)
            now = cpu_s(many.tree())
            used, before = (now - before) / 0.5, now
        bench.send_all(tasks)
        return bench.drained(many, tasks)


def enqueue(bench: Bench, seconds: float = 1.5, tasks: int = 30_000) -> Figures:
    """A producer alone, one call a task, for that time or that many."""
    return _rate_of(bench.send_each, 100, seconds, tasks)


def enqueue_many(bench: Bench, seconds: float = 1.5, tasks: int = 300_000, at_once: int = 10_000) -> Figures:
    """A producer alone, in the way that is meant for many: `at_once` a call, for that time or that many."""
    many = bench.offer("send_many")
    return _rate_of(lambda n: many(0, n), min(at_once, tasks), seconds, tasks)


def _rate_of(send: Callable[[int], None], at_once: int, seconds: float, tasks: int) -> Figures:
    """How many tasks a second `send(n)` sends, after one that connects it."""
    send(1)
    sent, before = 0, time.perf_counter()
    while sent < tasks and (sent == 0 or time.perf_counter() - before < seconds):
        send(min(at_once, tasks - sent))
        sent += min(at_once, tasks - sent)
    return {"tasks_per_s": sent / (time.perf_counter() - before), "sent": sent}


def producers(bench: Bench, processes: int = 64, tasks: int = 50) -> Figures:
    """That many processes at once, one call a task each. First each sends one, which connects it (`connect_s`: until
    all have); then all begin together, and the longest waits are what a user would notice."""
    bench.offer("send")
    total, before, children = processes * tasks, time.monotonic(), []
    for process in range(processes):
        pid = os.fork()
        if not pid:
            _produce(bench, range(process * tasks, (process + 1) * tasks), range(total, total + processes), process)
        children.append(pid)
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
    numbers = bench.slots.times(total + 2 * processes)
    waits = [wait for wait in numbers[:total] if wait]
    connected, end = max(numbers[total : total + processes]), max(numbers[total + processes :])
    return {
        "tasks_per_s": len(waits) / (end - connected),
        **spread(waits),
        "slowest_ms": max(waits) * 1000,
        "connect_s": connected - before,
        "failed_processes": failed,
    }


def _produce(bench: Bench, tasks: range, connected: range, me: int, within_s: float = 60.0) -> NoReturn:
    """In a child: how long each call took goes into its task's slot, when all were done into one behind `connected`."""
    try:
        bench.peer.send(tasks[0])
        bench.slots.stamp(connected[me])
        give_up = time.monotonic() + within_s
        while not all(map(bench.slots.at, connected)) and time.monotonic() < give_up:
            time.sleep(0.02)
        for i in tasks:
            before = time.monotonic()
            bench.peer.send(i)
            bench.slots.put(i, time.monotonic() - before)
        bench.slots.stamp(connected.stop + me)
        os._exit(0)
    finally:
        os._exit(1)


def latency(bench: Bench, samples: int = 300, limit_s: float = 10.0) -> Figures:
    """From the call that sends to the start of the task, one at a time, the worker idle before each; fewer samples, but
    a hundred, of who takes too long."""
    send = bench.offer("send")
    with bench.workers() as workers:
        waits: list[float] = []
        while len(waits) < samples and (len(waits) < 100 or sum(waits) < limit_s):
            time.sleep(0.01)
            before = time.monotonic()
            send(len(waits))
            waits.append(workers.wait_for(len(waits)) - before)
    return {**spread(waits), "samples": len(waits)}


def roundtrip(bench: Bench, samples: int = 100, limit_s: float = 8.0) -> Figures:
    """Send, and wait for the result, one at a time; fewer samples of who takes too long."""
    call = bench.offer("call")
    with bench.workers():
        call(samples)
        waits: list[float] = []
        while len(waits) < samples and (len(waits) < 5 or sum(waits) < limit_s):
            before = time.monotonic()
            call(len(waits))
            waits.append(time.monotonic() - before)
    return {**spread(waits), "samples": len(waits)}


def sleeps(bench: Bench, tasks: int = 1_000, seconds: float = 0.005) -> Figures:
    """Tasks that wait: the share of the ideal time, in which every place of the workers would always be taken."""
    places = getattr(bench.peer, "parallel", lambda: 2)()
    send = bench.offer("send_naps")
    with bench.workers() as workers:
        send(tasks, seconds)
        stamps = sorted(workers.wait_for_all(tasks))
    # From the first end, so that a slow producer counts only where it starves the workers.
    ideal = (tasks - places) * seconds / places
    return {"share_of_ideal": ideal / (stamps[-1] - stamps[0]), "places": places, **bench.counted(tasks)}


def chord(bench: Bench, members: int = 1_000) -> Figures:
    """From the call that sends a chord to the start of its body, the worker idle before."""
    took, sending, counted = _canvases(bench, bench.offer("chord"), members, last=members)
    return {"seconds": statistics.median(took), "send_s": statistics.median(sending), **counted}


def chain(bench: Bench, links: int = 100) -> Figures:
    """From the call that sends a chain to the start of its last link."""
    took, _, counted = _canvases(bench, bench.offer("chain"), links, last=links - 1)
    return {"ms_per_step": statistics.median(took) * 1000 / links, **counted}


def _canvases(
    bench: Bench, send: Callable[[int], None], tasks: int, last: int, most: int = 5, seconds: float = 3.0
) -> tuple[list[float], list[float], Figures]:
    """Canvases of `tasks` tasks, one after the other: the seconds from the call to the start of task `last`, those of
    the call alone, and what was counted in all of them.

    One canvas warms up each process, and does not count. `most` follow, or as many as fit into `seconds`. One that
    takes longer than that itself has no other before or after it.
    """
    took: list[float] = []
    sending: list[float] = []
    all_counted: list[Figures] = []
    with bench.workers() as workers:
        while not took or (len(took) <= most and sum(took) < seconds):
            bench.slots.clear(max(tasks, last + 1))
            before = time.monotonic()
            send(tasks)
            sending.append(time.monotonic() - before)
            took.append(workers.wait_for(last, within_s=150, every_s=0.001) - before)
            time.sleep(REST)
            all_counted.append(bench.counted(tasks))
    first = 1 if len(took) > 1 else 0
    counted = {name: sum(one[name] for one in all_counted) for name in all_counted[0]}
    return took[first:], sending[first:], {**counted, "canvases": len(took) - first}


def payload(bench: Bench, size: int = 10_000, tasks: int = 1_000) -> Figures:
    """Arguments of `size` bytes: sent one call a task, then drained."""
    send, text = bench.offer("send_text"), "x" * size
    before = time.perf_counter()
    for i in range(tasks):
        send(i, text)
    sent_s = time.perf_counter() - before
    with bench.workers(warm=False) as workers:
        stamps = workers.wait_for_all(tasks)
    return {
        "tasks_per_s": tasks / (max(stamps) - min(stamps)),
        "enqueue_per_s": tasks / sent_s,
        **bench.counted(tasks),
    }


def backlog(
    bench: Bench, rows: int = 10_000, claims: int = 1_000, tasks: int = 40_000, limit_s: float = 30.0
) -> Figures:
    """With that many tasks queued: how long a claim takes, and how fast the first `tasks` of them are drained, or those
    that were done after `limit_s`."""
    bench.send_all(rows)
    figures: Figures = {}
    claim = getattr(bench.peer, "claims", None)
    first = min(claims, rows // 10) if claim else 0  # those claimed are not the worker's: it starts behind them
    if claim:
        waits = spread(claim(first))
        figures = {"claim_p50_ms": waits["p50_ms"], "claim_p99_ms": waits["p99_ms"]}
    with bench.workers(warm=False) as workers:
        with suppress(TimeoutError):
            workers.wait_for(min(first + tasks, rows) - 1, every_s=0.005, within_s=limit_s)
        stamps = sorted(at for at in bench.slots.times(rows) if at)  # in whatever order they were done
    warm = len(stamps) // 8
    return {"drain_per_s": (len(stamps) - warm - 1) / (stamps[-1] - stamps[warm]), "drained": len(stamps), **figures}


def mixed(bench: Bench, producers: int = 2, tasks: int = 2_000) -> Figures:
    """Producers and workers at once; two queues, three priorities, and one task in five fails once and is retried."""
    send, total = bench.offer("send_mixed"), producers * tasks
    with bench.workers() as workers:
        start = time.monotonic()
        children = []
        for process in range(producers):
            pid = os.fork()
            if not pid:
                try:
                    for i in range(process * tasks, (process + 1) * tasks):
                        send(i, i % 5 == 0)
                    os._exit(0)
                finally:
                    os._exit(1)
            children.append(pid)
        failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
        sent_s = time.monotonic() - start
        stamps = _wait_for_retries(bench, workers, total)
    executions = bench.slots.executions(total)
    return {
        "tasks_per_s": total / (max(stamps) - start),
        "sent_per_s": total / sent_s,
        "failed_processes": failed,
        "lost": sum(n < 1 + (i % 5 == 0) for i, n in enumerate(executions)),
        "duplicated": sum(n > 1 + (i % 5 == 0) for i, n in enumerate(executions)),
    }


def _wait_for_retries(bench: Bench, workers: Workers, total: int, within_s: float = 60.0) -> list[float]:
    workers.wait_for_all(total)
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up and any(n < 2 for n in bench.slots.executions(total)[::5]):
        time.sleep(0.005)
    return bench.slots.times(total)


FILL = 100_000  # rows a transaction, of a long queue

MEASURES: dict[str, Callable[..., Figures]] = {
    "drain": drain,
    "enqueue": enqueue,
    "enqueue_many": enqueue_many,
    "cores": cores,
    "crowd": crowd,
    "producers": producers,
    "latency": latency,
    "roundtrip": roundtrip,
    "sleeps": sleeps,
    "chord": chord,
    "chain": chain,
    "payload": payload,
    "backlog": backlog,
    "mixed": mixed,
    **WORKFLOW_MEASURES,
    **LIMIT_MEASURES,
    **COROUTINE_MEASURES,
    **CONNECTION_MEASURES,
    **HTTP_MEASURES,
    **CELERY_MEASURES,
    **FOOTPRINT_MEASURES,
}
