"""The measures of workflows: steps a second, suspensions, long runs, and runs that sleep.

A contestant offers `flows(runs, steps, first)`: start that many runs, of that many no-op steps each; the step `n` of
the run `r` stamps the slot `first + r * steps + n`. One that has no workers of its own kind offers `own_steps`.
"""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.processes import cpu_s

if TYPE_CHECKING:
    from benchmarks.measures import Bench

__all__ = ["WORKFLOW_MEASURES", "long_run", "sleeping", "steps", "suspensions"]

Figures = dict[str, Any]


def steps(bench: Bench, in_all: int = 4_000, steps: int = 10, at_once: int = 50) -> Figures:
    """`in_all` no-op steps in runs of `steps`, `at_once` in the queue at a time: all of those steps by the time from
    the first one to the last one.

    `at_once` 1: one run at a time, and of it the time between its first step and its last, without its start.
    """
    start, runs = bench.offer("flows"), max(at_once, in_all // steps)
    rates: list[float] = []
    gaps: list[float] = []
    n = 0
    with bench.workers():
        while n < runs:
            now, first = min(at_once, runs - n), n * steps
            start(now, steps, first)
            stamps = _stamps(bench, first, now * steps)
            rates.append((now * steps - 1) / (max(stamps) - min(stamps)))
            gaps += [b - a for a, b in pairwise(stamps)] if at_once == 1 else []
            n += now
    figures = {"step_p50_us": statistics.median(gaps) * 1e6} if gaps else {}
    return {"steps_per_s": statistics.median(rates), **figures, **bench.counted(runs * steps)}


def _stamps(bench: Bench, first: int, n: int, within_s: float = 60.0) -> list[float]:
    give_up = time.monotonic() + within_s
    for slot in reversed(range(first, first + n)):
        while not bench.slots.at(slot):
            if time.monotonic() > give_up:
                raise TimeoutError(f"the step of slot {slot} did not run")
            time.sleep(0.002)
    return bench.slots.times(first + n)[first:]


def suspensions(bench: Bench, runs: int = 10, turns: int = 20) -> Figures:
    """Runs that wait for an event, do a step, and wait again: from step to step, where the event is sent as soon as a
    step is seen; so it is the end of an activation, a suspension, a send, a claim and a replay."""
    begin, send, waits = bench.offer("waiting_run"), bench.offer("wake"), []
    with bench.workers() as workers:
        for run in range(runs):
            begin(run, run * turns, turns)
            for turn in range(run * turns, (run + 1) * turns):
                send(run)
                workers.wait_for(turn)
            stamps = bench.slots.times((run + 1) * turns)[run * turns :]
            waits += [(b - a) * 1000 for a, b in pairwise(stamps)]
    return {"p50_ms": statistics.median(waits), "p99_ms": statistics.quantiles(waits, n=100)[98]}


def long_run(bench: Bench, steps: int = 10_000) -> Figures:
    """One run of many steps: the cost of a step in its last tenth, beside that in its second one."""
    with bench.workers():
        bench.offer("flows")(1, steps, 0)
        stamps, tenth = _stamps(bench, 0, steps, within_s=120), steps // 10
    gaps = [b - a for a, b in pairwise(stamps)]
    early, late = statistics.median(gaps[tenth : 2 * tenth]), statistics.median(gaps[-tenth:])
    return {"growth": late / early, "early_us": early * 1e6, "late_us": late * 1e6}


def sleeping(
    bench: Bench, runs: int = 100_000, settle_s: float = 2.0, seconds: float = 4.0, samples: int = 20
) -> Figures:
    """With that many runs asleep for a day: the processor's time of idle workers, the cost of a claim, and by how much
    a run that sleeps half a second wakes too late."""
    bench.offer("sleepers")(runs)
    with bench.workers(warm=False) as workers:  # the first things in the queue are the sleepers
        while bench.offer("asleep")() < runs:
            time.sleep(0.1)
        time.sleep(settle_s)
        tree, before = workers.tree(), cpu_s(workers.tree())
        time.sleep(seconds)
        figures = {"cpu_percent": (cpu_s(tree) - before) / seconds * 100}
        late = bench.offer("naps_late")(samples)
    took = bench.offer("claims_beside")(1_000)
    return {
        **figures,
        "late_ms": statistics.median(late) * 1000,
        "late_most_ms": max(late) * 1000,
        "claim_p50_ms": statistics.median(took) * 1000,
    }


WORKFLOW_MEASURES = {"steps": steps, "suspensions": suspensions, "long_run": long_run, "sleeping": sleeping}
