"""The measures of batches, and of limits by key: items a second, and the drain of others beside what a key holds.

A contestant offers `send_items(n, batch)`: items that it may execute `batch` at a time, and that stamp a slot each.
Under limits it offers `send_keyed(n)`: tasks of keys that have room for all; `holders()`: the commands of a worker for
what keeps a key's only place, `hold(n)`: which returns when `n` tasks of that key are held; and `writes(n)`: what the
execution of a task of another key writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.processes import Workers

if TYPE_CHECKING:
    from benchmarks.measures import Bench

__all__ = ["LIMIT_MEASURES", "batches", "held", "limited"]

Figures = dict[str, Any]


def batches(bench: Bench, items: int = 20_000, batch: int = 100) -> Figures:
    """Items that are all there before the workers start, from the first one to the last outcome stored. `batch`: how
    many a task takes at a time; 1: each is a task of its own."""
    bench.offer("send_items")(items, batch)
    with bench.workers(warm=False) as workers:
        figures = bench.drained(workers, items)
    return {"items_per_s": figures.pop("tasks_per_s"), **figures}


def limited(bench: Bench, tasks: int = 20_000) -> Figures:
    """As `drain`, of tasks under a limit by key that has room for all of them."""
    bench.offer("send_keyed")(tasks)
    with bench.workers(warm=False) as workers:
        return bench.drained(workers, tasks)


def held(bench: Bench, rows: int = 100_000, tasks: int = 20_000, written: int = 1_000) -> Figures:
    """The drain of tasks without keys, by workers that wait for them, while `rows` tasks are held by a key whose only
    place is taken; and what a task's execution writes beside them."""
    commands = bench.offer("workers")(2) + bench.offer("holders")()
    with Workers(commands, bench.folder, bench.slots) as workers:
        bench.offer("hold")(rows)
        bench.offer("send")(bench.slots.n - 1)
        workers.wait_for(bench.slots.n - 1)
        bench.send_all(tasks)
        figures = bench.drained(workers, tasks)
    return {**figures, **bench.offer("writes")(written)}


LIMIT_MEASURES = {"batches": batches, "limited": limited, "held": held}
