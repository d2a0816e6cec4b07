"""The loop of a worker of many files: one wait for all of them, and turns for those that have something to do.

A file that rests is heard by the watch over its folder, and costs nothing else: a look at its time stamps each five
seconds catches a ring that was lost. Files are opened in small slices: those that are open are served meanwhile.
"""

from __future__ import annotations

import logging
import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import inf

from liteq.app.files.patterns import Patterns, stamp_of
from liteq.context import App
from liteq.exceptions import StorageError
from liteq.storage.engines import watch_folders
from liteq.utils.records import dataclass
from liteq.worker.chores.autoscale import Autoscaler
from liteq.worker.files.seat import REST_AFTER_S, Aside, Host, Seat
from liteq.worker.files.sharing import Sharing
from liteq.worker.hooks import Chore
from liteq.worker.pool import Pool

__all__ = ["FilesLoop", "ManyFiles"]

logger = logging.getLogger("liteq.worker")

OPEN_MOST = 64  # files that are open at a time, while no more have work
SLICE_S = 0.01  # that is given to opening files in one turn
SCAN_S = 5.0  # between two looks for new files where nothing tells of them
SCAN_SOON_S = 0.1  # after somebody has made a file: it may not be ready, and others follow
CHECK_S = 5.0  # between two looks at the time stamps of those at rest
PATROL_S = 600.0  # a file at rest is looked after so often: what has expired is cleared away
POLL_S = 0.05  # between two looks at the bells, where the system does not tell
LEAVE_S = 5.0  # given to signing off; the others see by the kernel that this process is gone
FIRST_TOLD = 3  # names of files in the line that tells how many there are


@dataclass(frozen=True, slots=True)
class ManyFiles:
    """The parts of a worker of many files."""

    pool: Pool
    autoscaler: Autoscaler | None
    consumer: FilesLoop

    def leave(self) -> None:
        """Sign off from the files, and close them."""
        self.consumer.leave()


class FilesLoop:
    """Feeds `pool` from the files of `patterns` until asked to stop. See `Consumer`, as for the methods.

    `chores`: of the worker as a whole. `of_file`: makes more chores for one file.
    """

    def __init__(
        self,
        host: Host,
        patterns: Patterns,
        pool: Pool,
        *,
        on_wake: Callable[[], None],
        chores: Sequence[Chore],
        of_file: Callable[[App], Sequence[Chore]] = lambda _app: (),
    ) -> None:
        self.seats: dict[str, Seat] = {}
        self._host = host
        self._patterns = patterns
        self._sharing = Sharing(pool)
        self._pool = pool
        self._on_wake = on_wake
        self._chores = list(chores)
        self._of_file = of_file
        self._selector = selectors.DefaultSelector()
        self._watch = watch_folders()
        self._new: deque[Seat] = deque()
        self._active: dict[str, Seat] = {}  # open, and not at rest; or set aside
        self._tend_at: float | None = None
        self._scan_at = self._check_at = 0.0
        self._rest_at = 0.0
        self._first_wake_at = inf  # of those at rest
        self._round = 0
        self._accepting = True
        self._quiet = False

    def scale(self, autoscaler: Autoscaler) -> None:
        """Have the pool's size kept by `autoscaler`."""
        self._chores.append(autoscaler)
        self._sharing.autoscaler = autoscaler

    # -- life ----------------------------------------------------------------------------------------------------------

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop when `fd` is readable."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def run(self) -> None:
        """Work until `finish` was called and everything that had started has been settled."""
        if self._watch.fileno() >= 0:
            self.watch(self._watch.fileno(), self._heard)
        while self._accepting or self._pool.leases() or any(self._unsettled()):
            self._wait()
            self.turn()

    def _unsettled(self) -> list[Seat]:
        return [seat for seat in self._active.values() if seat.is_open and not seat.reason and seat.has_work]

    def finish(self) -> None:
        """Claim no more, and give back what has not started; `run` returns when all has ended."""
        self._accepting = False
        self._new.clear()
        for seat in self._opened():
            seat.consumer.finish()
            seat.touched = True

    def abort(self) -> None:
        """Stop the running tasks; every lease goes back to its queue."""
        self._accepting = False
        self._new.clear()
        for seat in self._opened():
            seat.consumer.abort()
            seat.touched = True

    def _opened(self) -> list[Seat]:
        return [seat for seat in self._active.values() if seat.is_open]

    def look(self) -> None:
        """Look for something to claim in the next turn, in every file that is open."""
        for seat in self._opened():
            seat.consumer.look()
            seat.touched = True

    def close(self) -> None:
        """Close the descriptors that the loop waits on."""
        self._watch.close()
        self._selector.close()

    def let_go(self) -> None:
        """In a forked child: drop the loop's descriptors."""
        self.close()

    def leave(self) -> None:
        """Sign off from the files, and close them."""
        give_up = time.monotonic() + LEAVE_S
        for seat in self.seats.values():
            if time.monotonic() < give_up:
                seat.leave()

    def waiting(self, limit: int) -> int:
        """How many messages could be claimed now from the files that are open, up to `limit`."""
        found = 0
        for seat in self._opened():
            if found >= limit or seat.reason or not seat.consumer.claims:
                continue
            storage = seat.running.storage
            try:
                paused = storage.queues.paused()
                queues = [queue for queue in seat.consumer.queues if not paused.of(queue)]
                found += storage.reader.waiting(queues, limit=limit - found)
            except StorageError:  # its own turn meets it
                continue
        return found

    def told(self) -> dict[str, object]:
        """Facts for lists of workers: how many files there are, and those that are set aside, each with its reason."""
        aside = {seat.path: seat.reason for seat in self._active.values() if seat.reason}
        return {"files": len(self.seats), "set_aside": dict(list(aside.items())[:100])}

    # -- one turn ------------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        now = time.monotonic()
        watched = self._selector.get_map()
        for key, _ in self._selector.select(self._timeout(now)):
            if key.fd in watched:
                key.data()
        if self._watch.fileno() < 0:
            self._heard()
        self._on_wake()

    def _timeout(self, now: float) -> float:
        if self._new:
            return 0.0
        times = [self._scan_at, self._check_at, self._first_wake_at, *(chore.due_at for chore in self._chores)]
        if self._tend_at is not None:
            times.append(self._tend_at)
        if self._watch.fileno() < 0:
            times.append(now + POLL_S)
        times += [now if seat.touched else seat.wake_at for seat in self._active.values()]
        return max(0.0, min(times) - now)

    def _heard(self) -> None:
        rung, changed = self._watch.read()
        if changed:
            self._scan_at = min(self._scan_at, time.monotonic() + SCAN_SOON_S)
        if rung and not rung <= self.seats.keys():  # the first message of a file that was not ready when it was made
            self._scan_at = 0.0
        for path in list(self.seats) if rung is None else rung:
            if (seat := self.seats.get(path)) is not None:
                self._wake(seat)
                seat.heard()

    def _wake(self, seat: Seat) -> None:
        if not self._accepting:
            return
        if seat.is_open:
            self._active[seat.path] = seat
        elif seat in self._new and self._new[0] is not seat:  # before those that nobody asks for
            self._new.remove(seat)
            self._new.appendleft(seat)

    def turn(self) -> None:
        """Serve those files that have something to do, by turns; then do what has come due."""
        now = time.monotonic()
        self._gather()
        self._tend_at = self._pool.tend(now)
        self._gather()
        self._serve(now)
        self._open_some()
        now = time.monotonic()
        for chore in self._chores:
            if now >= chore.due_at:
                self._do(chore)
        if now >= self._scan_at:
            self._scan(now)
        if now >= self._check_at:
            self._check(now)
        if now >= self._first_wake_at:
            self._wake_due(now)
        if now >= self._rest_at:
            self._let_rest(now)

    def _gather(self) -> None:
        for share in self._sharing.gather():
            share.touch()

    def _do(self, chore: Chore) -> None:
        try:
            chore.turn()
        except StorageError as exc:
            logger.warning("%s: %s", type(chore).__name__, exc)

    def _serve(self, now: float) -> None:
        """Give each file that has something to do its turn.

        The one with the least in hand comes first, then the one that has waited longest; of those that would claim each
        gets an equal part of the room. So what is rare is not held up by what is many.
        """
        room = self._pool.capacity() > 0
        ready, hungry = [], 0
        for seat in self._active.values():
            wants = seat.is_open and seat.is_hungry(now)
            if seat.touched or seat.wake_at <= now or (wants and room):
                ready.append(seat)
                hungry += wants
        if not ready:
            return
        self._round += 1
        self._sharing.among = hungry
        for seat in sorted(ready, key=lambda one: (len(one.share.held) + len(one.share.returned), one.served)):
            wanted = seat.is_open and seat.is_hungry(now)
            held = len(seat.share.held)
            self._turn(seat, time.monotonic())
            if wanted:
                self._sharing.among -= 1
            if len(seat.share.held) > held:
                seat.served = self._round
        self._sharing.among = 1
        if self._sharing.submitted:
            self._sharing.submitted = False
            self._tend_at = time.monotonic()

    def _turn(self, seat: Seat, now: float) -> None:
        try:
            if not seat.is_open:
                if self._accepting:
                    seat.open()
                    seat.touched = True
                return
            seat.turn(now)
        except Aside as aside:
            self._set_aside(seat, str(aside), now)
        except Exception as exc:
            logger.exception("%s cannot be served", seat.path)
            self._set_aside(seat, f"{type(exc).__name__}: {exc}", now)

    def _set_aside(self, seat: Seat, reason: str, now: float) -> None:
        if reason != seat.reason:
            for other in self._opened():  # they tell of it in their files
                other.running.heartbeat.soon()
                other.wake_at = now
        seat.set_aside(reason, now)

    # -- files come, rest and go ---------------------------------------------------------------------------------------

    def _open_some(self) -> None:
        end = time.monotonic() + SLICE_S
        while self._new and self._accepting:
            seat = self._new.popleft()
            self._active[seat.path] = seat
            self._turn(seat, now := time.monotonic())
            if seat.is_open:
                self._turn(seat, now)
                if len(self._active) > OPEN_MOST and not seat.reason and seat.idle_s(time.monotonic() + 1e-3):
                    self._rest(seat, now)
            if time.monotonic() >= end:
                return

    def _scan(self, now: float) -> None:
        """Look which files there are."""
        self._scan_at = now + SCAN_S
        if not self._accepting:
            return
        found = self._patterns.find()
        fresh = sorted((path for path in found if path not in self.seats), key=rung_ns, reverse=True)
        for path in fresh:
            seat = self.seats[path] = Seat(
                self._host, path, self._sharing, selector=self._selector, told=self.told, chores=self._of_file
            )
            self._new.append(seat)
        for path in self.seats.keys() - set(found):
            if not os.path.exists(path):
                self._forget(path)
        if fresh:
            names = ", ".join(map(os.path.basename, fresh[:FIRST_TOLD])) + (", ..." if len(fresh) > FIRST_TOLD else "")
            noun = "file" if len(fresh) == 1 else "files"
            logger.info("%d new %s (%s), %d in all", len(fresh), noun, names, len(self.seats))
            self._watch.watch(self._patterns.folders(found), found)

    def _forget(self, path: str) -> None:
        seat = self.seats.pop(path)
        self._active.pop(path, None)
        if seat in self._new:  # to open it would make the file anew
            self._new.remove(seat)
        logger.warning("%s has gone: nothing is taken from it any more", path)
        if seat.is_open:
            seat.running.storage.close()

    def _let_rest(self, now: float) -> None:
        """Close the files that have had nothing to do for a while; sooner where many are open."""
        self._rest_at = now + 0.5
        idle = sorted(
            ((seat.idle_s(now), seat) for seat in self._active.values() if seat.is_open), key=lambda one: -one[0]
        )
        surplus = len(self._active) - OPEN_MOST
        for n, (idle_s, seat) in enumerate(idle):
            if idle_s >= REST_AFTER_S or (n < surplus and idle_s > 0):
                self._rest(seat, now)

    def _rest(self, seat: Seat, now: float) -> None:
        """Close the file, unless there is something to do in it after all."""
        if not seat.is_read_up:  # by this worker perhaps, or by somebody whose ring was lost
            seat.consumer.look()
            self._turn(seat, now)
            if seat.reason or seat.touched or not seat.idle_s(now + 1e-3) or not seat.is_read_up:
                return
        seat.rest(now)
        if seat.at_rest:
            self._active.pop(seat.path, None)
            seat.wake_at = min(seat.wake_at, now + PATROL_S)
            self._first_wake_at = min(self._first_wake_at, seat.wake_at)

    def _wake_due(self, now: float) -> None:
        """Wake the files at rest in which something comes due."""
        resting = [seat for seat in self.seats.values() if seat.at_rest]
        for seat in resting:
            if seat.wake_at <= now:
                self._wake(seat)
                seat.touched = True
        self._first_wake_at = min((seat.wake_at for seat in resting if seat.wake_at > now), default=inf)

    def _check(self, now: float) -> None:
        """Wake the files at rest that somebody has written to, although no ring was heard."""
        self._check_at = now + CHECK_S
        for seat in self.seats.values():
            if seat.at_rest and seat.path not in self._active and stamp_of(seat.path) != seat.stamp:
                self._wake(seat)
                seat.heard()


def rung_ns(path: str) -> int:
    """When the file's bell was rung last, in ns since the epoch: those with new messages are opened first."""
    try:
        return os.stat(f"{path}-work").st_mtime_ns
    except OSError:
        return 0
