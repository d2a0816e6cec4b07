"""The measures of what workers take: memory, an idle worker's processor time and wake-ups, and a cold start."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.processes import cpu_s, pss_mib, wake_ups, with_descendants

if TYPE_CHECKING:
    from benchmarks.measures import Bench

__all__ = ["FOOTPRINT_MEASURES", "cold_start", "idle", "soak"]

Figures = dict[str, Any]


def idle(bench: Bench, settle_s: float = 2.0, seconds: float = 4.0) -> Figures:
    """Workers with nothing to do: their memory (with two children), how much of one processor they use, and how often
    a second one of their threads is woken."""
    with bench.workers() as workers:
        time.sleep(settle_s)
        tree = workers.tree()
        before, woken_before = cpu_s(tree), wake_ups(tree)
        time.sleep(seconds)
        used, woken = cpu_s(tree) - before, wake_ups(tree) - woken_before
        figures = {
            "pss_mib": pss_mib(tree),
            "processes": len(tree),
            "cpu_percent": used / seconds * 100,
            "wakes_per_s": woken / seconds,
        }
    if bench.server:
        figures["server_pss_mib"] = pss_mib(with_descendants([bench.server]))
    return figures


def cold_start(bench: Bench) -> Figures:
    """From the start of the worker's process to the start of the task that waits for it."""
    bench.offer("send")(0)
    before = time.monotonic()
    with bench.workers(warm=False) as workers:
        return {"seconds": workers.wait_for(0) - before}


def soak(bench: Bench, rounds: int = 10, tasks: int = 100_000) -> Figures:
    """Rounds of tasks through the same workers: the memory of their tree after the last beside that after the first."""
    many, measured = bench.offer("send_many"), []
    with bench.workers() as workers:
        for done in range(1, rounds + 1):
            many(0, tasks)
            workers.wait_for_runs(tasks, done)
            time.sleep(0.5)  # what was freed is given back
            measured.append(pss_mib(workers.tree()))
    return {
        "growth": measured[-1] / measured[0],
        "first_mib": measured[0],
        "last_mib": measured[-1],
        "most_mib": max(measured),
        "tasks": rounds * tasks,
    }


FOOTPRINT_MEASURES = {"idle": idle, "cold_start": cold_start, "soak": soak}
