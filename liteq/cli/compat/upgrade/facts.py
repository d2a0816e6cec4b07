"""Verdicts on Celery's names (settings, options, packages): a severity, and a hint in one line."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from liteq.settings import NO_EFFECT, SETTINGS, WHY_NO_EFFECT, canonical
from liteq.settings.schemes import is_ours
from liteq.utils.records import NamedTuple
from liteq.utils.upward import upward

__all__ = ["Finding", "Severity", "of_import", "of_requirement", "of_setting", "of_task_option"]


class Severity(StrEnum):
    """How much a finding matters."""

    MISSING = "missing"
    DIFFERS = "differs"
    NOTE = "note"


class Finding(NamedTuple):
    """Something that does not simply work: where it stands (the line counts from 1), what it is, and what to do."""

    file: str
    line: int
    severity: Severity
    what: str
    hint: str


Verdict = tuple[Severity, str]

LATE = "a task whose worker died runs again, by default; Celery's default is that it is lost"
HIGHER_FIRST = "the higher priority goes first, as with RabbitMQ; with Redis Celery has 0 first"
SIGNED = "pickles are written and read under a signature alone: set `pickle_key`"
TO_A_FILE = "the queue is a file: sqlite:///tasks.db"
ONE_FILE = "results are in the queue's file: drop it"
NO_GREEN = "there are no pools of green threads: `async def` tasks, or the pool `threads`"

UNMODIFIED = "works as it is with liteq_celery"
PULLS_CELERY = "install it with `pip install --no-deps`, or it pulls Celery back in, which then goes before liteq"

PACKAGES: dict[str, Verdict] = {
    "asgi_correlation_id": (Severity.NOTE, UNMODIFIED),
    "celery_batches": (
        Severity.DIFFERS,
        "`@app.task(batch=100, batch_wait=10)` does it: `item.ok()` in `mark_as_done`'s place",
    ),
    "celery_exporter": (
        Severity.DIFFERS,
        f"{UNMODIFIED}, but for the lengths of queues (`liteq --json status`); {PULLS_CELERY}",
    ),
    "celery_once": (Severity.DIFFERS, "`@app.task(unique=True)` does it without a lock elsewhere"),
    "django_celery_beat": (Severity.DIFFERS, "liteq_django has these tables' entries imported into the queue's file"),
    "django_celery_results": (
        Severity.DIFFERS,
        "results are in the queue's file; liteq_django shows them in the admin",
    ),
    "django_structlog": (Severity.NOTE, UNMODIFIED),
    "elasticapm": (Severity.NOTE, UNMODIFIED),
    "eventlet": (Severity.MISSING, NO_GREEN),
    "gevent": (Severity.MISSING, NO_GREEN),
    "flower": (
        Severity.MISSING,
        "`liteq status`, `liteq inspect`, `liteq events`; the admin of liteq_django has pages; it pulls Celery back in",
    ),
    "opentelemetry": (Severity.NOTE, f"CeleryInstrumentor {UNMODIFIED}; {PULLS_CELERY}"),
    "pytest_celery": (
        Severity.MISSING,
        f"it starts brokers in Docker: `liteq.testing.plugin` has Celery's fixtures. {PULLS_CELERY}",
    ),
    "redbeat": (Severity.MISSING, "entries are in the queue's file and any number of beats may run; `app.schedules`"),
    "sentry_sdk": (Severity.NOTE, f"CeleryIntegration {UNMODIFIED}"),
}

# A package that has a part for Celery, and many users without: only this part is told of.
OF_CELERY = {
    "asgi_correlation_id": "asgi_correlation_id.extensions.celery",
    "django_structlog": "django_structlog.celery",
    "elasticapm": "elasticapm.contrib.celery",
    "opentelemetry": "opentelemetry.instrumentation.celery",
    "sentry_sdk": "sentry_sdk.integrations.celery",
}

# Names of distributions that say for certain that the part for Celery is used, and the modules that they bring.
REQUIREMENTS = {
    "celery-batches": "celery_batches", "celery-exporter": "celery_exporter", "celery-once": "celery_once",
    "celery-redbeat": "redbeat", "django-celery-beat": "django_celery_beat",
    "django-celery-results": "django_celery_results", "flower": "flower",
    "opentelemetry-instrumentation-celery": "opentelemetry", "pytest-celery": "pytest_celery",
}  # fmt: skip


def of_requirement(name: str) -> Verdict | None:
    """The verdict on a package in a list of requirements; None where it says nothing about Celery."""
    module = REQUIREMENTS.get(name.lower().replace("_", "-"))
    return None if module is None else PACKAGES[module]


# Public modules of liteq that bear the name of one of Celery's: there a changed import line is enough.
PUBLIC = frozenset(
    {"celery", "celery.bootsteps", "celery.utils.log"}
    | {f"celery.{name}" for name in ("canvas", "exceptions", "result", "schedules", "signals", "states")}
)
ROOTS = frozenset({"celery", "kombu", "billiard"})


def of_import(module: str, name: str | None) -> Verdict | None:
    """The verdict on `from module import name` (None: `import module`); None where it works."""
    root = module.partition(".")[0]
    if root in PACKAGES:
        part = OF_CELERY.get(root, root)
        return PACKAGES[root] if f"{module}.{name or ''}.".startswith(f"{part}.") else None
    if root not in ROOTS:
        return None
    modules, why_not = upward("celery_names"), upward("celery_reasons")
    full = module if name is None else f"{module}.{name}"
    if full == "celery.bootsteps.ConsumerStep":
        return Severity.MISSING, "there is no broker whose messages it could take; a StartStopStep may read another one"
    known = modules.get(module)
    if known is None or (name not in (None, "*") and known.path_of(name) is None and full not in modules):
        return Severity.MISSING, str(why_not(full))
    if root == "celery" and module not in PUBLIC and full not in PUBLIC:
        path = known.path_of(name) if name and name != "*" else known.whole
        there = f"liteq has it as {path.replace(':', '.')}" if path else "its names are public in liteq"
        return Severity.NOTE, f"a deep path, for which liteq_celery stands also as {_here(module)}; {there}"
    return None


def _here(module: str) -> str:
    return f"liteq{module.removeprefix('celery')}"


def of_setting(name: str, value: Any) -> Verdict | None:
    """The verdict on a setting by any of its names; `value` where it is a constant, else None."""
    name = canonical(name)
    if name in {"broker_url", "broker_read_url", "broker_write_url"} and not _is_ours(value):
        return Severity.DIFFERS, TO_A_FILE
    if name == "result_backend" and not _is_ours(value):
        return Severity.NOTE, ONE_FILE
    if name in {"task_serializer", "result_serializer"} and value == "pickle":
        return Severity.DIFFERS, SIGNED
    if name in {"accept_content", "result_accept_content"} and isinstance(value, (list, tuple)) and "pickle" in value:
        return Severity.DIFFERS, SIGNED
    if name == "worker_pool" and value in {"gevent", "eventlet"}:
        return Severity.MISSING, NO_GREEN
    if name == "beat_scheduler":
        return PACKAGES["django_celery_beat"] if "django" in str(value) else (
            Severity.MISSING, "there are no schedulers of one's own: entries are rows (`app.schedules`)",
        )  # fmt: skip
    if name.startswith("security_"):
        return Severity.MISSING, "messages are not signed by certificates: the file's permissions protect them"
    if name in VERDICTS:
        return VERDICTS[name]
    if name in NO_EFFECT:
        why = WHY_NO_EFFECT.get(name)
        return Severity.NOTE, "accepted, without effect" + (f": {why}" if why else "")
    return None


VERDICTS: dict[str, Verdict] = {
    "task_acks_late": (Severity.DIFFERS, "True by default; with False a task runs at most once"),
    "task_default_priority": (Severity.DIFFERS, HIGHER_FIRST),
    "task_queue_max_priority": (Severity.DIFFERS, f"priorities are any integers; {HIGHER_FIRST}"),
    "task_reject_on_worker_lost": (
        Severity.DIFFERS,
        "True is the default; a task that keeps killing its process is given up (`max_crashes`)",
    ),
    "worker_autoscaler": (Severity.MISSING, "there are no autoscalers of one's own"),
    "broker_transport_options": (Severity.DIFFERS, "`visibility_timeout` is read: how long a lease may go unextended"),
    "worker_consumer": (Severity.MISSING, "there are no consumers of one's own"),
    "worker_state_db": (Severity.NOTE, "revokes are in the queue's file"),
}


def of_task_option(name: str, value: Any) -> Verdict | None:
    """The verdict on an option of a task, or of a call."""
    match name, value:
        case "acks_late", False:
            return Severity.DIFFERS, "at most once: a task whose worker died becomes a dead letter"
        case "acks_late", _:
            return Severity.NOTE, "the default here"
        case "priority", _:
            return Severity.DIFFERS, HIGHER_FIRST
        case "serializer", "pickle":
            return Severity.DIFFERS, SIGNED
        case "backend", _:
            return Severity.MISSING, "a task has no result store of its own: results are in the queue's file"
        case "reject_on_worker_lost", _:
            return VERDICTS["task_reject_on_worker_lost"]
        case "connection" | "producer" | "publisher", _:
            return Severity.NOTE, "accepted, without effect: there is no connection"
    return None


def is_setting(name: str) -> bool:
    """Whether `name` is one of Celery's settings, by any of its names."""
    new = canonical(name)
    return new in NO_EFFECT or (new in SETTINGS and SETTINGS[new].celery is not None)


def _is_ours(value: Any) -> bool:
    return isinstance(value, str) and is_ours(value)
