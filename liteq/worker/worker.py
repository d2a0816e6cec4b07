"""The worker: makes its parts, starts them in order, and ends them warm, soft or cold."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from setproctitle import getproctitle, setproctitle

from liteq import signals as announce
from liteq.context import App, identity
from liteq.exceptions import ImproperlyConfigured, WorkerShutdown, WorkerTerminate
from liteq.message import WorkerIdentity
from liteq.monitor.workers import late_ms
from liteq.routing.taken import without
from liteq.sending import webhook
from liteq.storage import describe_url
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.storage import Storage
from liteq.utils.imports import seldom_collected
from liteq.utils.misspelt import suggesting
from liteq.worker.chores.autoscale import Autoscaler, bounds_of, make_autoscaler
from liteq.worker.chores.event_log import EventLog
from liteq.worker.chores.heartbeat import KeepAlive
from liteq.worker.chores.rate_limits import RateLimits
from liteq.worker.chores.soft_shutdown import SoftShutdown
from liteq.worker.control.commands import import_modules
from liteq.worker.hooks import Chore, Hooks
from liteq.worker.loop import Consumer
from liteq.worker.parts import Running, facts_of, make_running
from liteq.worker.pool import Pool, make_pool, width
from liteq.worker.pool.base import Afresh
from liteq.worker.signals import Demand, SignalQueue

if TYPE_CHECKING:
    from liteq.app.files.patterns import Patterns
    from liteq.worker.files.loop import ManyFiles

__all__ = ["Running", "Worker"]

logger = logging.getLogger("liteq.worker")
life = logging.getLogger("liteq.worker.life")  # said without -l too

SHARED = ("prefork", "asyncio", "threads", "processes")  # pools that several files may share
PATIENCE_S = 1.0  # that the loop waits for the write lock, before it looks after its children again


class Worker:
    """A worker of `app`. An option that is None is taken from the app's settings.

    `queues`: names, "mail=3" with a weight, globs ("mail.*"); they take turns, or with `strict` come in order; None:
    those of the settings. `concurrency`: executors, None for one per core. `pool`: "prefork", "asyncio" (`coroutines`
    tasks at once in each process), "threads" or "solo".
    `pool_start_method`: "fork", "forkserver" or "spawn"; with the last two `afresh` tells how a child finds its app.
    `hostname`: the worker's name, `%h` in it is the host. Limits in seconds, memory in KiB. `autoscale`: (most, least)
    executors. `task_events`: write events of tasks. `chores`: more work for the loop, such as beat. `on_turn`: called
    in each of its turns. `options`: arguments for the app's own steps (`liteq.bootsteps`).
    `db`: paths and globs ("tenants/*.db") of the files to take from, in turns, in place of the app's own; new ones
    are found.

    `run()` returns when the worker has ended. In a main thread it catches the signals of `worker/signals.py`; in any
    other, `stop()` ends it.
    """

    @suggesting
    def __init__(
        self,
        app: App,
        *,
        queues: Sequence[str] | None = None,
        exclude_queues: Sequence[str] = (),
        strict: bool | None = None,
        concurrency: int | None = None,
        pool: str | None = None,
        coroutines: int | None = None,
        pool_start_method: str | None = None,
        hostname: str | None = None,
        time_limit: float | None = None,
        soft_time_limit: float | None = None,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | None = None,
        autoscale: tuple[int, int] | None = None,
        task_events: bool | None = None,
        on_ready: Callable[[Worker], None] | None = None,
        on_turn: Callable[[], None] | None = None,
        chores: Sequence[Chore] = (),
        options: Mapping[str, Any] | None = None,
        db: Sequence[str] = (),
    ) -> None:
        self.app = app
        conf = app.conf
        self.hostname = identity.expand_name(hostname)
        self._has_own_name = bool(hostname)
        self._has_twin = False  # another worker of this name lives
        self._entered: tuple[int, WorkerIdentity] | None = None  # its number in the file, once it is there
        self._excluded, self._strict = tuple(exclude_queues), conf.worker_strict_order if strict is None else strict
        self.take_from(without(queues or app.default_queues(), exclude_queues, strict=self._strict))
        self._autoscale = None if autoscale is None else bounds_of(*autoscale)
        self._task_events = conf.worker_send_task_events if task_events is None else task_events
        fixed = concurrency or conf.worker_concurrency or os.cpu_count() or 1
        self.concurrency = fixed if self._autoscale is None else self._autoscale[1]
        self.pool_kind, self._coroutines = pool or conf.worker_pool, coroutines
        self.start_method = pool_start_method or conf.worker_pool_start_method
        self.afresh = Afresh()
        self._patterns = _patterns(db, self.pool_kind) if db else None
        self.limits = (time_limit or conf.task_time_limit, soft_time_limit or conf.task_soft_time_limit)
        self.max_tasks = max_tasks_per_child or conf.worker_max_tasks_per_child or None
        self._max_memory_kib = max_memory_per_child or conf.worker_max_memory_per_child or None
        self._on_ready, self._on_turn, self._chores = on_ready, on_turn, chores
        self.options = dict(options or {})
        self.hooks = self.make_hooks()
        self._signals, self._ended, self._cold = SignalQueue(), threading.Event(), False
        self._soft_shutdown = SoftShutdown(conf.worker_soft_shutdown_timeout, self._end_cold)
        self._running: Running | ManyFiles | None = None

    def make_hooks(self) -> Hooks:
        """Make the calls to code outside the engine; called once, at the end of `__init__`."""
        return Hooks()

    def take_from(self, queues: Sequence[str]) -> None:
        """Set the queues to take from, before it runs; with `worker_direct` its own queue is always among them."""
        direct = [f"{self.hostname}.dq"] if self.app.conf.worker_direct else []
        self.queues = [*queues, *(name for name in direct if name not in queues)]

    def enter(self) -> tuple[int, WorkerIdentity]:
        """Enter the list of workers in the file, once; the number and the identity there.

        A worker that was given no name takes the next that is free, `liteq-2@host`, where another one that lives has
        the usual one; in the same transaction, so that two that start at once get two. A name that was given stays.
        """
        if self._entered is None:
            self._signals.install()  # from here on a signal ends it in order: it is on the list, and has to sign off
            if self._patterns is not None:  # it enters each file when it opens it
                self._entered = 0, identity.me(self.hostname)
                return self._entered
            storage = self.app.open_storage()
            try:
                self._entered = self.enter_as(storage)
            finally:
                storage.close()
            before, self.hostname = self.hostname, self._entered[1].name
            self.queues = [f"{self.hostname}.dq" if name == f"{before}.dq" else name for name in self.queues]
        return self._entered

    def enter_as(self, storage: Storage) -> tuple[int, WorkerIdentity]:
        """Enter the list of workers in the file of `storage`; the number and the identity there."""
        return storage.workers.enter_named(identity.me(self.hostname), self._renamed)

    def _renamed(self, me: WorkerIdentity, others: Sequence[WorkerRecord]) -> WorkerIdentity:
        latest_ms = self.app.clock.now_ms() - late_ms(self.app)
        is_dead = partial(identity.is_dead, one_machine=self.app.storage.driver.one_machine)
        taken = {one.name for one in others if one.heartbeat_ms >= latest_ms and not is_dead(one.identity)}
        if me.name not in taken:
            return me
        if self._has_own_name:
            self._has_twin = True
            return me
        free = next(name for n in count(2) if (name := identity.nth_name(me.name, n)) not in taken)
        return replace(me, name=free)

    # -- from outside ------------------------------------------------------------------------------------------------

    def stop(self, *, cold: bool = False) -> None:
        """Ask the worker to end, from any thread: when the running tasks have finished, or `cold`: at once."""
        self._signals.put(Demand.COLD if cold else Demand.WARM)

    def reload(self, modules: Sequence[str] | None = None, reload: bool = False, timeout_s: float = 10.0) -> None:
        """Import `modules` (with `reload`: anew) and have the worker forget rate limits, from any thread.

        Tests call it after they have defined tasks: these are known without it. The processes of the prefork pool are
        replaced, each once it is idle. Raises ImportError, and RuntimeError when the worker has not done its part
        within `timeout_s`.
        """
        import_modules(modules or (), reload=reload)
        answers = self.app.control.pool_restart(destination=[self.hostname], reply=True, timeout=timeout_s)
        answer = {name: reply for one in answers or () for name, reply in one.items()}.get(self.hostname)
        if answer is None or "error" in answer:
            raise RuntimeError(f"{self.hostname} has not reloaded: {answer or 'it does not answer'}")

    @contextmanager
    def ended_by(self) -> Iterator[None]:
        """End the worker in order where the user's code in this block raises WorkerShutdown or WorkerTerminate."""
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
            with seldom_collected():
                running = self._start()
            self._work(running)
        finally:
            self._end()
            setproctitle(title)
        return int(self._cold)

    @property
    def has_started(self) -> bool:
        """Whether there are parts in `running`. They stay there when the worker has ended."""
        return self._running is not None

    @property
    def running(self) -> Running:
        """The worker's parts; of one of many files the pool, the loop and the autoscaler alone.

        Raises RuntimeError before it has started.
        """
        if self._running is None:
            raise RuntimeError(f"{self.hostname} has not started: call run() first")
        return cast("Running", self._running)

    def _start(self) -> Running | ManyFiles:
        """Make the parts of the worker, in an order in which each finds those that it needs."""
        announce.worker_init.send(sender=self)
        self.app.import_tasks()
        webhook.check_webhook(self.app)
        self.hooks.starting()
        if self._patterns is not None:
            return self._start_files(self._patterns)
        self.app.storage.migrate(works=True)
        self.enter()
        if self._has_twin:
            text = "another worker called %s lives: `inspect` and `control` reach both and cannot tell them apart; %s"
            logger.warning(text, self.hostname, "give each a name of its own, -n NAME@%h")
        setproctitle(f"liteq: {self.hostname} ({self.pool_kind})")
        # Its own, less patient than a caller's: while the loop waits for a lock it looks after nothing else.
        storage = self.app.open_storage(busy_timeout_s=min(PATIENCE_S, self.app.conf.busy_timeout))
        rates = RateLimits(self.app, storage, self._look)  # refuses what is none, before there is a pool to be ended
        pool = self._make_pool()
        autoscaler = make_autoscaler(self._autoscale, pool, storage, lambda: self.running.consumer, self._look)
        self._running = make_running(
            self,
            storage,
            pool,
            self.order_options(),
            rates=rates,
            look=self._look,
            on_wake=self._obey,
            chores=self._chores if autoscaler is None else [autoscaler, *self._chores],
            first=[self._soft_shutdown],
            task_events=self._task_events,
            autoscaler=autoscaler,
        )
        return self._running

    def _start_files(self, patterns: Patterns) -> ManyFiles:
        """Make the parts of a worker of many files: a loop and a pool; what belongs to a file is made with its seat."""
        from liteq.worker.files.loop import FilesLoop, ManyFiles

        self.enter()
        setproctitle(f"liteq: {self.hostname} ({self.pool_kind})")
        pool = self._make_pool(gathers=False)
        chores = [self._soft_shutdown, *self._chores, *self.hooks.chores()]
        loop = FilesLoop(self, patterns, pool, on_wake=self._obey, chores=chores)
        autoscaler = None if self._autoscale is None else Autoscaler(pool, *self._autoscale, loop.waiting, loop.look)
        if autoscaler is not None:
            loop.scale(autoscaler)
        self._running = ManyFiles(pool, autoscaler, loop)
        return self._running

    def order_options(self) -> Mapping[str, Any]:
        """The queues to take from, as arguments of `Order`."""
        return {"queues": self.queues, "strict": self._strict, "excluded": self._excluded}

    @property
    def sends_events(self) -> bool:
        """Whether it writes events of tasks, from its start on."""
        return self._task_events

    def _make_pool(self, *, gathers: bool = True) -> Pool:
        return make_pool(
            self.pool_kind,
            self.app,
            self.concurrency,
            hostname=self.hostname,
            hooks=self.hooks,
            limits=self.limits,
            max_tasks=self.max_tasks,
            max_memory_kib=self._max_memory_kib,
            coroutines=self._coroutines,
            start_method=self.start_method,
            afresh=self.afresh,
            stop=lambda cold: self.stop(cold=cold), ending=self._signals.ends, gathers=gathers,
        )  # fmt: skip

    def _work(self, running: Running | ManyFiles) -> None:
        pool, consumer = running.pool, running.consumer
        consumer.watch(self._signals.fileno(), self._signals.clear)
        pool.start(consumer)
        try:
            solo = isinstance(running, Running) and pool.name == "solo"
            with KeepAlive(self.running.heartbeat, pool.leases, pool.end_overdue) if solo else nullcontext():
                with self.ended_by():
                    self.hooks.started()
                    announce.worker_ready.send(sender=self)
                self._tell_ready(pool)
                if self._on_ready is not None:
                    self._on_ready(self)
                consumer.run()
        finally:
            pool.stop()
            self.hooks.stopped(cold=self._cold)
            consumer.close()
        running.leave()

    def _tell_ready(self, pool: Pool) -> None:
        place = str(self._patterns or describe_url(self.app.broker_url).where)
        at_once = pool.size * width(pool)
        facts = {"file": place, "queues": self.queues, "concurrency": at_once, "pool": self.pool_kind}
        text = "%s takes from %s of %s, %d at once (%s): ready."
        life.info(text, self.hostname, ", ".join(self.queues), place, at_once, self.pool_kind, extra=facts)

    def _look(self) -> None:
        self.running.consumer.look()

    def _obey(self) -> None:
        """Meet the demands of the signals since the last turn."""
        if self._on_turn is not None:
            self._on_turn()
        while (demand := self._signals.take()) is not None:
            pool, consumer, name = self.running.pool, self.running.consumer, self._signals.name
            match demand:
                case Demand.WARM:
                    announce.worker_shutting_down.send(sender=self.hostname, sig=name, how="Warm", exitcode=0)
                    logger.warning("worker: Warm shutdown (finishing %d tasks)", len(pool.leases()))
                    consumer.finish()
                case Demand.COLD if self._soft_shutdown.begin():
                    soft_s = self._soft_shutdown.timeout_s
                    announce.worker_shutting_down.send(sender=self.hostname, sig=name, how="Soft", exitcode=0)
                    logger.warning("worker: Soft shutdown (%g s for %d tasks)", soft_s, len(pool.leases()))
                    consumer.finish()
                case Demand.COLD:
                    self._end_cold()
                case Demand.GROW:
                    pool.resize(pool.size + 1)
                case Demand.SHRINK:
                    pool.resize(max(1, pool.size - 1))
        self._soft_shutdown.turn()  # while the storage refuses, no chore has its turn

    def _end_cold(self) -> None:
        announce.worker_shutting_down.send(sender=self.hostname, sig=self._signals.name, how="Cold", exitcode=1)
        logger.warning("worker: Cold shutdown (returning %d tasks)", len(self.running.pool.leases()))
        self._cold = True
        self.running.consumer.abort()

    def leave(self) -> None:
        """Undo `enter`, where it has not worked: off the list of workers, and the handlers of signals are as before."""
        try:
            if self._entered is not None and self._running is None and self._patterns is None:
                with closing(self.app.open_storage()) as storage:
                    storage.unregister_worker(self._entered[0])
                self._entered = None
        finally:
            self._signals.restore()

    def _end(self) -> None:
        self.leave()
        announce.worker_shutdown.send(sender=self)
        self._ended.set()

    def info(self, pool: Pool) -> dict[str, object]:
        """The figures of this worker that lists of workers show."""
        made = self._running if isinstance(self._running, Running) else None
        return self.told(pool, None, None) if made is None else self.told(pool, made.consumer, made.events)

    def told(self, pool: Pool, consumer: Consumer | None, events: EventLog | None) -> dict[str, object]:
        """The figures of this worker in one file, whose `consumer` and `events` these are."""
        sends = self._task_events if events is None else events.enabled
        return facts_of(self.app, pool, consumer, queues=self.order_options(), kind=self.pool_kind, sends_events=sends)


def _check_shared(kind: str) -> None:
    if kind not in SHARED:
        raise ImproperlyConfigured(
            f"a worker of several files (--db) runs prefork, asyncio or threads, and not {kind}: use -P threads for "
            "tasks that wait, or a worker for each file"
        )


def _patterns(db: Sequence[str], pool: str) -> Patterns:
    from liteq.app.files.patterns import Patterns  # few workers have several files

    _check_shared(pool)
    return Patterns(db)
