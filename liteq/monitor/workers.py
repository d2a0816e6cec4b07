"""The workers that live, for a reader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from liteq.context.living import LATE_MS, late_ms, living
from liteq.storage.workers import WorkerRecord
from liteq.utils.text import iso_time

__all__ = ["LATE_MS", "documents", "late_ms", "living"]


def documents(workers: Iterable[WorkerRecord]) -> list[dict[str, Any]]:
    """Workers as JSON objects: name, host, pid, leased, started, heartbeat, and what each tells of itself."""
    return [
        {
            "name": worker.name,
            "host": worker.host,
            "pid": worker.pid,
            "leased": worker.leased,
            "started": iso_time(worker.started_ms),
            "heartbeat": iso_time(worker.heartbeat_ms),
            **worker.facts,
        }
        for worker in workers
    ]
