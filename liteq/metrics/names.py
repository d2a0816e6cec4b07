"""Every metric: its name, kind, labels and meaning. The collector, the reference and the boards' test go by this table.

A counter is named without its `_total`, as the library takes it.
"""

from __future__ import annotations

from liteq.utils.records import NamedTuple

__all__ = ["CELERY", "FLOWER", "LITEQ", "METRICS", "Metric", "series"]

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"


class Metric(NamedTuple):
    """One metric; `labels` in the order in which values are given."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


_WORKER = ("worker",)
_QUEUE = ("queue",)
_LIMIT = ("key",)
_CELERY_TASK = ("name", "queue_name", "hostname")

LITEQ = (
    Metric("liteq_tasks", COUNTER, ("task", "queue", "outcome"), "Attempts that ended, by outcome"),
    Metric("liteq_task_run_seconds", HISTOGRAM, ("task", "queue"), "Run time of an attempt"),
    Metric("liteq_task_wait_seconds", HISTOGRAM, _QUEUE, "Time from due to start"),
    Metric("liteq_task_errors", COUNTER, ("task", "exception"), "Attempts that raised, by exception"),
    Metric("liteq_queue_messages", GAUGE, ("queue", "state"), "Messages that are pending or held"),
    Metric("liteq_messages", GAUGE, ("state",), "Messages by state"),
    Metric("liteq_count_capped", GAUGE, ("metric",), "1: the numbers of this metric were not counted to their end"),
    Metric("liteq_queue_head_wait_seconds", GAUGE, _QUEUE, "For how long the head of a queue has been due"),
    Metric("liteq_queue_paused", GAUGE, _QUEUE, "1: the queue is paused"),
    Metric("liteq_queue_slots", GAUGE, _QUEUE, "Executors of the workers that take from a queue"),
    Metric("liteq_queue_workers", GAUGE, _QUEUE, "Living workers that take from a queue"),
    Metric("liteq_limit_running", GAUGE, _LIMIT, "Places that are taken under a limit of the code; * is all its keys"),
    Metric("liteq_limit_held", GAUGE, _LIMIT, "Messages that wait for a limit of the code"),
    Metric("liteq_limit_max", GAUGE, _LIMIT, "How many of one key run at once"),
    Metric("liteq_limit_head_wait_seconds", GAUGE, _LIMIT, "For how long the first that a limit holds has been due"),
    Metric("liteq_limit_paused", GAUGE, _LIMIT, "1: the key is paused"),
    Metric("liteq_worker_up", GAUGE, _WORKER, "Living workers of this name"),
    Metric("liteq_worker_busy", GAUGE, _WORKER, "Messages that they hold"),
    Metric("liteq_worker_slots", GAUGE, _WORKER, "Their executors"),
    Metric("liteq_worker_heartbeat_age_seconds", GAUGE, _WORKER, "Age of the oldest of their heartbeats"),
    Metric("liteq_worker_child_exits", COUNTER, ("worker", "reason"), "Ends of child processes"),
    Metric("liteq_schedule_late_seconds", GAUGE, ("schedule",), "For how long an entry of beat has been due, not sent"),
    Metric("liteq_workflow_runs", GAUGE, ("workflow", "state"), "Unfinished runs"),
    Metric("liteq_workflow_steps", COUNTER, ("workflow", "outcome"), "Steps of runs that have ended"),
    Metric("liteq_memo", COUNTER, ("result",), "Steps of runs that have ended, which the memo answered (hit)"),
    Metric("liteq_leases_lost", COUNTER, (), "Results that came after their lease was over"),
    Metric("liteq_reaped", COUNTER, (), "Leases of workers that vanished"),
    Metric("liteq_write_wait_seconds", HISTOGRAM, (), "Waits of workers for the write lock, where it was not free"),
    Metric("liteq_file_bytes", GAUGE, (), "Size of the file"),
    Metric("liteq_wal_bytes", GAUGE, (), "Size of its log"),
    Metric("liteq_free_bytes", GAUGE, (), "Free pages in the file"),
    Metric("liteq_disk_free_bytes", GAUGE, (), "Free space of its disk"),
    Metric("liteq_age_seconds", GAUGE, (), "How old the copy or replica is that is read; 0: the queue itself"),
    Metric("liteq_warnings", GAUGE, (), "Warnings of the storage and of work that does not go on"),
    Metric("liteq_build_info", GAUGE, ("version", "sqlite", "driver"), "Versions; always 1"),
)
_CELERY_EVENTS = ("sent", "received", "started", "succeeded", "retried", "rejected", "revoked")
CELERY = (
    *(Metric(f"celery_task_{event}", COUNTER, _CELERY_TASK, f"Tasks: {event}") for event in _CELERY_EVENTS),
    Metric("celery_task_failed", COUNTER, (*_CELERY_TASK, "exception"), "Tasks: failed"),
    Metric("celery_task_runtime", HISTOGRAM, _CELERY_TASK, "Run time in seconds"),
    Metric("celery_queue_length", GAUGE, ("queue_name",), "Messages that wait"),
    Metric("celery_worker_up", GAUGE, ("hostname",), "1: the worker lives"),
    Metric("celery_worker_tasks_active", GAUGE, ("hostname",), "Tasks that it executes"),
    Metric("celery_active_worker_count", GAUGE, ("queue_name",), "Workers of a queue"),
    Metric("celery_active_process_count", GAUGE, ("queue_name",), "Their processes"),
)
FLOWER = (
    Metric("flower_events", COUNTER, ("task", "type", "worker"), "Events of tasks"),
    Metric("flower_task_runtime_seconds", HISTOGRAM, ("task", "worker"), "Run time"),
    Metric("flower_worker_online", GAUGE, ("worker",), "1: the worker lives"),
    Metric("flower_worker_number_of_currently_executing_tasks", GAUGE, ("worker",), "Tasks that it executes"),
)
METRICS = {one.name: one for one in (*LITEQ, *CELERY, *FLOWER)}


def series(metric: Metric) -> tuple[str, ...]:
    """The names that a query finds it under."""
    if metric.kind == COUNTER:
        return (f"{metric.name}_total",)
    if metric.kind == HISTOGRAM:
        return tuple(f"{metric.name}_{part}" for part in ("bucket", "sum", "count"))
    return (metric.name,)
