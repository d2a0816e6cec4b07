"""A child as its parent sees it: the handle by which it gets leases, and loses them again."""

from __future__ import annotations

import array
import contextlib
import fcntl
import logging
import os
import signal
import socket
import termios
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Protocol

from liteq.message import Lease, Outcome
from liteq.worker.pool.base import BUDGET_S
from liteq.worker.pool.page import Page, StepNow
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.becoming import PARENT_S_SIGNALS
from liteq.worker.pool.prefork.child import PERMIT, RECEIVE
from liteq.worker.pool.runs import GRACE_S

__all__ = ["STALLED_S", "Exits", "Handle", "pidfd_of"]

logger = logging.getLogger("liteq.worker")


STALLED_S = BUDGET_S  # a child that has reported nothing for so long may keep others' work waiting behind it
LONGEST_REST_S = 1.0  # of a child that does not begin its leases


class Exits(Protocol):
    """Tells of the ends of processes that are no children of this one."""

    def status_of(self, pid: int, pidfd: int) -> int | None:
        """The exit status of `pid`, None while it lives; its descriptor (or -1) shows its end too."""

    def wait(self, pid: int) -> None:
        """Wait until `pid` has ended."""


class Handle:
    """A child as its parent sees it: the leases that it has not reported, in the order in which it starts them."""

    def __init__(
        self,
        pid: int,
        sock: socket.socket,
        permits_out: int,
        permits_in: int,
        page: Page,
        *,
        exits: Exits | None = None,
        pidfd: int | None = None,
    ) -> None:
        """`exits`: of the process that forked it, where that is not this one; `pidfd` came from there too."""
        self.pid = pid
        self.sock = sock
        self.page = page  # shared with the child, which notes there the steps of a run
        self.pidfd = pidfd_of(pid) if pidfd is None else pidfd
        self._exits = exits
        self._permits_out = permits_out
        self._permits_in = permits_in  # our own copy of the child's end: reading it takes a permit back
        self._frames = wire.Frames()
        self._received = memoryview(bytearray(RECEIVE))
        self._outbox = bytearray()
        self.leases: dict[int, tuple[Lease, float]] = {}  # token -> lease, and how long it is expected to run
        self.load_s = 0.0
        self.progress_at = self.born_at = time.monotonic()
        self.hard_limit: tuple[int, float, float] | None = None  # token, when it is over, its seconds
        self.left_behind = ""  # by tasks that have ended, as text: threads
        self.nudged = False
        self.retired = False
        self.isolated = False  # started for one lease, and ended after it
        self.benched = False  # an isolated one runs in its place
        self.terminated: tuple[int, Callable[[Lease], Outcome]] | None = None  # token, and its outcome
        self.overdue: StepNow | None = None  # the step for which it was killed
        self.has_reported = False
        self.hung_up = False  # its end of the socket is closed: it is ending, or has ended
        self.killed = False
        self.rests_until = 0.0  # nothing is given to it before
        self.failed_to_start = 0  # how often, since its last report, it had not even begun its leases

    # -- to the child ------------------------------------------------------------------------------------------------

    def give(self, leases: list[Lease], expected_s: Callable[[str], float]) -> None:
        """Hand over `leases`, and the permits to start them."""
        if not self.leases:
            self.progress_at = time.monotonic()
        self.nudged = False
        for lease in leases:
            expected = expected_s(lease.task)
            self.leases[lease.token] = (lease, expected)
            self.load_s += expected
        self._outbox += wire.frame([tuple(lease) for lease in leases])
        self.flush()
        # A frame that did not fit is on its way: the child that has a permit waits for it.
        os.write(self._permits_out, b"".join(lease.token.to_bytes(PERMIT, "little") for lease in leases))

    def flush(self) -> None:
        """Send as much as the socket takes; `has_more` is True where something is left."""
        while self._outbox:
            try:
                sent = self.sock.send(self._outbox)
            except BlockingIOError:
                return
            except OSError:  # it died: the leases come back when it is buried
                self._outbox.clear()
                return
            del self._outbox[:sent]

    @property
    def has_more(self) -> bool:
        return bool(self._outbox)

    def unstarted(self) -> int:
        """How many of its leases the child has not started."""
        size = array.array("i", [0])
        fcntl.ioctl(self._permits_in, termios.FIONREAD, size)
        return size[0] // PERMIT

    def take_back(self) -> list[Lease]:
        """Take away the leases that the child has not started; it skips those."""
        taken = []
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._permits_in, PERMIT * 512):
                taken += [int.from_bytes(data[i : i + PERMIT], "little") for i in range(0, len(data), PERMIT)]
        return [lease for token in taken if (lease := self.forget(token)) is not None]

    def forget(self, token: int) -> Lease | None:
        """Strike a lease off; None when the child does not have it."""
        entry = self.leases.pop(token, None)
        if entry is None:
            return None
        lease, expected = entry
        self.load_s = self.load_s - expected if self.leases else 0.0
        return lease

    def idles(self, now: float) -> bool:
        """Whether it has nothing to do, and may be given something."""
        return not (self.leases or self.retired or self.benched) and self.rests_until <= now

    def let_rest(self, unstarted: int, now: float) -> None:
        """Give it nothing for a while where it does not even begin: it is stopped, or was just forked."""
        if unstarted == len(self.leases):
            self.failed_to_start += 1
            self.rests_until = now + min(STALLED_S * 2**self.failed_to_start, LONGEST_REST_S)

    def nudge(self) -> None:
        """Ask for reports that the child holds back behind a task that takes longer than expected."""
        self.nudged = True
        self.kill(signal.SIGURG)

    def terminate(self, token: int, signum: int, outcome: Callable[[Lease], Outcome]) -> None:
        """Send it a signal that is meant to end it: in place of one that it leaves to its parent, SIGKILL.

        Where it dies of that, the lease `token` ends with `outcome`. Of SIGUSR1 none dies: that is a soft limit, and
        what becomes of the process later has another reason.
        """
        if signum != signal.SIGUSR1:
            self.terminated = (token, outcome)
        self.kill(signal.SIGKILL if signum in PARENT_S_SIGNALS else signum)

    def kill(self, signum: int = signal.SIGKILL) -> None:
        self.killed = self.killed or signum == signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            if self._exits is not None and self.pidfd >= 0:  # its number may be free again: a server waits for it
                signal.pidfd_send_signal(self.pidfd, signum)
            else:
                os.kill(self.pid, signum)

    def end_overdue(self, now: float) -> None:
        """Kill it where a step of it is `GRACE_S` past its deadline at the monotonic time `now`."""
        overdue = [step for step in self.steps() if step.deadline and now >= step.deadline + GRACE_S]
        if overdue and not self.killed:
            self.overdue = overdue[0]
            text = "Step %s given up: its timeout was over %.0f s ago, and it does not yield; killing process %s"
            logger.error(text, overdue[0].name, GRACE_S, self.pid)
            self.kill()

    # -- from the child ----------------------------------------------------------------------------------------------

    def receive(self) -> list[tuple[Any, ...]]:
        """The reports that have arrived, without waiting."""
        reports: list[tuple[Any, ...]] = []
        while True:
            try:
                size = self.sock.recv_into(self._received)
            except BlockingIOError:
                break
            except OSError:
                self.hung_up = True
                break
            if not size:
                self.hung_up = True
                break
            for rows in self._frames.feed(self._received[:size]):
                reports += rows
            if size < RECEIVE:
                break
        if reports:
            self.progress_at = time.monotonic()
            self.nudged = False
            self.has_reported = True
            self.failed_to_start = 0
            self.rests_until = 0.0
        return reports

    def steps(self) -> list[StepNow]:
        """The steps of a run that it executes now, or did when it died."""
        return [step for step in self.page.steps() if step.token in self.leases] if self.leases else []

    def exit_status(self) -> int | None:
        """Its exit status as `os.waitstatus_to_exitcode` has it (negative: the signal), None while it lives."""
        if self._exits is not None:
            return self._exits.status_of(self.pid, self.pidfd)
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # other code in this process waited for it
            return 0
        return os.waitstatus_to_exitcode(status) if pid else None

    def blamed(self, started: Sequence[Lease]) -> list[Lease]:
        """Those of the leases that it had `started` to which its end is due: here, that it was executing.

        The others had come to an end, but their reports were still deferred.
        """
        return list(started[-1:])

    def wait(self) -> None:
        """Wait until it has ended, and leave its status for `exit_status`."""
        if self._exits is not None:
            self._exits.wait(self.pid)
            return
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def await_ready(self) -> None:
        """Give it nothing until its first report: it says that it has imported the app."""
        self.rests_until = inf

    def dismiss(self) -> None:
        """Let an idle child end: there will be no more permits."""
        if self._permits_out >= 0:
            os.close(self._permits_out)
            self._permits_out = -1

    def close(self) -> None:
        """Close our ends; a living child takes that as the request to end when it is idle."""
        self.sock.close()
        self.page.close()
        for fd in (self._permits_out, self._permits_in, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self._permits_out = self._permits_in = self.pidfd = -1

    def let_go(self) -> None:
        """In a sibling, just forked: drop the inherited descriptors, so that they do not keep this one alive."""
        self.close()


def pidfd_of(pid: int) -> int:
    """A descriptor that is readable once `pid` has ended; -1 where the platform has none (its socket shows it)."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
