"""The prefork pool: each executor is a forked child, so that a task may do anything to its process."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from liteq import signals as announce
from liteq.context import App
from liteq.message import Ack, Lease, Outcome, Ran, Release
from liteq.worker.pool.base import LONG_S, Estimates, Loop, RunningLease, given_back, note, worth_a_turn
from liteq.worker.pool.page import StepNow
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.child import ChildSettings
from liteq.worker.pool.prefork.ends import fate, log_end, reason
from liteq.worker.pool.prefork.handle import STALLED_S, Handle
from liteq.worker.pool.prefork.isolation import Isolation, bench, places
from liteq.worker.pool.prefork.starting import make_starter

__all__ = ["PreforkPool"]

logger = logging.getLogger("liteq.worker")

SOON_S = 1e-3  # until the next look at a child whose end no descriptor shows
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0  # before a child is replaced that died without executing anything


class PreforkPool:
    """`size` children. See `Pool` for what the methods promise.

    No lease waits behind a long one while another child is idle: leases that a child has not started are taken back and
    given to the idle one, or returned to the queue for another worker.
    """

    name = "prefork"
    width = 1  # leases that a child runs at once

    def __init__(self, app: App, size: int, settings: ChildSettings) -> None:
        self.size = size
        self.timings: dict[int, Ran] = {}
        self.exits: Counter[str] = Counter()
        self._app = app
        self._settings = settings
        self._starter = make_starter(app, settings)
        self._children: list[Handle] = []
        self._isolation = Isolation.of(app)  # None: no task asks for a process of its own
        self._estimates = Estimates()
        self._outcomes: list[tuple[Lease, Outcome]] = []
        self._again: list[Lease] = []  # taken back, for the next child that has room
        self._stopping = False
        self._pause_s = 0.0
        self._fork_at = 0.0
        self._started = 0

    def start(self, loop: Loop) -> None:
        self._loop = loop
        self._fork_missing()

    # -- leases in, outcomes out -------------------------------------------------------------------------------------

    def capacity(self) -> int:
        if self._stopping or (self._isolation is not None and self._again and self._isolation.waits):
            return 0
        rooms = [(self._window(child), len(child.leases)) for child in self._children]
        worth_it = self.width > 1 or worth_a_turn(rooms)
        return max(0, sum(room for room, _ in rooms) - len(self._again)) if worth_it else 0

    def _window(self, child: Handle) -> int:
        now = time.monotonic()
        if child.retired or child.benched or now < child.rests_until:
            return 0
        running_s = now - child.progress_at if child.leases else 0.0
        return self._estimates.window(child.load_s, len(child.leases), running_s)

    def submit(self, leases: list[Lease]) -> None:
        """Spread `leases` over the children, to the least loaded first; those that none takes wait here a moment."""
        queue = self._again + leases
        held: list[Lease] = []
        if self._isolation is not None:
            queue, held = self._isolation.split(queue, self._start_isolated)
            bench(self._children, self.size, self.width)
        while queue and (takers := [(child, room) for child in self._children if (room := self._window(child))]):
            takers.sort(key=lambda taker: len(taker[0].leases))
            for i, (child, room) in enumerate(takers):
                n = min(-(-len(queue) // (len(takers) - i)), room)  # its share
                if n:
                    child.give(queue[:n], self._estimates.expected_s)
                    queue = queue[n:]
        self._again = queue + held

    def collect(self) -> list[tuple[Lease, Outcome]]:
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def leases(self) -> list[Lease]:
        leases = [lease for child in self._children for lease, _ in child.leases.values()]
        return leases + self._again + [lease for lease, _ in self._outcomes]

    def _receive(self, child: Handle) -> None:
        try:
            self._take_reports(child)
        except Exception:  # a task wrote into the pipe, say: its process ends, and the worker goes on
            logger.exception("process %s sent a report that cannot be read: it is ended", child.pid)
            child.hung_up = True
            child.kill()

    def _take_reports(self, child: Handle) -> None:
        now_ms = self._app.clock.now_ms()
        for report in child.receive():
            kind = report[2]
            if kind == wire.LEFT_BEHIND:
                child.left_behind = report[3]
            elif kind == wire.STARTED:
                child.hard_limit = (report[0], time.monotonic() + report[1], report[1])
            else:
                if child.hard_limit is not None and child.hard_limit[0] == report[0]:
                    child.hard_limit = None
                self._take_end(child, report, now_ms)

    def _take_end(
        self, child: Handle, report: tuple[Any, ...], now_ms: int, ending: Callable[[Lease], Outcome] | None = None
    ) -> None:
        """Take the end of a lease that `child` has reported; `ending`: makes its outcome, whatever was reported."""
        token, seconds, kind = report[0], report[1], report[2]
        if (lease := child.forget(token)) is None:
            return  # it was taken back
        self._estimates.add(lease.task, seconds)
        ran = (now_ms - int(seconds * 1000), seconds)
        if kind == wire.ACK:  # nearly all
            self._outcomes.append((lease, Ack(report[3], ran)))
        else:
            outcome = wire.unpack(kind, report[3:]) if ending is None else ending(lease)
            self._outcomes.append((lease, outcome))
            note(self.timings, lease, outcome, ran)

    # -- as time passes ----------------------------------------------------------------------------------------------

    def tend(self, now: float) -> float | None:
        times = [self._enforce_hard_limit(child, now) for child in self._children]
        times += [self._rebalance(child, now) for child in self._children]
        for child in tuple(self._children):
            if child.has_more or child.pidfd < 0 or child.retired:
                times.append(self._look_after(child, now))
        times.append(self._replace_missing(now))
        if self._isolation is not None:
            bench(self._children, self.size, self.width)
        if self._again:
            self._place()
            times.append(now + STALLED_S)
        return min((t for t in times if t is not None), default=None)

    def _look_after(self, child: Handle, now: float) -> float | None:
        """Send the rest of a frame, notice an end that no descriptor shows, let a retired child go."""
        again_at = None
        if child.has_more:
            child.flush()
            again_at = now + SOON_S
        if child.pidfd < 0 and (status := child.exit_status()) is not None:
            self._bury(child, status)
            return again_at
        if child.pidfd < 0 and child.hung_up:
            again_at = now + SOON_S
        if child.retired and not child.leases:
            child.dismiss()
        return again_at

    def _replace_missing(self, now: float) -> float | None:
        """Fork the children that are missing, when it is time; when to try again."""
        if self._stopping or not self._missing():
            return None
        if now >= self._fork_at:
            self._fork_missing()
        return self._fork_at if self._missing() else None

    def _place(self) -> None:
        """Give leases that were taken back to children with room; the rest is returned for other workers."""
        self.submit([])
        back, self._again = (self._again, []) if self._isolation is None else self._isolation.part(self._again)
        self._outcomes += [(lease, Release()) for lease in back]

    def _enforce_hard_limit(self, child: Handle, now: float) -> float | None:
        if child.hard_limit is None or child.killed:
            return None
        _, at, seconds = child.hard_limit
        if now < at:
            return at
        lease = child.leases.get(child.hard_limit[0], (None,))[0]
        name, id_ = ("?", "?") if lease is None else (lease.task, lease.id)
        text = "Task %s[%s] given up: its hard time limit of %s s is exceeded; killing process %s"
        logger.error(text, name, id_, seconds, child.pid, extra={"task_name": name, "task_id": id_})
        child.kill()
        return None

    def _rebalance(self, child: Handle, now: float) -> float | None:
        """Take from a child that has not reported for a while the leases that it has not started: others run them."""
        if not child.leases:
            return child.rests_until if child.rests_until > now else None
        stalled_s = now - child.progress_at
        if stalled_s < STALLED_S:
            return child.progress_at + STALLED_S
        unstarted = child.unstarted()
        if len(child.leases) - unstarted > 1 and not child.nudged:
            child.nudge()
        if not unstarted or child.isolated:  # that one is a process that starts
            return None
        if any(other.idles(now) for other in self._children):
            child.let_rest(unstarted, now)
            self._again += child.take_back()
        elif stalled_s >= LONG_S:
            child.let_rest(unstarted, now)
            self._outcomes += [(lease, Release()) for lease in child.take_back()]
            return None
        return child.progress_at + LONG_S

    def take_back(self) -> list[Lease]:
        taken, self._again = self._again, []
        for child in self._children:
            taken += child.take_back()
        return taken

    def leave_runs(self) -> None:
        for child in self._children:
            child.page.leave()

    def steps(self) -> list[StepNow]:
        return [step for child in self._children for step in child.steps()]

    def end_overdue(self, now: float) -> None:
        for child in self._children:
            child.end_overdue(now)

    def abandon(self, leases: Sequence[Lease]) -> None:
        """Kill the children that run leases that were lost; their other leases come back."""
        tokens = {lease.token for lease in leases}
        self._again = [lease for lease in self._again if lease.token not in tokens]
        for child in self._children:
            if not tokens.isdisjoint(child.leases):
                self._again += [lease for lease in child.take_back() if lease.token not in tokens]
                if not tokens.isdisjoint(child.leases):
                    child.kill()

    def running(self) -> list[RunningLease]:
        found = []
        for child in self._children:
            started = list(child.leases.values())[: len(child.leases) - child.unstarted()]
            if started:
                found.append(RunningLease(started[-1][0], child.progress_at, child.pid))
        return found

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        taken, self._again = self._again, []
        for child in self._children:
            if not tokens.isdisjoint(child.leases):
                taken += child.take_back()
        self._again = [lease for lease in taken if lease.token not in tokens]
        return [lease for lease in taken if lease.token in tokens]

    def terminate(self, tokens: set[int], signum: int, outcome: Callable[[Lease], Outcome]) -> bool:
        for child in self._children:
            if tokens.isdisjoint(child.leases):
                continue
            self._again += child.take_back()
            running = next(reversed(child.leases), None)  # those before it have ended, and are about to be reported
            if running in tokens:
                child.terminate(running, signum, outcome)
        return True

    # -- children come and go ----------------------------------------------------------------------------------------

    def _missing(self) -> bool:
        return sum(not child.retired for child in self._children) < self.size

    def _fork_missing(self) -> None:
        while self._missing() and self._start_child() is not None:
            pass

    def _start_child(self, *, isolated: bool = False) -> Handle | None:
        """Start a child; None where that cannot be done now."""
        announce.worker_before_create_process.send(sender=self)
        try:
            child = self._starter.start(
                self._children, number=self._started + 1, isolated=isolated, let_go=self._loop.let_go
            )
        except OSError as exc:  # no process, memory or descriptor left: some will be free again
            n, why = len(self._children), exc.strerror or exc
            logger.error("%d of %d worker processes run, trying again: %s", n, self.size, why)  # noqa: TRY400
            self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LAST_PAUSE_S)
            self._fork_at = time.monotonic() + self._pause_s
            return None
        self._started += 1
        self._children.append(child)
        self._loop.watch(child.sock.fileno(), lambda: self._on_socket(child))
        if child.pidfd >= 0:
            self._loop.watch(child.pidfd, lambda: self._bury(child))
        return child

    def _start_isolated(self, lease: Lease) -> bool:
        """Start a process for `lease` alone, where there is a place for it; whether it was."""
        if self._stopping or not places(self._children, self.size, self.width) or time.monotonic() < self._fork_at:
            return False
        child = self._start_child(isolated=True)
        if child is None:
            return False
        child.retired = True  # nothing comes after it
        child.give([lease], self._estimates.expected_s)
        return True

    def _on_socket(self, child: Handle) -> None:
        self._receive(child)
        if child.hung_up:
            # A killed process is torn down for some milliseconds between this and its end; no need to spin meanwhile.
            self._loop.unwatch(child.sock.fileno())

    def _bury(self, child: Handle, status: int | None = None) -> None:
        """Take over from a child that has ended: reports count, leases not started come back, the others crashed."""
        self._receive(child)
        status = child.exit_status() if status is None else status
        self._unwatch(child)
        self._again += child.take_back()
        started = [lease for lease, _ in child.leases.values()]
        blamed = child.blamed(started)
        for lease in started:
            if lease not in blamed:  # run again, unless that was promised not to be
                self._outcomes.append((lease, given_back(self._app, lease)))
                continue
            ran_s = time.monotonic() - child.progress_at
            self.timings[lease.token] = (self._app.clock.now_ms() - int(ran_s * 1000), ran_s)
            self._outcomes.append((lease, self._fate(child, lease, status)))
        self._children.remove(child)
        child.close()
        if not self._stopping and (status or not child.isolated):
            self.exits[reason(child, status)] += 1
        self._pause_after(child, bool(started))
        if status and not self._stopping:
            log_end(child, status, blamed)

    def _unwatch(self, child: Handle) -> None:
        self._loop.unwatch(child.sock.fileno())
        if child.pidfd >= 0:
            self._loop.unwatch(child.pidfd)

    def _fate(self, child: Handle, lease: Lease, status: int | None) -> Outcome:
        if self._stopping:  # killed by a cold shutdown, not by its task
            return given_back(self._app, lease)
        return fate(self._app, self._settings.hostname, child, lease, status)

    def _pause_after(self, child: Handle, executed: bool) -> None:
        """Set when a child is replaced: at once, but after longer and longer pauses where it cannot even start."""
        starts = executed or child.has_reported or time.monotonic() - child.born_at > 1.0
        self._pause_s = 0.0 if starts else min(max(self._pause_s * 2, FIRST_PAUSE_S), LAST_PAUSE_S)
        self._fork_at = time.monotonic() + self._pause_s

    def resize(self, size: int) -> None:
        self.size = size
        for child in [child for child in self._children if not child.retired][size:]:
            self._retire(child)
        self._fork_at = 0.0

    def renew(self) -> None:
        self._isolation = Isolation.of(self._app)
        for child in self._children:
            self._retire(child)

    def _retire(self, child: Handle) -> None:
        """Let a child finish its running task, and end."""
        child.retired = True
        child.page.leave()
        self._again += child.take_back()

    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    # -- the end -----------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        self._stopping = True
        for child in self._children:
            child.kill()
        for child in list(self._children):
            child.wait()
            self._bury(child)
        self._starter.close()

    def stop(self) -> None:
        """Close the children's pipes; an idle child takes that as its end."""
        self._stopping = True
        for child in self._children:
            self._unwatch(child)
            child.close()
        deadline = time.monotonic() + 5.0
        for child in self._children:
            while child.exit_status() is None:
                if time.monotonic() > deadline:
                    child.kill()
                time.sleep(0.001)
        self._children.clear()
        self._starter.close()
