"""Keeping the leases of what runs, and ending those of workers that are gone.

A stall is not a death: nobody could write, everybody was stopped, the clock was set. A worker that finds its own
heartbeat late or refused waits a whole lease before it judges others by their deadlines, and one whose process is seen
to live is not judged by these at all.

Looking at everybody is the task of one of the workers that share a boot and its namespaces, the first that entered.
Each other one looks at the one before it: hundreds that are idle cost hundreds of reads a second, not the square.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

import orjson

from liteq.context.identity import Presence, presence
from liteq.exceptions import StorageBusy, StorageError
from liteq.message import Lease, WorkerIdentity
from liteq.monitor.workers import OFFSET, STAGE
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.statistics.stats import REAPED, Tally
from liteq.storage.storage import Storage
from liteq.utils.lines import Repeated

__all__ = ["Heartbeat", "KeepAlive"]

logger = logging.getLogger("liteq.worker")

AGAIN_S = 0.75  # until a beat that failed is tried again: after a turn of the loop in which the chores come first
LONGEST_S = 10.0  # between beats, so that a list of workers is fresh even with a long visibility timeout
HOUSEKEEPING_S = 5.0  # between chunks of expired results while there are none
SLICE_S = 0.02  # that the loop is held up by what has come of age
LOOK_S = 0.5  # between two looks whether a consumer is held up by what it executes
GONE_S = 600.0  # silent for so long past its leases: gone, though it cannot be asked (a container that was removed)
JUMP_S = 1.0  # the wall clock moved against the monotonic one by more: it was set


class Executors(Protocol):
    """A pool, as this file needs it."""

    @property
    def size(self) -> int: ...
    def pids(self) -> list[int]: ...


class Heartbeat:
    """The presence of one worker process in the file.

    `worker` is its number there; `number`, where it has entered already. `info()` returns the figures that lists of
    workers show, and `stage` is what they read at first (`tell`). `patience_s`: how long it waits for the write lock to
    enter; later it waits as long as `storage` does.
    `monotonic`: the clock that paces the loop's waits; the wall's time comes from the storage's clock. `longest_s`: no
    lease is longer; None: none is longer than `visibility_s`.
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
        longest_s: float | None = None,
        stage: str = "starting",
    ) -> None:
        self.me = me
        self._storage = storage
        self._visibility_s = visibility_s
        self._longest_s = visibility_s if longest_s is None else longest_s
        self._expires = (result_expires_s, dead_expires_s)
        self._info = info
        self._stage = stage
        self.monotonic = monotonic
        self.interval_s = min(visibility_s / 3, LONGEST_S)
        self._silence_s = visibility_s + GONE_S
        self._judge_from = 0.0  # monotonic: deadlines of others say nothing before
        self.due_at = self.monotonic()
        self._seen_offset_s = self._offset()  # what others are told: a jump of which all has been set right
        self.worker = self._enter(patience_s, number)
        self._have_beaten(self.due_at)
        self._housekeeping_at = 0.0
        self._wall_offset_s: float | None = None  # at the last look after others
        self.on_return: Callable[[], None] = lambda: None  # called when it has entered anew: the file may be a new one
        self._returns = False
        self._ahead: dict[int, tuple[int, float]] = {}  # heartbeats of the future, and when they were first seen
        self._cap_until = self._cap_at = 0.0  # times of the file that lie ahead are set right
        self.looked_at = self.monotonic()

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
        return orjson.dumps({**self._info(), OFFSET: round(self._seen_offset_s, 3), STAGE: self._stage})

    def rested(self) -> None:
        """Note that this worker had no leases here for a while: it did not stand still meanwhile."""
        self._beaten_at = self.monotonic()
        self.due_at = self._beaten_at + self.interval_s

    def soon(self) -> None:
        """Beat in the next turn: what others read of this worker has changed."""
        self.due_at = min(self.due_at, max(self.monotonic(), self._again_at))

    def tell(self, *, ending: bool, quiet: bool, full: bool, pool: Executors | None = None) -> None:
        """Have others know whether this worker takes tasks (monitor/health.py); a change is told in the next turn."""
        bare = pool is not None and pool.size > 0 and not pool.pids()  # none of its processes could start
        stage = "ending" if ending else "quiet" if quiet else "full" if full else "bare" if bare else "ready"
        if stage != self._stage:
            self._stage = stage
            self.soon()

    def beat(self, leases: Sequence[Lease]) -> list[Lease]:
        """Say that this worker lives and still works on `leases`; those that are lost."""
        due_at, self.due_at = self.due_at, self.monotonic() + AGAIN_S
        visibility_s = self._longest_s
        try:
            known, lost = self._storage.heartbeat(self.worker, leases, visibility_s=visibility_s, info=self._shown())
        except StorageError:
            self._judge_later()  # what kept this one from its beat may have kept the others
            self.due_at = self._again_at = self.monotonic() + AGAIN_S
            raise
        if not known:  # it was stopped for so long that others took it for dead
            logger.warning("this worker had been taken for dead; entering again")
            self.worker, self._returns = self._register(), True
        if self._returns:  # at a later beat, where the storage has refused it at this one
            self.on_return()
            self._returns = False
        self._have_beaten(due_at)
        return lost

    def _have_beaten(self, due_at: float) -> None:
        """Note a beat that was to come at `due_at`; where it comes late, this worker stood still, maybe with all."""
        self._beaten_at = now = self.monotonic()
        self.due_at, self._again_at = now + self.interval_s, 0.0
        if now - due_at > self.interval_s:
            self._stood_still(now - due_at)

    def _stood_still(self, seconds: float) -> None:
        logger.warning("this worker stood still for %.1f s; expired leases wait", seconds)
        self._judge_later()

    def _judge_later(self) -> None:
        self._judge_from = self.monotonic() + self._visibility_s

    def look_after_others(self) -> bool:
        """End the leases of dead workers and those that ran out, and clear away old results; True when work came back.

        After the wall clock was set, leases are not judged by it for one visibility timeout: their owners' next beats
        bring their deadlines in line. After it was set back, the times in the file that lie ahead are set right.
        """
        self.looked_at = self.monotonic()
        first = self._wall_offset_s is None
        others = self._others() if first else []
        jump_s = self._clock_jump(others)
        if abs(jump_s) > JUMP_S:
            logger.warning("the clock was set by %+.1f s; expired leases wait", jump_s)
            self._judge_later()
            self.due_at = self.monotonic()
        if jump_s < -JUMP_S or (first and self._storage.reader.is_ahead(JUMP_S)):
            self._cap_at, self._cap_until = self.monotonic(), inf
        # Not the first one's task alone: that one may be dead, or stopped, and nobody notices a jump again later.
        found = self._set_right()
        if first or self._is_first():
            found |= self._look_at_all(others or self._others())
        return found or abs(jump_s) > JUMP_S

    def _others(self) -> list[WorkerRecord]:
        return [w for w in self._storage.reader.workers() if w.id != self.worker]

    def _is_first(self) -> bool:
        """Whether looking at everybody is this worker's task: nobody before it in its namespaces does.

        The one just before it, where that one has died, is buried on the way.
        """
        while True:
            before, fresh = self._storage.reader.worker_before(self.worker, self.me.boot, fresh_s=self._visibility_s)
            if before is None or not fresh:
                return True
            if self._presence(before) is not Presence.GONE:
                return False
            self._bury([before.id])

    def _presence(self, other: WorkerRecord) -> Presence:
        return presence(other.identity, one_machine=self._storage.driver.one_machine)

    def _look_at_all(self, others: Sequence[WorkerRecord]) -> bool:
        # Taken before it is known whether this worker stands still: stopped from here on, it judges as of now.
        now, now_ms = self.monotonic(), self._storage.clock.now_ms()
        if now - self._beaten_at > 2 * self.interval_s:  # it was stopped since its last beat, or is refused one
            if self._again_at:
                self._judge_later()  # no line at each look: the log has told that the file refuses
            else:
                self._stood_still(now - self._beaten_at)
        seen = {w.id: self._presence(w) for w in others}
        alive = [self.worker, *(number for number, found in seen.items() if found is Presence.ALIVE)]
        dead = [number for number, found in seen.items() if found is Presence.GONE]
        expired = now >= self._judge_from
        if expired:
            dead += [w.id for w in others if w.id not in dead and w.id not in alive and self._is_silent(w, now)]
        came_back = self._bury(dead, expired_ms=now_ms if expired else None, living=alive)
        if expired and now >= self._housekeeping_at:
            self._housekeeping_at = now if self._clear_away() else now + HOUSEKEEPING_S
        return came_back

    def _clear_away(self) -> bool:
        """Delete what has come of age, a chunk at a time, for a moment; whether there was some.

        More than a chunk at each look: else a queue in which more than 2,000 a second finish would grow for ever.
        """
        until = self.monotonic() + SLICE_S
        result_s, dead_s = self._expires
        while self._storage.expire(result_expires_s=result_s, dead_expires_s=dead_s):
            if self.monotonic() >= until:
                return True
        return False

    def _set_right(self) -> bool:
        """Cap the times of the file, now and for a while: what was on its way when the clock was set comes after.

        Where the file cannot be written, at the next look. Until it is done the others are told of the clock of before:
        one that starts when this one has ended sees that it was set.
        """
        now = self.monotonic()
        capped = 0
        if self._cap_at <= now < self._cap_until:
            capped = self._storage.cap()
            self._cap_at, self._cap_until = now + HOUSEKEEPING_S, min(self._cap_until, now + self._visibility_s)
        if self._wall_offset_s is not None:
            self._seen_offset_s = self._wall_offset_s
        return capped > 0

    def _is_silent(self, other: WorkerRecord, now: float) -> bool:
        """Whether `other` has not been heard of for so long that it is gone, though it cannot be asked.

        A heartbeat that lies in the future is from before the clock was set back. It counts as one of when it was
        seen first; with the next one the worker shows that it lives.
        """
        now_ms = self._storage.clock.now_ms()
        if other.heartbeat_ms <= now_ms + JUMP_S * 1000:
            self._ahead.pop(other.id, None)
            return other.heartbeat_ms < now_ms - self._silence_s * 1000
        heartbeat_ms, since = self._ahead.setdefault(other.id, (other.heartbeat_ms, now))
        if heartbeat_ms != other.heartbeat_ms:
            self._ahead[other.id] = (other.heartbeat_ms, now)
            return False
        return now - since > self._visibility_s

    def _bury(self, dead: Sequence[int], *, expired_ms: int | None = None, living: Sequence[int] = ()) -> bool:
        """End the leases of the dead, and what had run out at `expired_ms`; whether there were any."""
        reaped = self._storage.reap(dead, expired=expired_ms is not None, living=living, now_ms=expired_ms)
        for number in dead:
            self._ahead.pop(number, None)
        if reaped:
            logger.warning("%d messages of workers that are gone are back in their queues", reaped)
            told = Tally()
            told.n = reaped
            self._storage.stats.add({("", "", REAPED, ""): told})
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
    if not me.boot or _clocks(other.boot) != _clocks(me.boot) or other.info is None:
        return None
    offset = other.facts.get(OFFSET)
    return float(offset) if isinstance(offset, (int, float)) else None


def _clocks(boot: str) -> list[str]:
    """The part of a `boot` that says which clocks a process reads: containers of one boot mostly share them."""
    return [part for part in boot.split("/") if not part.startswith("pid:")]


class KeepAlive:
    """Beats and looks after others inside a `with` block, for a loop that executes tasks itself.

    `look` is called about once a second, with the time (monotonic): it sees what the busy loop does not.
    """

    def __init__(self, heartbeat: Heartbeat, leases: Callable[[], list[Lease]], look: Callable[[float], None]) -> None:
        self._look = look
        self._heartbeat = heartbeat
        self._leases = leases
        self._report = Repeated(logger).report
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="liteq-keepalive", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(min(LOOK_S, self._heartbeat.interval_s / 2)):
            self._look(self._heartbeat.monotonic())
            try:
                if self._heartbeat.monotonic() > self._heartbeat.due_at:
                    self._heartbeat.beat(self._leases())
                if self._heartbeat.monotonic() > self._heartbeat.looked_at + 2 * LOOK_S:
                    self._heartbeat.look_after_others()
            except StorageError as exc:
                self._report(logging.WARNING, f"the heartbeat failed, trying again: {exc}")
