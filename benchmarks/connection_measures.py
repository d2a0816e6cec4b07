"""The measure of many connections: claims and acknowledgements by so many of them that they meet all the time.

A contestant offers `claim_by(connections, tasks)`: all tasks are claimed and acknowledged, one after the other by each
connection; the seconds of each claim, and how many calls raised something.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.measures import Bench

__all__ = ["CONNECTION_MEASURES", "claimers"]

Figures = dict[str, Any]


def claimers(bench: Bench, connections: int = 200, tasks: int = 10_000) -> Figures:
    """Claims and acknowledgements of one task each by `connections` at once, without workers: tasks a second."""
    claim_by = bench.offer("claim_by")
    bench.send_all(tasks)
    before = time.monotonic()
    took, refused = claim_by(connections, tasks)
    seconds = time.monotonic() - before
    cuts = statistics.quantiles(took, n=100)
    return {
        "tasks_per_s": tasks / seconds,
        "claim_p50_ms": statistics.median(took) * 1000,
        "claim_p99_ms": cuts[98] * 1000,
        "errors": refused,
        **bench.counted(tasks),
    }


CONNECTION_MEASURES = {"claimers": claimers}
