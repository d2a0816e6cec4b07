"""The prefork pool: each executor is a forked child, so that a task may do anything to its process."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence

from liteq import signals as announce
from liteq.context import App
from liteq.exceptions import TimeLimitExceeded, WorkerLostError
from liteq.message import Ack, Flag, Lease, Outcome, Ran, Release
from liteq.worker.pool.base import BUDGET_S, LONG_S, Estimates, Loop, RunningLease, crashed, note, over_limit
from liteq.worker.pool.page import StepNow
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.child import ChildSettings
from liteq.worker.pool.prefork.ends import describe, log_end
from liteq.worker.pool.prefork.forking import Handle, fork_child
from liteq.worker.pool.runs import GRACE_S, lost_in_a_run, timed_out

__all__ = ["PreforkPool"]

logger = logging.getLogger("liteq.worker")

STALLED_S = BUDGET_S  # a child that has reported nothing for so long may keep others' work waiting behind it
SOON_S = 1e-3  # until the next look at a child whose end no descriptor shows
LONGEST_REST_S = 1.0  # of a child that does not begin its leases
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0  # before a child is replaced that died without executing anything


class PreforkPool:
    """`size` children. See `Pool` for what the methods promise.

    No lease waits behind a long one while another child is idle: leases that a child has not started are taken back and
    given to the idle one, or returned to the queue for another worker.
    """

    name = "prefork"
    handle: type[Handle] = Handle

    def __init__(self, app: App, size: int, settings: ChildSettings) -> None:
        self.size = size
        self.timings: dict[int, Ran] = {}
        self.exits: Counter[str] = Counter()
        self._app = app
        self._settings = settings
        self._children: list[Handle] = []
        self._estimates = Estimates()
        self._outcomes: list[tuple[Lease, Outcome]] = []
        self._again: list[Lease] = []  # taken back, for the next child that has room
        self._stopping = False
        self._pause_s = 0.0
        self._fork_at = 0.0
        self._forked = 0

    def start(self, loop: Loop) -> None:
        self._loop = loop
        self._fork_missing()

    # -- leases in, outcomes out -------------------------------------------------------------------------------------

    def capacity(self) -> int:
        if self._stopping:
            return 0
        return max(0, sum(map(self._window, self._children)) - len(self._again))

    def _window(self, child: Handle) -> int:
        now = time.monotonic()
        if child.retired or now < child.rests_until:
            return 0
        running_s = now - child.progress_at if child.leases else 0.0
        return self._estimates.window(child.load_s, len(child.leases), running_s)

    def submit(self, leases: list[Lease]) -> None:
        """Spread `leases` over the children, to the least loaded first; those that none takes wait here a moment."""
        queue = self._again + leases
        while queue and (takers := [child for child in self._children if self._window(child)]):
            takers.sort(key=lambda child: len(child.leases))
            for i, child in enumerate(takers):
                share = -(-len(queue) // (len(takers) - i))
                n = min(share, self._window(child))
                if n:
                    child.give(queue[:n], self._estimates.expected_s)
                    queue = queue[n:]
        self._again = queue

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
        for token, seconds, kind, *fields in child.receive():
            if kind == wire.LEFT_BEHIND:
                child.left_behind = fields[0]
                continue
            if kind == wire.STARTED:
                child.hard_limit = (token, time.monotonic() + seconds, seconds)
                continue
            if child.hard_limit is not None and child.hard_limit[0] == token:
                child.hard_limit = None
            if (lease := child.forget(token)) is not None:
                self._estimates.add(lease.task, seconds)
                ran = (now_ms - int(seconds * 1000), seconds)
                if kind == wire.ACK:  # nearly all
                    self._outcomes.append((lease, Ack(fields[0], ran)))
                    continue
                self._outcomes.append((lease, wire.unpack(kind, tuple(fields))))
                note(self.timings, *self._outcomes[-1], ran)

    # -- as time passes ----------------------------------------------------------------------------------------------

    def tend(self, now: float) -> float | None:
        times = [self._enforce_hard_limit(child, now) for child in self._children]
        times += [self._rebalance(child, now) for child in self._children]
        for child in tuple(self._children):
            if child.has_more or child.pidfd < 0 or child.retired:
                times.append(self._look_after(child, now))
        times.append(self._replace_missing(now))
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
        self._outcomes += [(lease, Release()) for lease in self._again]
        self._again = []

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
        if not unstarted:
            return None
        if any(not other.leases and not other.retired for other in self._children):
            self._let_rest(child, unstarted, now)
            self._again += child.take_back()
        elif stalled_s >= LONG_S:
            self._let_rest(child, unstarted, now)
            self._outcomes += [(lease, Release()) for lease in child.take_back()]
            return None
        return child.progress_at + LONG_S

    def _let_rest(self, child: Handle, unstarted: int, now: float) -> None:
        """Give nothing for a while to a child that does not even begin: it is stopped, or was just forked."""
        if unstarted == len(child.leases):
            child.failed_to_start += 1
            child.rests_until = now + min(STALLED_S * 2**child.failed_to_start, LONGEST_REST_S)

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
            overdue = [step for step in child.steps() if step.deadline and now >= step.deadline + GRACE_S]
            if overdue and not child.killed:
                child.overdue = overdue[0]
                text = "Step %s given up: its timeout was over %.0f s ago, and it does not yield; killing process %s"
                logger.error(text, overdue[0].name, GRACE_S, child.pid)
                child.kill()

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
                child.terminated = (running, outcome)
                child.terminate(signum)
        return True

    # -- children come and go ----------------------------------------------------------------------------------------

    def _missing(self) -> bool:
        return sum(not child.retired for child in self._children) < self.size

    def _fork_missing(self) -> None:
        while self._missing():
            announce.worker_before_create_process.send(sender=self)
            try:
                child = fork_child(
                    self._app, self._settings, self._children, number=self._forked + 1, let_go=self._loop.let_go,
                    handle=self.handle,
                )  # fmt: skip
            except OSError as exc:  # no process, memory or descriptor left: some will be free again
                n, reason = len(self._children), exc.strerror or exc
                logger.error("%d of %d worker processes run, trying again: %s", n, self.size, reason)  # noqa: TRY400
                self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LAST_PAUSE_S)
                self._fork_at = time.monotonic() + self._pause_s
                return
            self._forked += 1
            self._children.append(child)
            self._loop.watch(child.sock.fileno(), lambda c=child: self._on_socket(c))  # type: ignore[misc]
            if child.pidfd >= 0:
                self._loop.watch(child.pidfd, lambda c=child: self._bury(c))  # type: ignore[misc]

    def _on_socket(self, child: Handle) -> None:
        self._receive(child)
        if child.hung_up:
            # A killed process is torn down for some milliseconds between this and its end; no need to spin meanwhile.
            self._loop.unwatch(child.sock.fileno())

    def _bury(self, child: Handle, status: int | None = None) -> None:
        """Take over from a child that has ended: reports count, leases not started come back, the others crashed."""
        self._receive(child)
        if status is None:
            status = child.exit_status()
        self._unwatch(child)
        self._again += child.take_back()
        started = [lease for lease, _ in child.leases.values()]
        blamed = self._blamed(child, started)
        for lease in started:
            if lease not in blamed:  # run again, unless that was promised not to be
                self._outcomes.append((lease, Release(crashed=bool(lease.flags & Flag.EARLY_ACK))))
        for lease in blamed:
            ran_s = time.monotonic() - child.progress_at
            self.timings[lease.token] = (self._app.clock.now_ms() - int(ran_s * 1000), ran_s)
            self._outcomes.append((lease, self._fate(child, lease, status)))
        self._children.remove(child)
        child.close()
        if not self._stopping:
            self.exits[_reason(child, status)] += 1
        self._pause_after(child, bool(started))
        if status and not self._stopping:
            log_end(child, status, blamed)

    def _blamed(self, child: Handle, started: Sequence[Lease]) -> list[Lease]:
        """Those of the leases that a child had started which it ran when it ended.

        It runs one at a time: those before the last had come to an end, but their reports were still deferred.
        """
        return list(started[-1:])

    def _unwatch(self, child: Handle) -> None:
        self._loop.unwatch(child.sock.fileno())
        if child.pidfd >= 0:
            self._loop.unwatch(child.pidfd)

    def _fate(self, child: Handle, lease: Lease, status: int | None) -> Outcome:
        if self._stopping:  # killed by a cold shutdown, not by its task
            return Release(crashed=bool(lease.flags & Flag.EARLY_ACK))
        if child.terminated is not None and child.terminated[0] == lease.token:
            return child.terminated[1](lease)
        if child.overdue is not None and child.overdue.token == lease.token:
            return timed_out(child.overdue, self._app.clock.now_ms())
        if lease.flags & Flag.RUN:
            steps = [step for step in child.steps() if step.token == lease.token]
            return lost_in_a_run(lease, steps, f"ended with {describe(status)}{child.left_behind}")
        if child.hard_limit is not None and time.monotonic() >= child.hard_limit[1]:
            return over_limit(self._app, lease, TimeLimitExceeded(child.hard_limit[2]), self._settings.hostname)
        text = f"the process that ran {lease.task}[{lease.id}] ended with {describe(status)}{child.left_behind}"
        return crashed(self._app, lease, WorkerLostError(text, status), self._settings.hostname)

    def _pause_after(self, child: Handle, executed: bool) -> None:
        """Set when a child is replaced: at once, but after longer and longer pauses where it cannot even start."""
        lived_s = time.monotonic() - child.born_at
        if executed or lived_s > 1.0 or child.has_reported:
            self._pause_s = 0.0
        else:
            self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LAST_PAUSE_S)
        self._fork_at = time.monotonic() + self._pause_s

    def resize(self, size: int) -> None:
        self.size = size
        for child in [child for child in self._children if not child.retired][size:]:
            self._retire(child)
        self._fork_at = 0.0

    def renew(self) -> None:
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
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            self._bury(child)

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


def _reason(child: Handle, status: int | None) -> str:
    """The reason of a child's end, for `Pool.exits`."""
    if child.terminated is not None:
        return "terminated"
    if child.overdue is not None or (child.hard_limit is not None and time.monotonic() >= child.hard_limit[1]):
        return "time_limit"
    return "crash" if status else "replaced"
