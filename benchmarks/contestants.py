"""The contestants: their adapters, the packages of each, the durabilities it has, and how it is set up.

`none`: no persistence (Redis in memory alone). `relaxed`: a power cut may take the last moments (Redis with an append
only file synced every second; SQLite with WAL and synchronous=NORMAL, or less where it has nothing between; PostgreSQL
with synchronous_commit=off). `durable`: nothing that was acknowledged (Redis with appendfsync=always; SQLite FULL;
PostgreSQL as it comes). `strict`: liteq's own.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CONTESTANTS", "MAIN", "YARDSTICKS", "Contestant"]

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
REDIS = ("none", "relaxed", "durable")
SQLITE = POSTGRESQL = ("relaxed", "durable")
REDIS_WORDS = {"none": "no persistence", "relaxed": "AOF everysec", "durable": "AOF always"}
SQLITE_WORDS = {"relaxed": "WAL, NORMAL", "durable": "WAL, FULL"}
POSTGRESQL_WORDS = {"relaxed": "commit not synced", "durable": "commit synced"}


@dataclass(frozen=True)
class Contestant:
    """One row of the table. `requires` is empty where it runs in the tool's own environment."""

    title: str
    adapter: str
    environment: str = ""
    requires: tuple[str, ...] = ()
    durabilities: tuple[str, ...] = ("relaxed",)
    redis: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    setting: str = ""  # in words, for the table
    pace: int = 5_000  # tasks that keep it busy for about two seconds; rates are compared, so the slow get fewer
    syncs: dict[str, str] = field(default_factory=dict)  # durability: what that is here, where it is not the usual
    postgresql: bool = False
    checkout: bool = False  # this checkout is installed beside what it requires: it is liteq under another library
    python: str = ""  # another one than the tool's own, by its name: such a contestant runs only when asked for

    @property
    def version(self) -> str:
        """The pinned version, without extras: `5.7.0`; empty for this checkout."""
        return self.requires[0].partition("==")[2] if self.requires and not self.python else ""

    @property
    def is_liteq(self) -> bool:
        """Whether it is liteq in another setting, and so no peer."""
        return self.adapter.startswith("liteq") or self.checkout

    def sizes(self, measure: str, durability: str) -> dict[str, Any]:
        """Its own sizes of a measure, where they are not everybody's; fewer tasks where each waits for the disk."""
        pace = self.pace if durability in {"none", "relaxed"} else self.pace // 4
        own = {
            "drain": {"tasks": pace},
            "cores": {"tasks": pace},
            "through": {"tasks": pace},
            "enqueue_many": {"at_once": min(pace, 10_000)},
            "sleeps": {"tasks": min(pace, 1_000)},
            "backlog": {"tasks": min(pace, 40_000)},
            "mixed": {"tasks": min(pace, 2_000)},
            "steps": {"in_all": max(500, min(pace // 5, 4_000))},
        }
        return own.get(measure, {})

    def kept(self, durability: str) -> str:
        """The meaning of `durability` for this contestant: `AOF everysec`, `WAL, FULL`."""
        usual = REDIS_WORDS if self.redis else POSTGRESQL_WORDS if self.postgresql else SQLITE_WORDS
        return self.syncs.get(durability) or usual.get(durability, durability)


LITEQ = tuple(tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"])
CELERY = ("celery[redis]==5.7.0", "redis==8.1.0")
CELERY_ON_FILE = ("celery==5.7.0", "gevent==26.9.0")
RQ = ("rq==3.0.0", "redis==8.1.0")
DRAMATIQ = ("dramatiq[redis]==2.2.1", "redis==8.1.0")
HUEY = ("huey==3.5.4", "redis==8.1.0")
SAQ = ("saq[redis,hiredis]==0.26.4", "typing_extensions==4.16.0")  # it imports the second without asking for it
TASKITO = ("taskito==0.22.0",)
TASKIQ = ("taskiq==0.13.0", "taskiq-redis==1.2.4", "redis==8.1.0")
ARQ = ("arq==0.28.0", "redis==5.3.1")  # it does not take a newer client
PROCRASTINATE = ("procrastinate==3.10.0", "psycopg[binary]==3.3.9")
DBOS = ("dbos==3.4.0", "psycopg[binary]==3.3.9")
DJANGO_TASKS = ("django-tasks-db==0.13.0", "django-tasks==0.12.0", "django==5.2.19")
MOTO = ("moto[server]==5.2.5", "boto3==1.44.8", "orjson")
DBOS_SYNCS = {"durable": "rollback journal, FULL"}  # as shipped
ON_FILE_SYNCS = {"durable": "WAL, FULL for what is accepted"}
HUEY_SYNCS = {"relaxed": "WAL, OFF", "durable": "WAL, FULL"}  # it has nothing between

CONTESTANTS: dict[str, Contestant] = {
    "liteq": Contestant(
        "liteq", "liteq", durabilities=("relaxed", "durable", "strict"), setting="prefork, 2 children", pace=80_000,
        syncs={"durable": "WAL, FULL for what is accepted", "strict": "WAL, FULL for every commit"},
    ),
    "liteq-postgresql": Contestant(
        "liteq + PostgreSQL", "liteq", durabilities=POSTGRESQL, setting="prefork, 2 children", pace=80_000,
        postgresql=True, syncs={"durable": "commit synced for what is accepted"},
    ),
    "ceiling": Contestant("ceiling", "ceiling", setting="bare pipeline, batches of 32, 2 children", pace=150_000),
    "bare": Contestant(
        "bare loop", "bare", durabilities=SQLITE, setting="one process, one task a transaction", pace=20_000
    ),
    "celery-redis": Contestant(
        "Celery + Redis", "celery_any", "celery", CELERY, REDIS, True, {"storage": "redis"},
        "prefork, 2 children", 2_000,
    ),
    "celery-redis-tuned": Contestant(
        "Celery + Redis, tuned", "celery_any", "celery", CELERY, REDIS, True,
        {"storage": "redis",
         "conf": {"worker_prefetch_multiplier": 128, "task_send_sent_event": False},
         "worker": ["--without-gossip", "--without-mingle", "--without-heartbeat"]},
        "prefork, 2 children, prefetch 128, no gossip, mingle or heartbeat", 2_000,
    ),
    "celery-liteq": Contestant(
        "Celery + a liteq file", "celery_any", "celery-liteq", CELERY_ON_FILE, SQLITE, False, {"storage": "liteq"},
        "prefork, 2 children", 2_000, ON_FILE_SYNCS, checkout=True,
    ),
    "celery-liteq-gevent": Contestant(
        "Celery + a liteq file, gevent", "celery_any", "celery-liteq", CELERY_ON_FILE, SQLITE, False,
        {"storage": "liteq", "gevent": True}, "sends by greenlets", 2_000, ON_FILE_SYNCS, checkout=True,
    ),
    "rq": Contestant("RQ + Redis", "rq_redis", "rq", RQ, REDIS, True, {}, "pool of 2, a fork a job", 300),
    "rq-simple": Contestant(
        "RQ + Redis, simple", "rq_redis", "rq", RQ, REDIS, True, {"worker": ["-w", "rq.worker.SimpleWorker"]},
        "pool of 2 simple workers", 1_000,
    ),
    "dramatiq": Contestant(
        "dramatiq + Redis", "dramatiq_redis", "dramatiq", DRAMATIQ, REDIS, True, {}, "2 processes of 8 threads"
    ),
    "dramatiq-2x1": Contestant(
        "dramatiq + Redis, 2 x 1", "dramatiq_redis", "dramatiq", DRAMATIQ, REDIS, True, {"threads": 1},
        "2 processes of 1 thread", 1_000,
    ),
    "huey-redis": Contestant(
        "huey + Redis", "huey_any", "huey", HUEY, REDIS, True, {"storage": "redis"}, "2 processes", 8_000
    ),
    "huey-sqlite": Contestant(
        "huey + SQLite", "huey_any", "huey", HUEY, SQLITE, False, {"storage": "sqlite"}, "2 processes", 10_000,
        HUEY_SYNCS,
    ),
    "huey-sqlite-tuned": Contestant(
        "huey + SQLite, tuned", "huey_any", "huey", HUEY, SQLITE, False,
        {"storage": "sqlite", "worker": ["-d", "0.001", "-m", "0.005"],
         "get": {"backoff": 1, "max_delay": 0.001}},
        "2 processes that poll every 1-5 ms", 10_000, HUEY_SYNCS,
    ),
    "saq": Contestant("saq + Redis", "saq_redis", "saq", SAQ, REDIS, True, {}, "2 processes of 10 coroutines"),
    "saq-tuned": Contestant(
        "saq + Redis, tuned", "saq_redis", "saq", SAQ, REDIS, True, {"apply": {"poll_interval": 0.001}},
        "2 processes of 10 coroutines; results polled every 1 ms, not every 500",
    ),
    "saq-2x1": Contestant(
        "saq + Redis, 2 x 1", "saq_redis", "saq", SAQ, REDIS, True, {"concurrency": 1}, "2 processes of 1 coroutine",
        3_000,
    ),
    "taskito": Contestant("taskito", "taskito_sqlite", "taskito", TASKITO, setting="prefork, 2 children", pace=1_000),
    "taskito-tuned": Contestant(
        "taskito, tuned", "taskito_sqlite", "taskito", TASKITO,
        options={"queue": {"scheduler_poll_interval_ms": 1, "scheduler_batch_size": 64, "push_dispatch": True}},
        setting="prefork, 2 children, polls every 1 ms in batches of 64", pace=1_000,
    ),
    "taskiq": Contestant(
        "taskiq + Redis", "taskiq_redis", "taskiq", TASKIQ, REDIS, True, {}, "streams; 2 processes of 100 coroutines"
    ),
    "taskiq-2x1": Contestant(
        "taskiq + Redis, 2 x 1", "taskiq_redis", "taskiq", TASKIQ, REDIS, True,
        {"concurrency": 1, "wait": {"check_interval": 0.001}},
        "streams; 2 processes of 1 coroutine; results polled every 1 ms, not every 200", 3_000,
    ),
    "arq": Contestant("arq + Redis", "arq_redis", "arq", ARQ, REDIS, True, {}, "2 processes of 10 coroutines", 500),
    "arq-tuned": Contestant(
        "arq + Redis, tuned", "arq_redis", "arq", ARQ, REDIS, True,
        {"poll_delay": 0.001, "result": {"poll_delay": 0.001}},
        "2 processes of 10 coroutines that poll every 1 ms, not every 500", 500,
    ),
    "liteq-asyncio": Contestant(
        "liteq, asyncio", "liteq_coroutines", setting="asyncio, 1,000 coroutines a process", pace=80_000,
    ),
    "taskiq-1000": Contestant(
        "taskiq + Redis, 1,000", "taskiq_redis", "taskiq", TASKIQ, REDIS, True, {"concurrency": 1_000},
        "streams; 1,000 coroutines a process",
    ),
    "saq-1000": Contestant(
        "saq + Redis, 1,000", "saq_redis", "saq", SAQ, REDIS, True, {"concurrency": 1_000},
        "1,000 coroutines a process",
    ),
    "arq-1000": Contestant(
        "arq + Redis, 1,000", "arq_redis", "arq", ARQ, REDIS, True, {"concurrency": 1_000, "poll_delay": 0.001},
        "1,000 coroutines a process that polls every 1 ms, not every 500", 500,
    ),
    "procrastinate": Contestant(
        "procrastinate + PostgreSQL", "procrastinate_postgresql", "procrastinate", PROCRASTINATE, POSTGRESQL,
        setting="2 processes of 1 job; stores no results", pace=400, postgresql=True,
    ),
    "dbos-queue": Contestant(
        "DBOS's queue + PostgreSQL", "dbos_postgresql", "dbos", DBOS, POSTGRESQL,
        setting="2 processes; a workflow a task", pace=4_000, postgresql=True,
    ),
    "dbos-queue-tuned": Contestant(
        "DBOS's queue + PostgreSQL, tuned", "dbos_postgresql", "dbos", DBOS, POSTGRESQL,
        options={"queue": {"polling_interval_sec": 0.01}, "get": {"polling_interval_sec": 0.001}},
        setting="2 processes that look each 10 ms, not each second; results polled every 1 ms", pace=4_000,
        postgresql=True,
    ),
    "django-tasks": Contestant(
        "django-tasks-db + SQLite", "django_tasks_sqlite", "django-tasks", DJANGO_TASKS, SQLITE,
        setting="2 processes", pace=1_000,
    ),
    "gateway": Contestant(
        "liteq's gateway", "liteq", options={"http": "v1"}, durabilities=("relaxed", "durable"),
        setting="`POST /v1/tasks` over one connection that stays open",
    ),
    "gateway-sqs": Contestant(
        "liteq's gateway, SQS", "liteq", options={"http": "sqs"}, durabilities=("relaxed", "durable"),
        setting="boto3, signed requests; boto3 is in the tool's own environment",
    ),
    "moto": Contestant(
        "moto's SQS", "moto_sqs", "moto", MOTO, setting="boto3; messages in memory",
        syncs={"relaxed": "nothing is stored"},
    ),
    "wsgi": Contestant(
        "bare WSGI application", "wsgi", options={"server": "gateway"}, setting="on the gateway's own server",
        syncs={"relaxed": "nothing is stored"},
    ),
    "wsgiref": Contestant(
        "bare WSGI application, wsgiref", "wsgi", options={"server": "wsgiref"},
        setting="on the standard library's server, a thread and a connection a request",
        syncs={"relaxed": "nothing is stored"},
    ),
    "liteq-signatures": Contestant(
        "liteq, signatures", "liteq", options={"signatures": True}, pace=80_000,
        setting="prefork, 2 children; many calls are sent as signatures, not as a task with arguments",
    ),
    "liteq-3.13": Contestant(
        "liteq, Python 3.13", "liteq", "liteq-3.13", LITEQ, setting="prefork, 2 children", pace=80_000,
        python="python3.13",
    ),
    "liteq-3.14": Contestant(
        "liteq, Python 3.14", "liteq", "liteq-3.14", LITEQ, setting="prefork, 2 children", pace=80_000,
        python="python3.14",
    ),
    "liteq-3.14t": Contestant(
        "liteq, free-threaded Python 3.14", "liteq", "liteq-3.14t", LITEQ, options={"worker": ["-P", "threads"]},
        setting="2 threads", pace=80_000, python="python3.14t",
    ),
    "dbos": Contestant(
        "DBOS + SQLite", "dbos_any", "dbos", DBOS, ("durable",), setting="in one process", pace=500,
        syncs=DBOS_SYNCS,
    ),
    "dbos-wal": Contestant(
        "DBOS + SQLite, WAL", "dbos_any", "dbos", DBOS, ("durable",), options={"wal": True},
        setting="in one process, the file in WAL mode", pace=500,
    ),
    "dbos-postgresql": Contestant(
        "DBOS + PostgreSQL", "dbos_any", "dbos", DBOS, SQLITE, setting="in one process", pace=500, postgresql=True,
        syncs={"relaxed": "synchronous_commit off", "durable": "synchronous_commit on"},
    ),
}  # fmt: skip

YARDSTICKS = ("ceiling", "bare")
MAIN = (
    "liteq", "liteq-postgresql", *YARDSTICKS,
    "celery-redis", "rq-simple", "dramatiq", "huey-redis", "huey-sqlite", "saq", "taskito", "taskiq", "arq",
    "procrastinate", "dbos-queue", "django-tasks",
)  # fmt: skip
