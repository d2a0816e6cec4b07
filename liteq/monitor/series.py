"""One measure over time, as the points of a chart: out of the sums of tasks, and of the measures of each minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from liteq.context import App
from liteq.monitor.access.sight import ALL, Sight
from liteq.storage.statistics.stats import Tally, quantile
from liteq.utils.misspelt import nearest

__all__ = ["METRICS", "UnknownMetric", "series", "step_of"]

MINUTE_MS: Final = 60_000
POINTS: Final = 400  # of a chart, at most
STEPS: Final = (1, 5, 10, 60, 180, 720, 1_440)  # minutes between two points
HOURLY_S: Final = 47 * 3_600  # a longer range has rows of hours in it
LONGEST_S: Final = 90 * 86_400
MARKS: Final = 100
FEWEST_S: Final = 10.0  # of the minute that runs, before it is shown

# Ends a second, by the outcomes that are counted.
RATES: Final[Mapping[str, frozenset[str]]] = {
    "sent_s": frozenset({"sent"}),
    "done_s": frozenset({"succeeded"}),
    "failed_s": frozenset({"failed", "crashed", "rejected"}),
    "retried_s": frozenset({"retried"}),
    "cancelled_s": frozenset({"cancelled", "expired"}),
}
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
RAN: Final = frozenset({"succeeded", "failed", "crashed", "retried", "rejected"})
TIMES: Final = frozenset(f"{kind}_{name}_s" for kind in ("wait", "run") for name in QUANTILES)
# By the key of the measure: what it is divided by, and whether there is one of each queue.
SAMPLES: Final[Mapping[str, tuple[str, float, bool]]] = {
    "waiting": ("waiting", 1, True),
    "head_wait_s": ("head_wait_ms", 1000, True),
    "running": ("running", 1, False),
    "scheduled": ("scheduled", 1, False),
    "dead": ("dead", 1, False),
    "file_bytes": ("file_bytes", 1, False),
    "wal_bytes": ("wal_bytes", 1, False),
}
METRICS: Final = frozenset({*RATES, *TIMES, *SAMPLES})
SEEN_QUEUES: Final = 50  # whose measures are put together for a viewer of some queues


class UnknownMetric(ValueError):
    """Raised for a metric that there is none of."""

    def __init__(self, metric: str) -> None:
        near = nearest(metric, METRICS)
        super().__init__(f"unknown metric {metric!r}; use {near or ', '.join(sorted(METRICS))}")


def step_of(range_s: float) -> int:
    """The minutes between two points of a range."""
    fit = [step for step in STEPS if range_s / 60 / step <= POINTS and (step >= 60 or range_s <= HOURLY_S)]
    return fit[0] if fit else STEPS[-1]


def series(
    app: App, metric: str, range_s: float, queue: str | None = None, task: str | None = None, see: Sight = ALL
) -> dict[str, Any]:
    """One measure of the last `range_s` seconds, of all or of a `queue` or a `task`.

    {"metric", "points": [[ms, value], ...], "marks": [[ms, label], ...]}, the oldest first; a value is None where
    nothing was measured. METRICS: `done_s` and the like are ends a second, `wait_p95_s` and `run_p95_s` seconds. A task
    has rates and times alone. Raises UnknownMetric.
    """
    if metric not in METRICS:
        raise UnknownMetric(metric)
    range_s = min(max(range_s, 60.0), LONGEST_S)
    now_ms = app.clock.now_ms()
    marks = app.storage.audit.marks(now_ms - int(range_s * 1000), now_ms + 1, limit=MARKS)
    if queue is not None and not see.sees(queue):
        points: list[list[Any]] = []
    elif metric in SAMPLES:
        points = [] if task is not None else _sampled(app, metric, range_s, queue, see)
    else:
        summed = _timed if metric in TIMES else _rated
        points = _drawn(summed(app, metric, range_s, queue, task, see), range_s, now_ms)
    return {"metric": metric, "points": points, "marks": [[mark.at_ms, mark.label] for mark in marks]}


def _slots(range_s: float, now_ms: int) -> tuple[range, int]:
    """The first minutes of the points, and the minutes between them."""
    step, this = step_of(range_s), now_ms // MINUTE_MS
    first = (this - int(range_s // 60)) // step * step + (step if range_s >= 2 * step * 60 else 0)
    return range(first, this + 1, step), step


def _drawn(value: Callable[[int, float], float | None], range_s: float, now_ms: int) -> list[list[Any]]:
    """The points of `value`, by the first minute of each and its seconds."""
    slots, step = _slots(range_s, now_ms)
    points = []
    for minute in slots:
        seconds = min(step * 60.0, now_ms / 1000 - minute * 60)
        if seconds >= FEWEST_S:
            points.append([minute * MINUTE_MS, value(minute, seconds)])
    return points


def _rated(
    app: App, metric: str, range_s: float, queue: str | None, task: str | None, see: Sight
) -> Callable[[int, float], float | None]:
    found = Counter[int]()
    for minute, name, n in app.storage.stats.by_slot(range_s, step_of(range_s), RATES[metric], task=task, queue=queue):
        if see.sees(name):
            found[minute] += n
    return lambda minute, seconds: found[minute] / seconds


def _timed(
    app: App, metric: str, range_s: float, queue: str | None, task: str | None, see: Sight
) -> Callable[[int, float], float | None]:
    kind, name, _ = metric.split("_")
    step, tallies = step_of(range_s), dict[int, Tally]()
    for row in app.storage.stats.series(range_s, task=task, queue=queue):
        if row.outcome in RAN and see.sees(row.queue):
            tallies.setdefault(row.minute // step * step, Tally()).add(row.tally)

    def value(minute: int, _seconds: float) -> float | None:
        tally = tallies.get(minute)
        return None if tally is None else quantile(tally.wait if kind == "wait" else tally.run, QUANTILES[name])

    return value


def _sampled(app: App, metric: str, range_s: float, queue: str | None, see: Sight) -> list[list[Any]]:
    """The measures, the largest between two points; of a queue in which nothing waited: 0."""
    key, scale, by_queue = SAMPLES[metric]
    stats = app.storage.stats
    if not by_queue:
        if queue is not None or see.queues is not None:
            return []  # it is of the whole file
        found = dict(stats.samples(key, range_s))
    elif queue is not None:
        taken = dict.fromkeys((minute for minute, _ in stats.samples("running", range_s)), 0)
        found = taken | dict(stats.samples(f"{key}:{queue}", range_s))
    elif see.queues is None:
        found = dict(stats.samples(key, range_s))
    else:
        found = _of_queues(app, key, range_s, see)
    slots, step = _slots(range_s, app.clock.now_ms())
    largest: dict[int, int] = {}
    for minute, value in found.items():
        slot = minute // step * step
        largest[slot] = max(largest.get(slot, 0), value)
    return [[minute * MINUTE_MS, largest[minute] / scale if minute in largest else None] for minute in slots]


def _of_queues(app: App, key: str, range_s: float, see: Sight) -> dict[int, int]:
    stats = app.storage.stats
    found = Counter(dict.fromkeys((minute for minute, _ in stats.samples("running", range_s)), 0))
    for name in [name for name in stats.queues() if see.sees(name)][:SEEN_QUEUES]:
        for minute, value in stats.samples(f"{key}:{name}", range_s):
            found[minute] = found[minute] + value if key == "waiting" else max(found[minute], value)
    return dict(found)
