"""The worker: puts the parts together, starts them in order, and ends them as it is asked to."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from setproctitle import getproctitle, setproctitle

from liteq import signals as announce
from liteq._version import __version__
from liteq.exceptions import StorageError, WorkerShutdown, WorkerTerminate
from liteq.monitor import identity
from liteq.storage.storage import Storage
from liteq.worker.chores.autoscale import Autoscaler
from liteq.worker.chores.chore import Chore
from liteq.worker.chores.event_log import EventLog
from liteq.worker.chores.heartbeat import Heartbeat, KeepAlive
from liteq.worker.chores.rate_limits import RateLimits
from liteq.worker.chores.soft_shutdown import SoftEnd
from liteq.worker.chores.sync import Tail
from liteq.worker.compat.steps import Steps
from liteq.worker.compat.timer import Timer
from liteq.worker.control.commands import import_modules
from liteq.worker.control.panel import Panel
from liteq.worker.loop import Consumer
from liteq.worker.pool import Pool, make_pool
from liteq.worker.signals import Request, SignalQueue

__all__ = ["Worker"]

logger = logging.getLogger("liteq.worker")

PATIENCE_S = 1.0  # that the loop waits for the write lock, before it looks after its children again


class Worker:
    """A worker of `app`. What is None is taken from the app's settings.

    `queues`: names; None means the default queue. `concurrency`: executors, None for one per core. `pool`: "prefork",
    "threads" or "solo". `hostname`: the worker's name, `%h` in it is the host. Limits in seconds, memory in KiB.

    `autoscale`: (most, least) executors. `task_events`: tell what becomes of tasks. `chores`: what the loop does beside
    the queue: beat. `options`: what the app's own steps (`liteq.bootsteps`) are made with.

    `run()` returns when the worker has ended. In a main thread it catches the signals of `worker/signals.py`; in any
    other, `stop()` ends it.
    """

    def __init__(
        self,
        app: Any,
        *,
        queues: Sequence[str] | None = None,
        exclude_queues: Sequence[str] = (),
        concurrency: int | None = None,
        pool: str | None = None,
        hostname: str | None = None,
        time_limit: float | None = None,
        soft_time_limit: float | None = None,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | None = None,
        autoscale: tuple[int, int] | None = None,
        task_events: bool | None = None,
        on_ready: Callable[[Worker], None] | None = None,
        chores: Sequence[Chore] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.app = app
        conf = app.conf
        self.hostname = identity.expand_name(hostname)
        self.take_from([q for q in (queues or app.default_queues()) if q not in exclude_queues])
        self._autoscale = autoscale
        self._task_events = conf.worker_send_task_events if task_events is None else task_events
        self.concurrency = concurrency or conf.worker_concurrency or os.cpu_count() or 1
        if autoscale is not None:
            self.concurrency = max(1, min(autoscale))
        self.pool_kind = pool or conf.worker_pool
        self.limits = (time_limit or conf.task_time_limit, soft_time_limit or conf.task_soft_time_limit)
        self.max_tasks = max_tasks_per_child or conf.worker_max_tasks_per_child
        self._max_memory_kib = max_memory_per_child or conf.worker_max_memory_per_child
        self._on_ready = on_ready
        self._chores = chores
        self._options = dict(options or {})
        self.timer = Timer()
        self.steps: Steps | None = None
        self._signals = SignalQueue()
        self._ended = threading.Event()
        self._cold = False
        self._soft_end = SoftEnd(conf.worker_soft_shutdown_timeout, self._end_cold)
        self.storage: Storage | None = None
        self.consumer: Consumer | None = None
        self.pool: Pool | None = None
        self.rates: RateLimits | None = None
        self.events: EventLog | None = None
        self.autoscaler: Autoscaler | None = None

    def take_from(self, queues: Sequence[str]) -> None:
        """Say which queues to take from, before it runs; its own, with `worker_direct`, is always among them."""
        direct = [f"{self.hostname}.dq"] if self.app.conf.worker_direct else []
        self.queues = [*queues, *(name for name in direct if name not in queues)]

    # -- from outside ------------------------------------------------------------------------------------------------

    def stop(self, *, cold: bool = False) -> None:
        """Ask the worker to end, from any thread: when what runs has finished, or `cold`: at once."""
        self._signals.put(Request.COLD if cold else Request.WARM)

    def reload(self, modules: Sequence[str] | None = None, reload: bool = False, timeout_s: float = 10.0) -> None:
        """Import `modules` (with `reload`: anew) and have the worker forget rate limits, from any thread.

        Tests call it after they have defined tasks: these are known without it. The processes of the prefork pool are
        replaced, each once it is idle. Raises ImportError, and RuntimeError when the worker has not done its part
        within `timeout_s`.
        """
        import_modules(modules or (), reload=reload)
        answers = self.app.control.pool_restart(destination=[self.hostname], reply=True, timeout=timeout_s)
        answer = {name: said for one in answers or () for name, said in one.items()}.get(self.hostname)
        if answer is None or "error" in answer:
            raise RuntimeError(f"{self.hostname} has not reloaded: {answer or 'it does not answer'}")

    @contextmanager
    def ended_by(self) -> Iterator[None]:
        """WorkerShutdown or WorkerTerminate, raised in this block by code of the user's, ends the worker in order."""
        try:
            yield
        except (WorkerShutdown, WorkerTerminate) as exc:
            self.stop(cold=isinstance(exc, WorkerTerminate))

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the worker has ended; whether it has."""
        return self._ended.wait(timeout_s)

    # -- life --------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Work until asked to end; the process's exit code: 0 after a warm end, 1 after a cold one."""
        title = getproctitle()
        try:
            self._start()
            self._work()
        finally:
            self._end()
            setproctitle(title)
        return int(self._cold)

    def start(self) -> int:
        """As `run`, by Celery's name."""
        return self.run()

    def _start(self) -> None:
        announce.worker_init.send(sender=self)
        self.app.import_tasks()
        self.steps = Steps(self, self._options)
        setproctitle(f"liteq: {self.hostname} ({self.pool_kind})")
        self.app.storage.migrate()
        # Its own, less patient than a caller's: while the loop waits for a lock it looks after nothing else.
        self.storage = self.app.open_storage(busy_timeout_s=min(PATIENCE_S, self.app.conf.busy_timeout))
        self.rates = RateLimits(self.app, self.storage, self._look)
        self.pool = make_pool(
            self.pool_kind,
            self.app,
            self.concurrency,
            hostname=self.hostname,
            limits=self.limits,
            max_tasks=self.max_tasks,
            max_memory_kib=self._max_memory_kib,
            stop=lambda cold: self.stop(cold=cold),
        )

    def _work(self) -> None:
        conf, storage = self.app.conf, self.storage
        assert self.pool is not None
        assert storage is not None
        assert self.rates is not None
        assert self.steps is not None
        self._signals.install()
        heartbeat = Heartbeat(
            storage,
            identity.me(self.hostname),
            visibility_s=conf.visibility_timeout,
            result_expires_s=conf.result_expires,
            dead_expires_s=conf.dead_expires,
            info=self.info,
            patience_s=conf.busy_timeout,
        )
        self.events = EventLog(self.app, storage, self.hostname, self.pool, enabled=self._task_events)
        self.autoscaler = self._make_autoscaler(storage)
        panel = Panel(self, heartbeat)
        consumer = self.consumer = Consumer(
            storage,
            self.pool,
            self.queues,
            heartbeat,
            visibility_s=conf.visibility_timeout,
            on_wake=self._obey,
            chores=[panel, self._soft_end, self.rates, self.events, *self._more_chores(storage)],
            admit=panel.admit,
            rates=self.rates,
            events=self.events,
        )
        consumer.watch(self._signals.fileno(), self._signals.clear)
        self.pool.start(consumer)
        keep_alive = KeepAlive(heartbeat, self.pool.held) if self.pool.name == "solo" else None
        try:
            if keep_alive is not None:
                keep_alive.start()
            with self.ended_by():
                self.steps.start()
                announce.worker_ready.send(sender=self)
            logger.info("%s ready.", self.hostname)
            if self._on_ready is not None:
                self._on_ready(self)
            consumer.run()
        finally:
            if keep_alive is not None:
                keep_alive.stop()
            self.pool.stop()
            self.steps.stop(cold=self._cold)
            consumer.close()
        try:
            heartbeat.leave()
        except StorageError as exc:  # the others notice by themselves that this process is gone
            logger.warning("cannot sign off: %s", exc)
        storage.close()

    def _more_chores(self, storage: Storage) -> list[Chore]:
        chores: list[Chore] = [Tail(storage.driver)] if self.app.conf.durability == "relaxed" else []
        if self.autoscaler is not None:
            chores.append(self.autoscaler)
        return [*chores, *self._chores, self.timer]

    def _make_autoscaler(self, storage: Storage) -> Autoscaler | None:
        if self._autoscale is None or self.pool_kind == "solo":
            return None
        assert self.pool is not None

        def waiting(limit: int) -> int:
            return storage.waiting(self.queues if self.consumer is None else self.consumer.queues, limit=limit)

        return Autoscaler(self.pool, *self._autoscale, waiting, self._look)

    def _look(self) -> None:
        if self.consumer is not None:
            self.consumer.look()

    def _obey(self) -> None:
        """Do what the signals since the last turn ask for."""
        while (request := self._signals.take()) is not None:
            assert self.consumer is not None
            assert self.pool is not None
            match request:
                case Request.WARM:
                    announce.worker_shutting_down.send(sender=self.hostname, sig="SIGTERM", how="Warm", exitcode=0)
                    logger.warning("worker: Warm shutdown (finishing %d tasks)", len(self.pool.held()))
                    self.consumer.finish()
                case Request.COLD if self._soft_end.begin():
                    soft_s = self._soft_end.timeout_s
                    announce.worker_shutting_down.send(sender=self.hostname, sig="SIGQUIT", how="Soft", exitcode=0)
                    logger.warning("worker: Soft shutdown (%g s for %d tasks)", soft_s, len(self.pool.held()))
                    self.consumer.finish()
                case Request.COLD:
                    self._end_cold()
                case Request.GROW:
                    self.pool.resize(self.pool.size + 1)
                case Request.SHRINK:
                    self.pool.resize(max(1, self.pool.size - 1))

    def _end_cold(self) -> None:
        assert self.consumer is not None
        assert self.pool is not None
        announce.worker_shutting_down.send(sender=self.hostname, sig="SIGQUIT", how="Cold", exitcode=1)
        logger.warning("worker: Cold shutdown (returning %d tasks)", len(self.pool.held()))
        self._cold = True
        self.consumer.abort()

    def _end(self) -> None:
        self._signals.restore()
        announce.worker_shutdown.send(sender=self)
        self._ended.set()

    def info(self) -> dict[str, object]:
        """What others are shown of this worker."""
        return {
            "queues": sorted(self.consumer.queues) if self.consumer is not None else self.queues,
            "concurrency": self.pool.size if self.pool is not None else self.concurrency,
            "pool": self.pool_kind,
            "loadavg": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
            "processed": self.consumer.processed if self.consumer is not None else 0,
            "pids": self.pool.pids() if self.pool is not None else [],
            "version": __version__,
            "python": f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
        }
