"""Clocks that a test sets, and workers that have no process."""

from __future__ import annotations

import time
from pathlib import Path

from liteq.message import Batch, Lease, Message, WorkerIdentity, new_id
from liteq.storage.storage import Storage
from liteq.worker.chores.heartbeat import Heartbeat

__all__ = ["FAKETIME", "VISIBILITY_S", "Offset", "TwoClocks", "lease_one", "worker_of"]

VISIBILITY_S = 60.0
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class TwoClocks:
    """A wall clock that can be set, and one that only goes on."""

    def __init__(self) -> None:
        self.elapsed_s = 1_000.0
        self.wall_ms = 1_767_225_600_000

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic(self) -> float:
        return self.elapsed_s

    def advance(self, seconds: float) -> None:
        self.elapsed_s += seconds
        self.wall_ms += int(seconds * 1000)


class Offset:
    """The clock of a sender that is set as its workers' is."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return int((time.time() + self.seconds) * 1000)

    def monotonic(self) -> float:
        return time.monotonic()


def worker_of(storage: Storage, name: str, boot: str = "", me: WorkerIdentity | None = None) -> Heartbeat:
    """The worker `me`, or another host's as far as anybody can tell: only its deadline says whether it lives."""
    me = me or WorkerIdentity(new_id(), name, "elsewhere", boot, 1, "1")
    return Heartbeat(
        storage,
        me,
        visibility_s=VISIBILITY_S,
        result_expires_s=None,
        dead_expires_s=None,
        info=lambda: {"name": name},
        monotonic=storage.clock.monotonic,
    )


def lease_one(storage: Storage, worker: Heartbeat) -> Lease:
    storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))
    (lease,) = storage.claim(["celery"], worker=worker.worker, limit=1, visibility_s=VISIBILITY_S)
    return lease
