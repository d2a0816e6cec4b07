"""A worker or a beat as a service: what it tells the service manager that started it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, cast

import click

from liteq import signals
from liteq.cli.parts.output import counted
from liteq.utils.service_manager import ServiceManager

if TYPE_CHECKING:
    from liteq.worker import Worker
    from liteq.worker.files.loop import FilesLoop

__all__ = ["WorkerService", "manager_of", "told"]

STATUS_S = 5.0  # between two looks at what a worker does


def manager_of(*, detach: bool) -> ServiceManager | None:
    """The service manager that started this process; None where there is none.

    Raises UsageError for a process that is to leave its manager: it would be waited for in vain.
    """
    manager = ServiceManager.take()
    if manager is not None and detach:
        raise click.UsageError(
            "a service manager has started this process and waits for it (NOTIFY_SOCKET is set): leave --detach out"
        )
    return manager


def told(*, detach: bool) -> dict[str, Any]:
    """The arguments of a worker by which its service manager hears of it; none where no manager has started it."""
    manager = manager_of(detach=detach)
    if manager is None:
        return {}
    service = WorkerService(manager)
    return {"on_ready": service.ready, "on_turn": service.turned}


class WorkerService:
    """Tells `manager` of a worker: `ready` goes to it as on_ready, `turned` as on_turn."""

    def __init__(self, manager: ServiceManager) -> None:
        self._manager = manager
        self._worker: Worker | None = None
        self._look_at = 0.0
        self._stopping = ""
        signals.worker_shutting_down.connect(self._stops, weak=False)

    def ready(self, worker: Worker) -> None:
        """Say that the worker takes tasks.

        The loop of the solo pool stands still while it runs a task, for as long as that takes: a thread gives the
        watchdog its signs there.
        """
        self._worker = worker
        self._manager.ready(self._status(worker))
        if worker.pool_kind == "solo" and self._manager.interval_s is not None:
            threading.Thread(target=self._beside, name="liteq-watchdog", daemon=True).start()

    def turned(self) -> None:
        """Note that the loop has turned. It does so twice a second at least, whether or not the file can be used."""
        self._manager.alive()
        if self._worker is not None and (now := time.monotonic()) >= self._look_at:
            self._look_at = now + STATUS_S
            self._manager.status(self._status(self._worker))

    def _status(self, worker: Worker) -> str:
        from liteq.worker.loop import Consumer

        running = counted(len(worker.running.pool.running()), "task")
        consumer: object = worker.running.consumer
        if isinstance(consumer, Consumer):
            does = self._stopping or ("quiet" if consumer.quiet else "ready")
            return f"{does}: {running} running, {consumer.processed:,} done"
        told = cast("FilesLoop", consumer).told()  # each of its files counts for itself
        aside = cast("dict[str, str]", told["set_aside"])
        return f"{self._stopping or 'ready'}: {running} running, {told['files']} files, {len(aside)} set aside"

    def _stops(self, how: str = "", **_named: Any) -> None:
        self._stopping = f"{how} shutdown".strip().lower()
        if self._worker is not None:
            self._manager.stopping(self._status(self._worker))

    def _beside(self) -> None:
        while True:
            self._manager.alive()
            time.sleep(self._manager.interval_s or STATUS_S)
