"""Who is compared: which adapter, what is installed for it, which durabilities it has, and how it is set up.

`none`: no persistence (Redis in memory alone). `relaxed`: a power cut may take the last moments (Redis with an append
only file synced every second; SQLite with WAL and synchronous=NORMAL, or less where it has nothing between). `durable`:
nothing that was acknowledged (Redis with appendfsync=always; SQLite FULL). `strict`: liteq's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["CONTESTANTS", "SCENARIOS", "Contestant", "Scenario"]

REDIS = ("none", "relaxed", "durable")


@dataclass(frozen=True)
class Contestant:
    """One row of the table. `requires` is empty where it runs in the tool's own environment."""

    adapter: str
    environment: str = ""
    requires: tuple[str, ...] = ()
    durabilities: tuple[str, ...] = ("relaxed",)
    redis: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    setting: str = ""  # in words, for the table
    drain_tasks: int = 5_000  # enough for about a second or more


CELERY = ("celery[redis]==5.7.0", "redis==8.1.0")
RQ = ("rq==3.0.0", "redis==8.1.0")
DRAMATIQ = ("dramatiq[redis]==2.2.1", "redis==8.1.0")
HUEY = ("huey==3.5.4", "redis==8.1.0")
SAQ = ("saq[redis,hiredis]==0.26.4", "typing_extensions==4.16.0")  # it imports the second without asking for it
TASKITO = ("taskito==0.22.0",)

CONTESTANTS: dict[str, Contestant] = {
    "liteq": Contestant(
        "liteq", durabilities=("relaxed", "durable", "strict"), setting="prefork, 2 children", drain_tasks=40_000
    ),
    "ceiling": Contestant("ceiling", setting="bare pipeline, batches of 32, 2 children", drain_tasks=40_000),
    "bare": Contestant(
        "bare", durabilities=("relaxed", "durable"), setting="bare loop, one task a transaction", drain_tasks=10_000
    ),
    "celery-redis": Contestant("celery_redis", "celery", CELERY, REDIS, True, {}, "prefork, 2 children"),
    "celery-redis-tuned": Contestant(
        "celery_redis", "celery", CELERY, REDIS, True,
        {"conf": {"worker_prefetch_multiplier": 128, "task_send_sent_event": False},
         "worker": ["--without-gossip", "--without-mingle", "--without-heartbeat"]},
        "prefork, 2 children, prefetch 128, no gossip, mingle or heartbeat",
    ),
    "rq": Contestant("rq_redis", "rq", RQ, REDIS, True, {}, "pool of 2, a fork a job", drain_tasks=500),
    "rq-simple": Contestant(
        "rq_redis", "rq", RQ, REDIS, True, {"worker": ["-w", "rq.worker.SimpleWorker"]}, "pool of 2 simple workers",
        drain_tasks=2_000,
    ),
    "dramatiq": Contestant("dramatiq_redis", "dramatiq", DRAMATIQ, REDIS, True, {}, "2 processes of 8 threads"),
    "dramatiq-2x1": Contestant(
        "dramatiq_redis", "dramatiq", DRAMATIQ, REDIS, True, {"threads": 1}, "2 processes of 1 thread",
        drain_tasks=1_500,
    ),
    "huey-redis": Contestant("huey_any", "huey", HUEY, REDIS, True, {"storage": "redis"}, "2 processes"),
    "huey-sqlite": Contestant(
        "huey_any", "huey", HUEY, ("relaxed", "durable"), False, {"storage": "sqlite"},
        "2 processes; relaxed is synchronous=OFF",
    ),
    "huey-sqlite-tuned": Contestant(
        "huey_any", "huey", HUEY, ("relaxed", "durable"), False,
        {"storage": "sqlite", "worker": ["-d", "0.001", "-m", "0.005"],
         "get": {"backoff": 1, "max_delay": 0.001}},
        "2 processes that poll every 1-5 ms; relaxed is synchronous=OFF",
    ),
    "saq": Contestant("saq_redis", "saq", SAQ, REDIS, True, {}, "2 processes of 10 coroutines"),
    "saq-tuned": Contestant(
        "saq_redis", "saq", SAQ, REDIS, True, {"apply": {"poll_interval": 0.001}},
        "2 processes of 10 coroutines; results polled every 1 ms, not every 500",
    ),
    "saq-2x1": Contestant("saq_redis", "saq", SAQ, REDIS, True, {"concurrency": 1}, "2 processes of 1 coroutine"),
    "taskito": Contestant("taskito_sqlite", "taskito", TASKITO, setting="prefork, 2 children", drain_tasks=1_000),
    "taskito-tuned": Contestant(
        "taskito_sqlite", "taskito", TASKITO,
        options={"queue": {"scheduler_poll_interval_ms": 1, "scheduler_batch_size": 64, "push_dispatch": True}},
        setting="prefork, 2 children, polls every 1 ms in batches of 64", drain_tasks=2_000,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """A measure at a size, the figure that stands for it in the tables, and which way is better."""

    measure: str
    figure: str
    unit: str
    higher: bool
    title: str
    sizes: dict[str, Any] = field(default_factory=dict)
    big: bool = False  # only when asked for


SCENARIOS: dict[str, Scenario] = {
    "drain": Scenario("drain", "tasks_per_s", "tasks/s", True, "Drain of a queue of no-op tasks, results stored"),
    "enqueue": Scenario("enqueue", "tasks_per_s", "tasks/s", True, "Enqueue, one call a task"),
    "enqueue-many": Scenario("enqueue_many", "tasks_per_s", "tasks/s", True, "Enqueue, many in a call"),
    "producers": Scenario("producers", "tasks_per_s", "tasks/s", True, "64 producers at once, one call a task"),
    "latency": Scenario("latency", "p50_ms", "ms", False, "Idle latency: from the send to the start of the task, p50"),
    "roundtrip": Scenario("roundtrip", "p50_ms", "ms", False, "Send and wait for the result, p50"),
    "sleeps": Scenario("sleeps", "share_of_ideal", "of ideal", True, "1,000 tasks of 5 ms sleep"),
    "chord-1000": Scenario("chord", "seconds", "s", False, "Chord of 1,000, send to body", {"members": 1_000}),
    "chord-10000": Scenario("chord", "seconds", "s", False, "Chord of 10,000, send to body", {"members": 10_000}),
    "chain-100": Scenario("chain", "ms_per_step", "ms/link", False, "Chain of 100", {"links": 100}),
    "chain-1000": Scenario("chain", "ms_per_step", "ms/link", False, "Chain of 1,000", {"links": 1_000}),
    "idle": Scenario("idle", "pss_mib", "MiB", False, "Memory of idle workers with 2 children (PSS; server apart)"),
    "cold-start": Scenario("cold_start", "seconds", "s", False, "Cold start to the first task"),
    "payload-100": Scenario("payload", "tasks_per_s", "tasks/s", True, "Drain, arguments of 100 B", {"size": 100}),
    "payload-10k": Scenario("payload", "tasks_per_s", "tasks/s", True, "Drain, arguments of 10 kB", {"size": 10_000}),
    "payload-100k": Scenario(
        "payload", "tasks_per_s", "tasks/s", True, "Drain, arguments of 100 kB", {"size": 100_000, "tasks": 500}
    ),
    "backlog-10k": Scenario("backlog", "drain_per_s", "tasks/s", True, "Drain, 10 k queued", {"rows": 10_000}),
    "backlog-1m": Scenario("backlog", "drain_per_s", "tasks/s", True, "Drain, 1 M queued", {"rows": 1_000_000}),
    "backlog-10m": Scenario(
        "backlog", "drain_per_s", "tasks/s", True, "Drain, 10 M queued", {"rows": 10_000_000}, big=True
    ),
    "mixed": Scenario(
        "mixed",
        "tasks_per_s",
        "tasks/s",
        True,
        "2 producers and 2 workers at once, 20 % retried, 2 queues, 3 priorities",
    ),
}
