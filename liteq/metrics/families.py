"""Facts as families of prometheus_client, in three vocabularies: liteq's own, Celery's exporters', Flower's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from liteq.metrics.facts import Facts, Sum
from liteq.metrics.names import METRICS

__all__ = ["VOCABULARIES", "celery", "flower", "liteq"]

EXCEPTIONS = 50  # of one task; the others are "other"
OUTCOMES = ("succeeded", "failed", "retried", "cancelled", "expired", "crashed", "rejected")
RAN = frozenset({"succeeded", "failed", "retried"})  # the task's own code came to an end
ERRORS = frozenset({"failed", "retried", "crashed"})
CAPPED = ("liteq_limit_held", "liteq_messages", "liteq_queue_messages")
Labels = tuple[str, ...]


def _values(name: str, values: Mapping[Any, float]) -> Family:
    """A counter or a gauge, a series for each entry of `values`: by its labels, or by its only one."""
    metric = METRICS[name]
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: Family = kind(name, metric.help, labels=metric.labels)
    for labels, value in sorted(values.items()):
        family.add_metric((labels,) if isinstance(labels, str) else labels, value)  # type: ignore[attr-defined]
    return family


def _value(name: str, value: float) -> Family:
    return _values(name, {(): value})


class _Histogram:
    """Counts by the bounds, and a sum."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.sum = 0.0

    def add(self, counts: Sequence[int], seconds: float) -> None:
        more = len(counts) - len(self.counts)
        self.counts += [0] * max(0, more)
        for n, count in enumerate(counts):
            self.counts[n] += count
        self.sum += seconds


def _histograms(name: str, bounds: Sequence[float], parts: Iterable[tuple[Labels, Sequence[int], float]]) -> Family:
    found: dict[Labels, _Histogram] = defaultdict(_Histogram)
    for labels, counts, seconds in parts:
        found[labels].add(counts, seconds)
    metric = METRICS[name]
    family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
    for labels, one in sorted(found.items()):
        total, buckets = 0, []
        for bound, count in zip(bounds, [*one.counts, *[0] * len(bounds)], strict=False):
            total += count
            buckets.append((f"{bound:g}", total))
        buckets.append(("+Inf", sum(one.counts)))
        family.add_metric(labels, buckets=buckets, sum_value=one.sum)
    return family


def _counted(sums: Iterable[Sum], labels: Callable[[Sum], Labels]) -> dict[Labels, float]:
    found: Counter[Labels] = Counter()
    for one in sums:
        found[labels(one)] += one.n
    return dict(found)


def _run_parts(sums: Iterable[Sum], labels: Callable[[Sum], Labels]) -> Iterator[tuple[Labels, Sequence[int], float]]:
    return ((labels(one), one.runs, one.run_s) for one in sums if one.runs)


# -- liteq's ---------------------------------------------------------------------------------------------------------


def liteq(facts: Facts) -> Iterator[Family]:
    """The families of liteq's own names."""
    yield from _of_tasks(facts)
    yield from _of_queues(facts)
    yield from _of_limits(facts)
    yield from _of_workers(facts)
    yield _values("liteq_schedule_late_seconds", facts.schedules)
    yield _values("liteq_workflow_runs", facts.runs)
    yield _values("liteq_workflow_steps", facts.steps)
    yield _values("liteq_memo", facts.memo)
    yield _value("liteq_leases_lost", facts.leases_lost)
    yield _value("liteq_reaped", facts.reaped)
    waits = facts.write_waits
    yield _histograms("liteq_write_wait_seconds", facts.bounds, [((), waits.waits or (0,), waits.wait_s)])
    for name, size in facts.sizes.items():
        yield _value(f"liteq_{name}_bytes", size)
    yield _value("liteq_age_seconds", facts.age_s)
    yield _value("liteq_warnings", facts.warnings)
    yield _values("liteq_build_info", {facts.versions: 1})


def _of_tasks(facts: Facts) -> Iterator[Family]:
    ended = [one for one in facts.sums if one.outcome in OUTCOMES]
    yield _values("liteq_tasks", _counted(ended, lambda one: (one.task, one.queue, one.outcome)))
    yield _histograms("liteq_task_run_seconds", facts.bounds, _run_parts(ended, lambda one: (one.task, one.queue)))
    waits = (((one.queue,), one.waits, one.wait_s) for one in ended if one.waits)
    yield _histograms("liteq_task_wait_seconds", facts.bounds, waits)
    yield _values("liteq_task_errors", _errors(ended))


def _errors(ended: Iterable[Sum]) -> dict[Labels, float]:
    by_task: dict[str, Counter[str]] = defaultdict(Counter)
    for one in ended:
        if one.outcome in ERRORS:
            by_task[one.task][one.exception or "unknown"] += one.n
    found: Counter[Labels] = Counter()
    for task, exceptions in by_task.items():
        # By their names, not by their numbers: one that is counted by name today is so tomorrow.
        named = sorted(exceptions)[:EXCEPTIONS]
        for exception, n in exceptions.items():
            found[task, exception if exception in named else "other"] += n
    return dict(found)


def _of_queues(facts: Facts) -> Iterator[Family]:
    queues = facts.queues
    waiting = {(one.name, state): n for one in queues for state, n in (("pending", one.pending), ("held", one.held))}
    yield _values("liteq_queue_messages", waiting)
    yield _values("liteq_messages", facts.states)
    capped = {name: float(name in facts.capped) for name in CAPPED}
    yield _values("liteq_count_capped", capped)
    yield _values("liteq_queue_head_wait_seconds", {one.name: one.head_wait_s for one in queues})
    yield _values("liteq_queue_paused", {one.name: float(one.paused) for one in queues})
    yield _values("liteq_queue_slots", {one.name: one.slots for one in queues})
    yield _values("liteq_queue_workers", {one.name: one.workers for one in queues})


def _of_limits(facts: Facts) -> Iterator[Family]:
    limits = facts.limits
    yield _values("liteq_limit_running", {one.key: one.running for one in limits})
    yield _values("liteq_limit_held", {one.key: one.held for one in limits})
    yield _values("liteq_limit_max", {one.key: one.most for one in limits if one.most is not None})
    yield _values("liteq_limit_head_wait_seconds", {one.key: one.head_wait_s for one in limits})
    yield _values("liteq_limit_paused", {one.key: float(one.paused) for one in limits})


def _of_workers(facts: Facts) -> Iterator[Family]:
    workers = facts.workers
    up: Counter[str] = Counter()
    busy: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    age: dict[str, float] = {}
    for one in workers:
        up[one.name] += one.up
        busy[one.name] += one.busy
        slots[one.name] += one.slots
        age[one.name] = max(age.get(one.name, 0.0), one.heartbeat_age_s)
    yield _values("liteq_worker_up", up)
    yield _values("liteq_worker_busy", busy)
    yield _values("liteq_worker_slots", slots)
    yield _values("liteq_worker_heartbeat_age_seconds", age)
    yield _values("liteq_worker_child_exits", facts.child_exits)


# -- those of others -------------------------------------------------------------------------------------------------


def celery(facts: Facts) -> Iterator[Family]:
    """The families that boards of Celery's exporters ask for; a `hostname` of a task is not known: it is ""."""

    def labels(one: Sum) -> Labels:
        return (one.task, one.queue, "")

    of = _by_outcome(facts.sums)
    started = [one for outcome in ("succeeded", "failed", "retried", "crashed", "rejected") for one in of[outcome]]
    events = {
        "sent": of["sent"],
        "received": of["sent"],
        "started": started,
        "succeeded": of["succeeded"],
        "retried": [*of["retried"], *of["crashed"]],
        "rejected": of["rejected"],
        "revoked": [*of["cancelled"], *of["expired"]],
    }
    for event, sums in events.items():
        yield _values(f"celery_task_{event}", _counted(sums, labels))
    yield _values("celery_task_failed", _counted(of["failed"], lambda one: (*labels(one), one.exception)))
    ran = [one for one in facts.sums if one.outcome in RAN]
    yield _histograms("celery_task_runtime", facts.bounds, _run_parts(ran, labels))
    yield _values("celery_queue_length", {one.name: one.pending for one in facts.queues})
    up, busy = _up_and_busy(facts)
    yield _values("celery_worker_up", up)
    yield _values("celery_worker_tasks_active", busy)
    yield _values("celery_active_worker_count", {one.name: one.workers for one in facts.queues})
    yield _values("celery_active_process_count", {one.name: one.slots for one in facts.queues})


FLOWER_EVENTS = {
    "sent": ("task-sent", "task-received"), "succeeded": ("task-started", "task-succeeded"),
    "failed": ("task-started", "task-failed"), "retried": ("task-started", "task-retried"),
    "crashed": ("task-started", "task-retried"), "rejected": ("task-started", "task-rejected"),
    "cancelled": ("task-revoked",), "expired": ("task-revoked",),
}  # fmt: skip


def flower(facts: Facts) -> Iterator[Family]:
    """The families that boards of Flower ask for; the `worker` of a task is not known: it is ""."""
    events: Counter[Labels] = Counter()
    for one in facts.sums:
        for event in FLOWER_EVENTS.get(one.outcome, ()):
            events[one.task, event, ""] += one.n
    yield _values("flower_events", dict(events))
    ran = [one for one in facts.sums if one.outcome in RAN]
    yield _histograms("flower_task_runtime_seconds", facts.bounds, _run_parts(ran, lambda one: (one.task, "")))
    up, busy = _up_and_busy(facts)
    yield _values("flower_worker_online", up)
    yield _values("flower_worker_number_of_currently_executing_tasks", busy)


def _by_outcome(sums: Iterable[Sum]) -> dict[str, list[Sum]]:
    found: dict[str, list[Sum]] = defaultdict(list)
    for one in sums:
        found[one.outcome].append(one)
    return found


def _up_and_busy(facts: Facts) -> tuple[dict[str, float], dict[str, float]]:
    """By the name of the worker: 1 where one of this name lives, and how much they run."""
    up: dict[str, float] = {}
    busy: Counter[str] = Counter()
    for one in facts.workers:
        up[one.name] = max(up.get(one.name, 0.0), float(one.up))
        busy[one.name] += one.busy
    return up, dict(busy)


VOCABULARIES = {"celery": celery, "flower": flower}
