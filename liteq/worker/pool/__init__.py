"""How leases are executed: in forked children, one or many at a time, in threads, or in the worker's own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.execution.together import terms_in
from liteq.worker.hooks import Hooks
from liteq.worker.pool.base import Pool
from liteq.worker.pool.executor import Executor
from liteq.worker.pool.limits import Limits

if TYPE_CHECKING:
    from liteq.worker.pool.prefork.child import ChildSettings

__all__ = ["Pool", "jobs", "make_pool", "width"]


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
    coroutines: int | None = None,
    stop: Callable[[bool], None] | None = None,
    ending: Callable[[], object] | None = None,
) -> Pool:
    """The pool named `kind`, of `size` executors; it gathers batches where tasks do.

    `coroutines`: the places in each child of the asyncio pool, None for the setting `worker_coroutines`.
    `stop(cold)` is called for a task that raised WorkerShutdown or WorkerTerminate.

    Imports the kind's modules only now: forking does not exist everywhere. Raises ImproperlyConfigured for an unknown
    kind, and for one that this platform cannot run.
    """
    pool: Pool
    match kind:
        case "prefork" | "processes":
            pool = _prefork(app, size, _settings(hostname, hooks, limits, max_tasks, max_memory_kib))
        case "asyncio":
            settings = _settings(hostname, hooks, limits, max_tasks, max_memory_kib)
            pool = _asyncio(app, size, settings, coroutines or app.conf.worker_coroutines)
        case "threads":
            from liteq.worker.pool.threads import ThreadPool

            pool = ThreadPool(Executor(app, hostname=hostname, hooks=hooks, limits=limits, stop=stop), size)
        case "solo":
            from liteq.worker.pool.solo import SoloPool

            executor = Executor(app, hostname=hostname, hooks=hooks, limits=limits, stop=stop)
            if ending is not None:
                executor.runs.ask(ending)
            pool = SoloPool(executor)
        case _:
            raise ImproperlyConfigured(f"unknown pool {kind!r}: use prefork, asyncio, threads or solo")
    return _gathering(pool, app)


def _gathering(pool: Pool, app: App) -> Pool:
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


def _settings(
    hostname: str, hooks: Hooks | None, limits: Limits, max_tasks: int | None, max_memory_kib: int | None
) -> ChildSettings:
    try:
        from liteq.worker.pool.prefork.child import ChildSettings
    except ImportError as exc:  # Windows has no fork
        raise ImproperlyConfigured(f"this pool needs fork: use --pool threads or solo here ({exc})") from exc
    return ChildSettings(hostname, hooks, limits, max_tasks, max_memory_kib)


def _prefork(app: App, size: int, settings: ChildSettings) -> Pool:
    from liteq.worker.pool.prefork.pool import PreforkPool

    return PreforkPool(app, size, settings)


def _asyncio(app: App, size: int, settings: ChildSettings, coroutines: int) -> Pool:
    from liteq.worker.pool.aio.pool import AsyncioPool

    return AsyncioPool(app, size, settings, coroutines)
