"""Workers: who is there, and what they do. To look at only."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from liteq.monitor.workers import OFFSET
from liteq_django.admin.base import Page, QueueAdmin, Row, when

__all__ = ["WorkerAdmin"]

IN_COLUMNS = frozenset({"queues", "pool", "concurrency", "processed", OFFSET})


class WorkerAdmin(QueueAdmin):
    """The workers that the file knows."""

    columns = ("Name", "Host", "PID", "Queues", "Pool", "Concurrency", "Holds", "Processed", "Heartbeat")

    def page(self, request: HttpRequest, storage: Any) -> Page:  # noqa: ARG002 - nothing is filtered
        return Page([Row(w.uuid, self._cells(w), self.url_of(w.uuid)) for w in storage.reader.workers()])

    @staticmethod
    def _cells(worker: Any) -> tuple[Any, ...]:
        info = worker.facts
        return (
            worker.name, worker.host, worker.pid, ", ".join(info.get("queues", ())), info.get("pool", ""),
            info.get("concurrency", ""), worker.leased, info.get("processed", ""), when(worker.heartbeat_ms),
        )  # fmt: skip

    def fields_of(self, storage: Any, object_id: str) -> list[tuple[str, Any]] | None:
        worker = next((w for w in storage.reader.workers() if w.uuid == object_id), None)
        if worker is None:
            return None
        info = worker.facts
        return [*zip(self.columns, self._cells(worker), strict=True), ("Started", when(worker.started_ms)),
                *((name.replace("_", " ").capitalize(), _shown(value)) for name, value in sorted(info.items())
                  if name not in IN_COLUMNS)]  # fmt: skip


def _shown(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else value
