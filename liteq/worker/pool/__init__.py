"""How leases are executed: in forked children, one or many at a time, in threads, or in the worker's own process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.execution.hushed import hush
from liteq.execution.together import terms_in
from liteq.policy.times import limits_s
from liteq.utils.misspelt import meant
from liteq.worker.hooks import Hooks
from liteq.worker.pool.base import Afresh, Pool, refuse_nested
from liteq.worker.pool.executor import Executor
from liteq.worker.pool.limits import Limits

__all__ = ["IN_ONE_PROCESS", "Pool", "jobs", "make_pool", "width", "with_batches"]

logger = logging.getLogger("liteq.worker")

IN_ONE_PROCESS = ("threads", "solo")
ASKED = ("max_tasks_per_child", "max_memory_per_child", "pool_start_method")
NUMBERS = ("concurrency", "coroutines", "max_tasks_per_child", "max_memory_per_child")


def make_pool(
    kind: str,
    app: App,
    size: int,
    *,
    hostname: str,
    hooks: Hooks | None = None,
    limits: Limits = (None, None),
    max_tasks: int | None = None,
    max_memory_kib: int | None = None,
    start_method: str = "fork",
    afresh: Afresh | None = None,
    coroutines: int | None = None,
    stop: Callable[[bool], None] | None = None,
    ending: Callable[[], object] | None = None,
    gathers: bool = True,
) -> Pool:
    """The pool named `kind`, of `size` executors; it gathers batches where tasks do.

    `coroutines`: the places in each child of the asyncio pool, None for the setting `worker_coroutines`.
    `gathers`: False where that is done before it, for each of several files apart.
    `stop(cold)` is called for a task that raised WorkerShutdown or WorkerTerminate. `ending` says whether the worker
    was told to end: a pool asks it that executes in the worker's loop, which cannot tell it then.

    Imports the kind's modules only now: forking does not exist everywhere. Raises ImproperlyConfigured for an unknown
    kind, one that this platform cannot run, and numbers that none can keep.
    """
    refuse_nested()
    limits = _checked(limits, size, coroutines or None, max_tasks, max_memory_kib)
    hush(app.conf.payload_codec is not None)
    pool: Pool
    if kind in IN_ONE_PROCESS:
        _tell_what_is_not_kept(kind, app, max_tasks, max_memory_kib, None if start_method == "fork" else start_method)
    match kind:
        case "prefork" | "processes" | "asyncio":
            settings = (hostname, hooks, limits, max_tasks, max_memory_kib, start_method, afresh)
            places = (coroutines or app.conf.worker_coroutines) if kind == "asyncio" else None
            pool = _prefork(app, size, settings, places)
        case "threads":
            from liteq.worker.pool.threads import ThreadPool

            pool = ThreadPool(Executor(app, hostname=hostname, hooks=hooks, limits=limits, stop=stop), size)
        case "solo":
            from liteq.worker.pool.solo import SoloPool

            pool = SoloPool(Executor(app, hostname=hostname, hooks=hooks, limits=limits, stop=stop), ending)
        case _:
            near = meant(kind, ("prefork", "asyncio", *IN_ONE_PROCESS))
            raise ImproperlyConfigured(f"unknown pool {kind!r}: use prefork, asyncio, threads or solo{near}")
    return with_batches(pool, app) if gathers else pool


def with_batches(pool: Pool, app: App) -> Pool:
    """`pool`, with batches gathered before it where a task of `app` takes them."""
    if not any(map(terms_in(app.tasks), app.tasks)):
        return pool
    from liteq.worker.pool.gathering import Gathering

    return Gathering(pool, app)


def jobs(pool: Pool) -> int:
    """How many executors would be busy with what `pool` has: a batch is one job, whatever waits to be one too."""
    found: Callable[[], int] | None = getattr(pool, "jobs", None)
    return len(pool.leases()) if found is None else found()


def width(pool: Pool) -> int:
    """How many jobs each executor of `pool` has at once."""
    found: int = getattr(pool, "width", 1)
    return found


def _checked(limits: Limits, *numbers: int | None) -> Limits:
    """`limits` in seconds. Raises ImproperlyConfigured for those that are none, and for `numbers`, those of NUMBERS."""
    for name, number in zip(NUMBERS, numbers, strict=True):
        if number is not None and number < 1:
            raise ImproperlyConfigured(f"{name} is a number from 1 up, not {number!r}")
    hard, soft = limits
    try:  # each by itself: one may be of the command line, and one of the app
        return limits_s(hard, None)[0], limits_s(None, soft)[1]
    except (TypeError, ValueError) as exc:
        raise ImproperlyConfigured(str(exc)) from None


def _prefork(app: App, size: int, settings: tuple[Any, ...], coroutines: int | None = None) -> Pool:
    """`settings`: as of `ChildSettings`; `coroutines`: in each child of the asyncio pool, None for the prefork pool."""
    try:
        from liteq.worker.pool.prefork.child import ChildSettings
        from liteq.worker.pool.prefork.pool import PreforkPool
    except ImportError as exc:  # Windows has no fork
        raise ImproperlyConfigured(f"this pool needs fork: use --pool threads or solo here ({exc})") from exc
    if coroutines is None:
        return PreforkPool(app, size, ChildSettings(*settings))
    from liteq.worker.pool.aio.pool import AsyncioPool

    return AsyncioPool(app, size, ChildSettings(*settings), coroutines)


def _tell_what_is_not_kept(kind: str, app: App, *values: object) -> None:
    """Log what was asked of a pool of one process, and cannot be done by it: the `values` of ASKED."""
    asked = dict(zip(ASKED, values, strict=True))
    for name, value in asked.items():
        if value is not None:
            logger.warning("%s needs the prefork pool: the %s pool does not keep it", name, kind)
    isolated = sorted(name for name, task in app.tasks.items() if getattr(task, "isolate", False))
    if isolated:
        logger.warning(
            "isolate=True needs the prefork pool: the %s pool runs %s in the worker's own process", kind,
            ", ".join(isolated),
        )  # fmt: skip
