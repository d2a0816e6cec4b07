"""The heartbeat: it extends this worker's leases, and ends those of workers that are gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import orjson

from liteq.context.identity import is_dead
from liteq.exceptions import StorageBusy, StorageError
from liteq.message import Lease, WorkerIdentity
from liteq.monitor.workers import OFFSET
from liteq.storage.storage import Storage
from liteq.storage.workers import WorkerRecord

__all__ = ["Heartbeat", "KeepAlive"]

logger = logging.getLogger("liteq.worker")

LONGEST_S = 10.0  # between beats, so that a list of workers is fresh even with a long visibility timeout
HOUSEKEEPING_S = 5.0  # between chunks of expired results while there are none
GONE_S = 600.0  # silent for so long past its leases: gone, though it cannot be asked (a container that was removed)
JUMP_S = 1.0  # the wall clock moved against the monotonic one by more: it was set


class Heartbeat:
    """The presence of one worker process in the file.

    `worker` is its number there; `number`, where it has entered already. `info()` returns the figures that lists of
    workers show. `patience_s`: how long it waits for the write lock to enter; later it waits as long as `storage` does.
    `monotonic`: the clock that paces the loop's waits; the wall's time comes from the storage's clock.
    """

    def __init__(
        self,
        storage: Storage,
        me: WorkerIdentity,
        *,
        visibility_s: float,
        result_expires_s: float | None,
        dead_expires_s: float | None,
        info: Callable[[], dict[str, object]],
        number: int | None = None,
        patience_s: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.me = me
        self._storage = storage
        self._visibility_s = visibility_s
        self._expires = (result_expires_s, dead_expires_s)
        self._info = info
        self.monotonic = monotonic
        self._interval_s = min(visibility_s / 3, LONGEST_S)
        self._silence_s = visibility_s + GONE_S
        self.worker = self._enter(patience_s, number)
        self.due_at = self.monotonic() + self._interval_s
        self._housekeeping_at = 0.0
        self._wall_offset_s: float | None = None  # at the last look after others
        self._reap_from = 0.0

    def _enter(self, patience_s: float, number: int | None) -> int:
        """Register, or tell more of `number`. Raises StorageBusy when another process writes for over `patience_s`."""
        # A loop is impatient because it has other work to look after; at the start there is none.
        give_up = self.monotonic() + patience_s
        while True:
            try:
                return self._register() if number is None else self._introduce(number)
            except StorageBusy:
                if self.monotonic() >= give_up:
                    raise

    def _introduce(self, number: int) -> int:
        known, _ = self._storage.heartbeat(number, (), visibility_s=self._visibility_s, info=self._shown())
        return number if known else self._register()

    def _register(self) -> int:
        return self._storage.register_worker(self.me, self._shown())

    def _shown(self) -> bytes:
        return orjson.dumps({**self._info(), OFFSET: round(self._offset(), 3)})

    def beat(self, leases: Sequence[Lease]) -> list[Lease]:
        """Write that this worker lives and still works on `leases`; returns those that are lost."""
        self.due_at = self.monotonic() + self._interval_s
        visibility_s = self._visibility_s
        known, lost = self._storage.heartbeat(self.worker, leases, visibility_s=visibility_s, info=self._shown())
        if not known:  # it was stopped for so long that others took it for dead
            logger.warning("this worker had been taken for dead; entering again")
            self.worker = self._register()
        return lost

    def look_after_others(self) -> bool:
        """End the leases of dead workers and those that ran out, and clear away old results; True when work came back.

        After the wall clock was set, leases are not judged by it for one visibility timeout: their owners' next beats
        bring their deadlines in line.
        """
        now = self.monotonic()
        others = [w for w in self._storage.reader.workers() if w.id != self.worker]
        jump_s = self._clock_jump(others)
        if abs(jump_s) > JUMP_S:
            logger.warning("the clock was set by %+.1f s; expired leases wait", jump_s)
            self._reap_from = now + self._visibility_s
            self.due_at = now
        silent_ms = self._storage.clock.now_ms() - int(self._silence_s * 1000)
        trusted = now >= self._reap_from
        dead = [w.id for w in others if (trusted and w.heartbeat_ms < silent_ms) or is_dead(w.identity)]
        reaped = self._storage.reap(dead, expired=trusted)
        if reaped:
            logger.warning("%d messages of workers that are gone are back in their queues", reaped)
        if now >= self._housekeeping_at:
            result_s, dead_s = self._expires
            full = self._storage.expire(result_expires_s=result_s, dead_expires_s=dead_s)
            self._housekeeping_at = now if full else now + HOUSEKEEPING_S
        return reaped > 0

    def _clock_jump(self, others: Sequence[WorkerRecord]) -> float:
        """By how many seconds the wall clock was set since the last look.

        At the first look, since the last beat of any worker of this boot: they share the kernel's monotonic clock, so
        a worker that starts just after the clock was set knows it from the offsets that the others have written down.
        """
        offset, before = self._offset(), self._wall_offset_s
        self._wall_offset_s = offset
        if before is not None:
            return offset - before
        known = [found for other in others if (found := _offset_of(other, self.me)) is not None]
        return max((offset - found for found in known), key=abs, default=0.0)

    def leave(self) -> None:
        """Take this worker off the list; it holds nothing any more."""
        self._storage.unregister_worker(self.worker)

    def _offset(self) -> float:
        return self._storage.clock.now_ms() / 1000 - self.monotonic()


def _offset_of(other: WorkerRecord, me: WorkerIdentity) -> float | None:
    """The clock offset that `other` has written down; None where it does not share this machine's clocks."""
    if not me.boot or other.boot.partition("/")[0] != me.boot.partition("/")[0] or other.info is None:
        return None  # containers of one boot differ behind the slash alone, and share the clocks
    offset = other.facts.get(OFFSET)
    return float(offset) if isinstance(offset, (int, float)) else None


class KeepAlive:
    """Beats inside a `with` block for a loop that executes tasks itself, and cannot beat while one of them runs."""

    def __init__(self, heartbeat: Heartbeat, leases: Callable[[], list[Lease]]) -> None:
        self._heartbeat = heartbeat
        self._leases = leases
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="liteq-keepalive", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(max(0.05, self._heartbeat.due_at + 0.1 - self._heartbeat.monotonic())):
            if self._heartbeat.monotonic() > self._heartbeat.due_at:
                try:
                    self._heartbeat.beat(self._leases())
                except StorageError as exc:
                    logger.warning("the heartbeat failed, trying again: %s", exc)
