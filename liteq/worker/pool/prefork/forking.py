"""Forking: a child's start, and the handle by which its parent gives it leases and takes them back."""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import logging
import os
import signal
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from setproctitle import setproctitle

from liteq import signals as announce
from liteq.context import App
from liteq.message import Lease, Outcome
from liteq.utils import imports
from liteq.utils.records import NamedTuple
from liteq.worker.pool.page import Page, StepNow
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.child import PERMIT, RECEIVE, ChildSettings, child_of
from liteq.worker.pool.prefork.descriptors import make_room

__all__ = ["Handle", "fork_child"]

logger = logging.getLogger("liteq.worker")

IMPORT_S = 5.0  # that a fork waits for a thread of the parent to end its imports
PARENT_S_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


class Handle:
    """A child as its parent sees it: the leases that it has not reported, in the order in which it starts them."""

    def __init__(self, pid: int, sock: socket.socket, permits_out: int, permits_in: int, page: Page) -> None:
        self.pid = pid
        self.sock = sock
        self.page = page  # shared with the child, which notes there the steps of a run
        self.pidfd = _pidfd(pid)
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

    def nudge(self) -> None:
        """Ask for reports that the child holds back behind a task that takes longer than expected."""
        self.nudged = True
        self.kill(signal.SIGURG)

    def terminate(self, signum: int) -> None:
        """Send it a signal that is meant to end it: in place of one that it leaves to its parent, SIGKILL."""
        self.kill(signal.SIGKILL if signum in PARENT_S_SIGNALS else signum)

    def kill(self, signum: int = signal.SIGKILL) -> None:
        self.killed = self.killed or signum == signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

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
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # other code in this process waited for it
            return 0
        return os.waitstatus_to_exitcode(status) if pid else None

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


def _pidfd(pid: int) -> int:
    """A descriptor that is readable once `pid` has ended; -1 where the platform has none (its socket shows it)."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


class _Channel(NamedTuple):
    """The way between a parent and a child, both ends: a socket for leases and reports, a pipe for permits."""

    ours: socket.socket
    theirs: socket.socket
    permits_in: int
    permits_out: int

    @classmethod
    def open(cls) -> _Channel:
        """Open both ends. Raises OSError when no descriptor is left."""
        ours, theirs = socket.socketpair()
        try:
            return cls(ours, theirs, *os.pipe())
        except OSError:
            ours.close()
            theirs.close()
            raise

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()
        os.close(self.permits_in)
        os.close(self.permits_out)

    def keep_ours(self) -> None:
        """In the parent. It keeps the pipe's reading end too: reading it takes a permit back."""
        self.theirs.close()
        self.ours.setblocking(False)
        os.set_blocking(self.permits_in, False)

    def keep_theirs(self) -> None:
        """In the child."""
        self.ours.close()
        os.close(self.permits_out)
        os.set_blocking(self.permits_in, False)


def fork_child(
    app: App,
    settings: ChildSettings,
    siblings: Iterable[Handle],
    *,
    number: int,
    let_go: Callable[[], None],
    handle: type[Handle] = Handle,
) -> Handle:
    """Fork a child that executes leases; the parent's handle on it. `number` is never used again, also in its name.

    `let_go` closes, in the child, the other descriptors of the parent that it must not keep. The storage closes its own
    connections around each fork: a child that believed to share its parent's would hold no lock at all. Raises OSError
    when the system has no process, memory or descriptor left.
    """
    make_room()
    page = Page(shared=True)
    if not imports.settle(IMPORT_S):
        logger.warning(
            "a thread of the worker has been importing for %.0f s: a child that is forked now cannot import the same "
            "module; import it before the worker starts", IMPORT_S,
        )  # fmt: skip
    channel = _Channel.open()
    # Whatever the parent imported is there for good: keep the collector off it, and the pages shared.
    gc.collect()
    gc.freeze()
    _flush_output()
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        gc.unfreeze()
        channel.close()
        page.close()
        raise
    if pid == 0:
        status = 1
        try:
            channel.keep_theirs()
            for sibling in siblings:
                sibling.let_go()
            let_go()
            _become_child(parent, f"liteq: {settings.hostname} child {number}", f"ForkPoolWorker-{number}")
            announce.worker_process_init.send(sender=None)
            child_of(app, settings, channel.theirs, channel.permits_in, page).workloop()
            status = 0
        except BaseException:
            logger.exception("a worker process failed outside any task")
        finally:
            _leave(status)
    gc.unfreeze()
    channel.keep_ours()
    return handle(pid, channel.ours, channel.permits_out, channel.permits_in, page)


def _become_child(parent: int, title: str, name: str) -> None:
    setproctitle(title)
    _name_in_logs(name)
    # A terminal's Ctrl-C and a service manager's stop reach the whole group, but only the parent acts on them. Handlers
    # that do nothing, not SIG_IGN: that would be inherited by programs which a task starts.
    for signum in PARENT_S_SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:  # HUP under nohup: for those programs too
            signal.signal(signum, _nothing)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _leave_the_terminal()
    # Processes that a task forks are the task's: it ends them by SIGTERM (multiprocessing does), Ctrl-C ends them too.
    os.register_at_fork(before=_block_signals, after_in_parent=_unblock_signals, after_in_child=_restore_signals)
    _die_with_parent(parent)


def _leave_the_terminal() -> None:
    """Put /dev/null in the place of stdin, as multiprocessing does.

    The kernel stops a process that reads a terminal of another one (SIGTTIN), and all children with it.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # there is none, or it is no file
        if sys.stdin.fileno() == 0:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)


_blocked = threading.local()


def _block_signals() -> None:
    """Keep a signal that comes right after a fork, so that it meets the handlers which the new process is to have."""
    _blocked.mask = signal.pthread_sigmask(signal.SIG_BLOCK, PARENT_S_SIGNALS)


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _blocked.mask)


def _restore_signals() -> None:
    if threading.current_thread() is threading.main_thread():  # the thread that forked is the child's main thread
        for signum in (*PARENT_S_SIGNALS, signal.SIGURG):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _unblock_signals()


def _name_in_logs(name: str) -> None:
    """Give this process's log records Celery's name for it, `ForkPoolWorker-1`, where logging has only MainProcess."""
    make = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if record.processName == "MainProcess":
            record.processName = name
        return record

    logging.setLogRecordFactory(factory)


def _nothing(_signum: int, _frame: object) -> None:
    pass


def _die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, so that no orphan runs a task beside another worker.

    Linux only; elsewhere the child ends when it next reads its pipe.
    """
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _leave(status: int) -> None:
    """End the process without the parent's clean-up: its atexit handlers and buffers are not this process's."""
    with contextlib.suppress(Exception):
        announce.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=status)
        logging.shutdown()
    _flush_output()
    os._exit(status)


def _flush_output() -> None:
    """Write out buffered output: each forked copy would write it again."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # there is none, it is closed, or its reader has gone
            stream.flush()
