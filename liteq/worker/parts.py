"""The parts of a worker that belong to one file: its presence there, its chores, and the loop's side of the queue."""

from __future__ import annotations

import logging
import os
import selectors
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from liteq._version import __version__
from liteq.context import App
from liteq.exceptions import StorageError
from liteq.message import WorkerIdentity
from liteq.monitor.workers import published
from liteq.storage.driver import Listener
from liteq.storage.storage import Storage
from liteq.utils.records import dataclass
from liteq.worker.chores.autoscale import Autoscaler
from liteq.worker.chores.by_settings import by_settings
from liteq.worker.chores.event_log import EventLog
from liteq.worker.chores.heartbeat import Heartbeat
from liteq.worker.chores.rate_limits import RateLimits
from liteq.worker.chores.runs import RunWatch
from liteq.worker.control.panel import Panel
from liteq.worker.hooks import Chore, Hooks
from liteq.worker.loop import Consumer
from liteq.worker.order import Order
from liteq.worker.pool import Pool, width

__all__ = ["Place", "Running", "facts_of", "make_heartbeat", "make_running"]

logger = logging.getLogger("liteq.worker")


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of a worker that has started."""

    storage: Storage
    pool: Pool
    heartbeat: Heartbeat
    rates: RateLimits
    events: EventLog
    watch: RunWatch
    autoscaler: Autoscaler | None
    consumer: Consumer

    def leave(self) -> None:
        """Sign off from the file, and close it."""
        try:
            self.heartbeat.leave()
        except StorageError as exc:  # the others notice by themselves that this process is gone
            logger.warning("cannot sign off: %s", exc)
        self.storage.close()


class Place(Protocol):
    """A worker on one file: what its parts ask it for. Commands of remote control get it as `state.worker`."""

    app: App
    hostname: str
    hooks: Hooks

    @property
    def running(self) -> Running:
        """The parts."""

    def enter(self) -> tuple[int, WorkerIdentity]:
        """Enter the list of workers in the file, once; the number and the identity there."""

    def info(self, pool: Pool) -> dict[str, object]:
        """The figures that lists of workers show."""

    def ended_by(self) -> AbstractContextManager[None]:
        """End the worker in order where the user's code in this block asks for that."""

    def stop(self, *, cold: bool = False) -> None:
        """Ask the worker to end."""


def make_heartbeat(place: Place, storage: Storage, pool: Pool, patience_s: float | None = None) -> Heartbeat:
    """The presence of a worker in the file of `storage`; enters it. `patience_s`: None for that of the app."""
    conf = place.app.conf
    number, me = place.enter()
    return Heartbeat(
        storage,
        me,
        number=number,
        visibility_s=conf.visibility_timeout,
        result_expires_s=conf.result_expires,
        dead_expires_s=conf.dead_expires,
        info=lambda: place.info(pool),
        patience_s=conf.busy_timeout if patience_s is None else patience_s,
    )


def _make_panel(place: Place, storage: Storage, heartbeat: Heartbeat, rates: RateLimits) -> Panel:
    panel = Panel(place, storage, heartbeat)

    def returned() -> None:
        panel.returned()
        rates.declare_again()

    heartbeat.on_return = returned
    return panel


def _make_watch(place: Place, storage: Storage, pool: Pool, heartbeat: Heartbeat) -> RunWatch:
    return RunWatch(
        place.app, storage, pool,
        queues=lambda: place.running.consumer.queues,
        worker=lambda: heartbeat.worker,
        room=lambda: place.running.consumer.room(),  # noqa: PLW0108 - there is none yet
        take=lambda leases: place.running.consumer.take(leases),  # noqa: PLW0108
    )  # fmt: skip


def _make_events(place: Place, storage: Storage, pool: Pool, *, enabled: bool) -> EventLog:
    return EventLog(
        place.app, storage, place.hostname, pool,
        enabled=enabled,
        held=lambda: place.running.consumer.held(),  # noqa: PLW0108 - there is none yet
    )  # fmt: skip


def make_running(
    place: Place,
    storage: Storage,
    pool: Pool,
    queues: Mapping[str, Any],
    *,
    rates: RateLimits,
    look: Callable[[], None],
    on_wake: Callable[[], None],
    chores: Sequence[Chore],
    first: Sequence[Chore],
    task_events: bool,
    autoscaler: Autoscaler | None,
    bell: Listener | None = None,
    selector: selectors.BaseSelector | None = None,
    consumer: type[Consumer] = Consumer,
    patience_s: float | None = None,
) -> Running:
    """The parts, in an order in which each finds those that it needs.

    `queues`: arguments of `Order`. `first`, `chores`: chores before and behind those of each worker. `autoscaler`: of
    its pool, and somebody's chore. `bell`, `selector`: where the loop has them from somebody else. `patience_s`: how
    long it waits for the write lock to enter, None: as long as others of the app do.
    """
    app = place.app
    heartbeat = make_heartbeat(place, storage, pool, patience_s)
    storage.release = app.conf.release
    events = _make_events(place, storage, pool, enabled=task_events)
    panel = _make_panel(place, storage, heartbeat, rates)
    watch = _make_watch(place, storage, pool, heartbeat)
    more = by_settings(app, storage, look, pool)
    made = consumer(
        storage,
        pool,
        Order(**queues, waiting=storage.reader.waiting_queues),
        heartbeat,
        visibility_s=app.conf.visibility_timeout,
        on_wake=on_wake,
        chores=[panel, *first, rates, events, watch, *more, *chores, *place.hooks.chores()],
        admit=panel.admit,
        rates=rates,
        events=events,
        runs=watch,
        observer=app.integrations.observer(),
        bell=bell,
        selector=selector,
    )
    return Running(storage, pool, heartbeat, rates, events, watch, autoscaler, made)


def facts_of(
    app: App, pool: Pool, consumer: Consumer | None, *, queues: Mapping[str, Any], kind: str, sends_events: bool
) -> dict[str, object]:
    """The figures of a worker that lists of workers show; without a `consumer`, of one that is about to start.

    `queues`: arguments of `Order`.
    """
    order = Order(**queues) if consumer is None else consumer.order
    return {
        "queues": sorted(order.names),
        **order.facts,
        "quiet": consumer is not None and consumer.quiet,
        "concurrency": pool.size * width(pool),
        "pool": kind,
        "loadavg": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "processed": 0 if consumer is None else consumer.processed,
        "pids": pool.pids(),
        "task_events": sends_events,
        "tasks": published(app.tasks),
        "version": __version__,
        "release": app.conf.release,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
    }
