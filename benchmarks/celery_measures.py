"""The measures of Celery on a liteq file beside Celery on Redis: from the send to the end, and senders of two kinds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.processes import Workers

if TYPE_CHECKING:
    from benchmarks.measures import Bench

__all__ = ["CELERY_MEASURES", "senders", "through"]

Figures = dict[str, Any]


def through(bench: Bench, tasks: int = 2_000) -> Figures:
    """Tasks that are sent one by one while workers run them: from the first send to the end of the last task."""
    with bench.workers() as workers:
        before = time.monotonic()
        bench.send_each(tasks)
        sent_s = time.monotonic() - before
        stamps = workers.wait_for_all(tasks)
    return {"tasks_per_s": tasks / (max(stamps) - before), "sent_per_s": tasks / sent_s, **bench.counted(tasks)}


def senders(bench: Bench, senders: int = 20, tasks: int = 1_000) -> Figures:
    """Two processes that send at once, `tasks` each: one by `senders` greenlets or threads, the other by one.

    From when both are connected to the end of the second.
    """
    offered = bench.offer("senders")
    commands = [offered(senders, 1, tasks), offered(1, 3, tasks)]
    with Workers(commands, bench.folder, bench.slots) as processes:
        for connected in (1, 3):
            processes.wait_for(connected, every_s=0.002)
        bench.slots.stamp(0)
        end = max(processes.wait_for(done, every_s=0.002) for done in (2, 4))
        return {"tasks_per_s": len(commands) * tasks / (end - bench.slots.at(0))}


CELERY_MEASURES = {"through": through, "senders": senders}
