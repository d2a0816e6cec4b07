"""The worker of Celery's in this process: its name, and the figures that liteq's lists show of it."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import celery
from billiard import current_process
from celery import signals
from celery.utils.sysinfo import load_average
from celery.worker import state
from celery.worker.consumer.gossip import Gossip
from celery.worker.consumer.mingle import Mingle

from liteq.exceptions import ImproperlyConfigured, StorageError
from liteq.monitor.workers import published
from liteq.storage.facades import exchanges, leases  # noqa: F401 - loaded before the pool forks, for all its processes
from liteq.storage.groups import behind  # noqa: F401 - as these
from liteq_kombu.envelope import OPAQUE
from liteq_kombu.files import files

__all__ = ["begins_at_once", "facts", "free", "has", "idles", "know_revoked", "meet", "name", "tells_of_tasks"]

logger = logging.getLogger("liteq.kombu")

DRIVER: Final = "liteq"
MAIN: Final = "MainProcess"  # of billiard, where it has started no process


class Here:
    """The consumer of this process, and the process."""

    consumer: Any = None
    pid = 0


@signals.worker_ready.connect(weak=False)
def on_ready(sender: Any = None, **_: Any) -> None:
    """Note the worker before it takes its first task."""
    Here.consumer, Here.pid = sender, os.getpid()


@signals.worker_process_init.connect(weak=False)
def on_process_init(**_: Any) -> None:
    """Open the files of a process of the pool, which the first task would wait for.

    One that cannot use a file ends: it was forked while a thread was long in a transaction, and what it ran would have
    no outcome. The pool starts another in its place.
    """
    for file in list(files.values()):
        try:
            file.storage.driver.version()
            if file.results:
                file.open_early()
        except ImproperlyConfigured:
            pass  # the first task meets it, and tells of it
        except StorageError as exc:
            # Its subclasses say what ails the file, for each process. The solo pool's process is the worker itself.
            if type(exc) is StorageError and current_process().name != MAIN:
                logger.warning("this process makes room for another: %s", exc)
                os._exit(os.EX_TEMPFAIL)


@signals.worker_process_shutdown.connect(weak=False)
def on_process_shutdown(**_: Any) -> None:
    """Write what a process of the pool has counted in its last second: it ends without a word to its threads."""
    for file in list(files.values()):
        file.counter.flush()


def meet() -> None:
    """Have Celery switch gossip and mingle on for this transport: it knows by name those that it does so for."""
    for step in (Mingle, Gossip):
        if DRIVER not in step.compatible_transports:
            step.compatible_transports = {*step.compatible_transports, DRIVER}


def know_revoked(ids: Iterable[str]) -> None:
    """Have the worker start none of the tasks `ids`."""
    for id_ in ids:
        state.revoked.add(id_)


def _consumer() -> Any:
    return Here.consumer if Here.pid == os.getpid() else None


def name() -> str | None:
    """The name of the worker, as `-n` has it; None in a process that is none."""
    consumer = _consumer()
    return None if consumer is None else str(consumer.hostname)


def tells_of_tasks() -> bool:
    """Whether it sends events of tasks: it was started with `-E`, or was told to."""
    dispatcher = getattr(_consumer(), "event_dispatcher", None)
    return (
        dispatcher is not None and bool(dispatcher.enabled) and (not dispatcher.groups or "task" in dispatcher.groups)
    )


def free() -> int:
    """How many of its pool's places have no task, also none that waits for one; 0 in a process that is no worker."""
    consumer = _consumer()
    if consumer is None:
        return 0
    try:
        size = int(consumer.pool.num_processes)
    except (AttributeError, TypeError):  # it is about to start, or to end
        return 0
    return size - len(state.reserved_requests)


def has_tasks() -> bool:
    """Whether it has a task that runs or waits for a process of its pool, also one that is acknowledged already."""
    return bool(state.reserved_requests or state.active_requests)


def has(id_: str, task: str) -> bool:
    """Whether the worker still has the message `id_` of `task`: it waits, or a process that lives has it."""
    consumer = _consumer()
    if consumer is None:
        return True  # it is about to start, or to end
    request = state.requests.get(id_)
    if request is None:  # one that waits for its rate limit is not among them
        buckets = consumer.task_buckets
        return any(buckets.values()) if task == OPAQUE else bool(buckets.get(task))
    pool: Any = getattr(consumer.pool, "_pool", None)
    processes = getattr(pool, "_pool", None)
    if not isinstance(processes, list):  # threads, greenlets: they live as long as it does
        return True
    pid = request.worker_pid
    if pid is None:  # not begun: on its way to a process, perhaps
        job = request._apply_result and request._apply_result()
        process = job and (job._write_to or job._scheduled_for)
        pid = process.pid if process and job not in getattr(pool, "outbound_buffer", ()) else None
    return pid is None or any(process.pid == pid for process in list(processes))


def idles(coming: int) -> bool:
    """Whether a place of its pool has no task, once `coming` more have come; also where tasks wait for a rate limit.

    Those are not acknowledged, and occupy no place.
    """
    consumer = _consumer()
    if consumer is not None and any(one is not None and one.contents for one in consumer.task_buckets.values()):
        return True
    return free() > coming


def begins_at_once(task: str) -> bool:
    """Whether a task is acknowledged before it runs, and does not wait for its rate limit."""
    consumer = _consumer()
    known = consumer.app._tasks.get(task)
    return known is not None and not known.acks_late and not consumer.task_buckets.get(task)


def facts() -> dict[str, Any]:
    """The figures that its entry in the file has beside its queues."""
    consumer = _consumer()
    if consumer is None:
        return {}
    pool: dict[str, Any] = {}
    with suppress(AttributeError, RuntimeError):  # it is about to start, or to end
        pool = consumer.pool.info
    kind = str(pool.get("implementation", "")).partition(":")[0].rpartition(".")[2]
    return {
        "version": f"Celery {celery.__version__}",
        "python": platform.python_version(),
        "pool": "threads" if kind == "thread" else kind or None,
        "concurrency": pool.get("max-concurrency"),
        "pids": pool.get("processes") or [os.getpid()],
        "processed": state.all_total_count[0],
        "active": len(state.active_requests),
        "loadavg": list(load_average()) if sys.platform != "win32" else None,
        "task_events": tells_of_tasks(),
        # A message that was kept whole is a row of the task OPAQUE, whatever task it names.
        "tasks": None if (names := published(consumer.app._tasks)) is None else [*names, OPAQUE],
    }
