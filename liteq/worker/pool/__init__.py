"""How leases are executed: in forked children, in threads, or in the worker's own process."""

from __future__ import annotations

from collections.abc import Callable

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.execution.together import terms_in
from liteq.worker.hooks import Hooks
from liteq.worker.pool.base import Pool
from liteq.worker.pool.executor import Executor
from liteq.worker.pool.limits import Limits

__all__ = ["Pool", "jobs", "make_pool"]


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
    stop: Callable[[bool], None] | None = None,
    ending: Callable[[], object] | None = None,
) -> Pool:
    """The pool named `kind`: "prefork", "threads" or "solo", of `size` executors; it gathers batches where tasks do.

    `stop(cold)` is called for a task that raised WorkerShutdown or WorkerTerminate. `ending` says whether the worker
    was told to end: a pool asks it that executes in the worker's loop, which cannot tell it then.

    Imports the kind's modules only now: forking does not exist everywhere. Raises ImproperlyConfigured for an unknown
    kind, and for one that this platform cannot run.
    """
    pool: Pool
    match kind:
        case "prefork" | "processes":
            pool = _prefork(app, size, hostname, hooks, limits, max_tasks, max_memory_kib)
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
            raise ImproperlyConfigured(f"unknown pool {kind!r}: use prefork, threads or solo")
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


def _prefork(
    app: App,
    size: int,
    hostname: str,
    hooks: Hooks | None,
    limits: Limits,
    max_tasks: int | None,
    max_memory_kib: int | None,
) -> Pool:
    try:
        from liteq.worker.pool.prefork.child import ChildSettings
        from liteq.worker.pool.prefork.pool import PreforkPool
    except ImportError as exc:  # Windows has no fork
        raise ImproperlyConfigured(f"the prefork pool needs fork: use --pool threads or solo here ({exc})") from exc
    return PreforkPool(app, size, ChildSettings(hostname, hooks, limits, max_tasks, max_memory_kib))
