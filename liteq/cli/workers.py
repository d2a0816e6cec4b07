"""Which workers live, as far as the file and this machine tell; what `status` and `inspect` show of them."""

from __future__ import annotations

from typing import Any

import orjson

from liteq.cli.output import times
from liteq.cli.session import Session
from liteq.monitor.identity import is_dead
from liteq.storage.workers import WorkerRecord

__all__ = ["documents", "live"]

LATE_MS = 30_000  # a worker beats at least each 10 s; three missed beats are no accident


def live(session: Session, destination: str | None = None) -> list[WorkerRecord]:
    """The workers that live, of those named in `destination` (comma-separated) where it is given."""
    wanted = {name.strip() for name in destination.split(",")} if destination else None
    late_ms = max(LATE_MS, int(session.app.conf.visibility_timeout * 1000))
    now_ms = session.app.clock.now_ms()
    return [
        worker
        for worker in session.storage.workers()
        if (wanted is None or worker.name in wanted)
        and not is_dead(worker.identity)
        and now_ms - worker.heartbeat_ms <= late_ms
    ]


def documents(workers: list[WorkerRecord]) -> list[dict[str, Any]]:
    """Workers for `--json`."""
    return [
        {
            "name": worker.name,
            "host": worker.host,
            "pid": worker.pid,
            "leased": worker.leased,
            "started": times(worker.started_ms),
            "heartbeat": times(worker.heartbeat_ms),
            **(orjson.loads(worker.info) if worker.info else {}),
        }
        for worker in workers
    ]
