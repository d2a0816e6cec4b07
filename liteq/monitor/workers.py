"""The workers that live, for a reader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from liteq.context.living import LATE_MS, late_ms, living
from liteq.storage.workers import WorkerRecord
from liteq.utils.names import is_built_in
from liteq.utils.text import iso_time

__all__ = ["LATE_MS", "OFFSET", "documents", "late_ms", "living", "published"]

OFFSET = "clock_offset_s"  # in a worker's facts: how far its wall clock was ahead of the monotonic one at its last beat
PUBLISHED = 500  # names of tasks; they are written at each heartbeat


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


def published(tasks: Iterable[str]) -> list[str] | None:
    """The names of tasks as a worker tells them in its facts, without liteq's own; None where they are too many."""
    names = sorted(name for name in tasks if not is_built_in(name))
    return names if len(names) <= PUBLISHED else None
