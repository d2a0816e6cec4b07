"""Measures of workers that run coroutines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.measures import Bench

__all__ = ["COROUTINE_MEASURES"]


def coroutines(bench: Bench, tasks: int = 10_000, seconds: float = 0.1, at_once: int = 1_000) -> dict[str, Any]:
    """Tasks that only wait, queued before, by one process of `at_once` places: the time as a multiple of the ideal.

    Ideal: each place is always taken, `tasks` / `at_once` times `seconds`. From the start of the first to the last end.
    """
    bench.offer("send_naps")(tasks, seconds)
    with bench.workers(1, warm=False) as workers:
        stamps = sorted(workers.wait_for_all(tasks, within_s=120))
    took_s = stamps[-1] - stamps[0] + seconds
    return {"of_ideal": took_s / (tasks / at_once * seconds), "seconds": took_s, **bench.counted(tasks)}


COROUTINE_MEASURES: dict[str, Callable[..., dict[str, Any]]] = {"coroutines": coroutines}
