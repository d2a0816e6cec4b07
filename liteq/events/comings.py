"""worker-online, -heartbeat and -offline: made of the workers' entries in the file, and written nowhere."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from typing import Any

from liteq.clock import Clock
from liteq.storage.claiming.workers import WorkerRecord

__all__ = ["Comings"]

NOT_SEEN = -1  # the heartbeat of a worker that was there before the first look, ms


class Comings:
    """The changes between looks at the workers that live, as events. `workers`: those of now, told of at the next look.

    A worker that was killed is offline at the next look on its own machine, elsewhere when its heartbeat is late.
    """

    def __init__(self, clock: Clock, workers: Iterable[WorkerRecord]) -> None:
        self._clock = clock
        self._beats = {worker.name: NOT_SEEN for worker in workers}  # at the last look: name, ms

    def news(self, workers: Iterable[WorkerRecord]) -> Iterator[dict[str, Any]]:
        """The events since the last look; `workers`: those that live now."""
        now_ms = self._clock.now_ms()
        there = {worker.name: worker for worker in workers}
        before, self._beats = self._beats, {name: worker.heartbeat_ms for name, worker in there.items()}
        for name, worker in there.items():
            if name not in before:
                yield self._event("worker-online", name, worker.started_ms, worker)
            elif before[name] != worker.heartbeat_ms:
                yield self._event("worker-heartbeat", name, worker.heartbeat_ms, worker)
        for name in before.keys() - there.keys():
            yield self._event("worker-offline", name, now_ms, None)

    def _event(self, type_: str, hostname: str, at_ms: int, worker: WorkerRecord | None) -> dict[str, Any]:
        facts: dict[str, Any] = {} if worker is None else worker.facts
        leased = 0 if worker is None else worker.leased
        return {
            "type": type_, "hostname": hostname, "timestamp": at_ms / 1000, "clock": at_ms, "utcoffset": 0,
            "pid": worker.pid if worker is not None else None, "local_received": self._clock.now_ms() / 1000,
            "freq": 10.0, "sw_ident": "py-celery" if facts.get("celery") else "py-liteq",
            "sw_ver": facts.get("version"), "sw_sys": platform.system(), "active": facts.get("active", leased),
            "processed": facts.get("processed", 0), "loadavg": facts.get("loadavg"),
        }  # fmt: skip
