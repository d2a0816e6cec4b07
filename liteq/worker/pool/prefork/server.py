"""The fork server: a small process, started afresh once, that forks children for a worker.

It has one thread and nothing of the app, so a child takes over no lock, no connection and no memory of the worker's.
The children are its own: it tells the worker of their ends. It dies with the worker, and they die with it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
import struct
import time

from setproctitle import setproctitle

from liteq.worker.pool.prefork.afresh import ends_of_child, live, python
from liteq.worker.pool.prefork.becoming import die_with_parent, leave_signals_to_parent
from liteq.worker.pool.prefork.handle import Handle, pidfd_of
from liteq.worker.pool.prefork.letter import Letter, read_letter

__all__ = ["ForkServer", "serve"]

logger = logging.getLogger("liteq.worker")

ORDER = struct.Struct("=qq")  # the number of a child, and whether it is isolated
NEWS = struct.Struct("=qq")  # a pid, and its exit status; BORN or FAILED
BORN, FAILED = 1_000, 1_001  # FAILED: an errno in the place of the pid
ENDS = 3  # descriptors of a child: its socket, its permits, its page
BIRTH_S = 10.0  # that the worker waits for a fork: a machine that pages takes its time
STUCK_S = 60.0  # after that, until a server that still does not answer is given up, with its children
LATE_S = 1.0  # between the end of a child and the news of it, at most
KILLED = -int(signal.SIGKILL)  # the end of the children of a server that has ended


class ForkServer:
    """The server as the worker sees it; started with the first child, and anew when it has died."""

    def __init__(self, letter: int, hostname: str) -> None:
        self._letter = letter
        self._hostname = hostname
        self._sock: socket.socket | None = None
        self._pid = 0
        self._ends: dict[int, int] = {}  # by pid, until they are asked for
        self._late_at = 0.0  # when the worker gave up waiting for a child that may still be born; 0.0: there is none

    def start_child(self, *, number: int, isolated: bool, make: type[Handle] = Handle) -> Handle:
        """Have a child forked; the handle on it. Raises OSError when the system has no process or memory left."""
        self._hear()
        if self._late_at and time.monotonic() >= self._late_at + STUCK_S:
            self._gone()
        if self._late_at:
            raise OSError(errno.EAGAIN, "the fork server does not answer")
        if self._sock is None:
            self._start()
        with ends_of_child() as (channel, page, shared):
            pid, pidfd = self._order(number, isolated, [channel.theirs.fileno(), channel.permits_in, shared])
        return make(pid, channel.ours, channel.permits_out, channel.permits_in, page, exits=self, pidfd=pidfd)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            call = f"serve({os.getpid()}, {self._hostname!r}"
            fds = (theirs.fileno(), self._letter)
            try:
                self._pid = python("from liteq.worker.pool.prefork.server import serve", call, fds)
            except BaseException:
                ours.close()
                raise
        self._sock = ours

    def _order(self, number: int, isolated: bool, fds: list[int]) -> tuple[int, int]:
        if self._sock is None:
            raise OSError(errno.EPIPE, "the fork server has ended")
        with contextlib.suppress(ConnectionError):  # what it still told is read below
            socket.send_fds(self._sock, [ORDER.pack(number, isolated)], fds)
        until = time.monotonic() + BIRTH_S
        while (news := self._next(until - time.monotonic())) is not None:
            pid, status, pidfd = news
            if status == FAILED:
                raise OSError(pid, os.strerror(pid))
            if status == BORN:
                self._ends.pop(pid, None)  # of one that had the number before, and was born late
                return pid, pidfd
            self._ends[pid] = status
        if self._sock is None:
            raise OSError(errno.ESRCH, "the fork server ended: it is started anew")
        self._late_at = time.monotonic()  # its children work on: they would die with it
        raise OSError(errno.EAGAIN, "the fork server does not answer")

    def _next(self, within_s: float) -> tuple[int, int, int] | None:
        """The next news: a pid, what became of it, its descriptor or -1; None where there is none in time."""
        if self._sock is None:
            return None
        self._sock.settimeout(max(within_s, 0.0))
        fds: list[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, NEWS.size, 1)
        except (TimeoutError, BlockingIOError):
            return None
        except OSError:
            data = b""
        if len(data) < NEWS.size:
            self._gone()
            return None
        for fd in fds:
            os.set_inheritable(fd, False)
        return (*NEWS.unpack(data), fds[0] if fds else -1)

    def _hear(self) -> None:
        while (news := self._next(0.0)) is not None:
            self._note(*news)

    def _note(self, pid: int, status: int, pidfd: int) -> None:
        """Take note of news while no child is being ordered: of an end, or of a birth that was given up.

        A child that comes so late finds its channel closed, and ends.
        """
        if status in (BORN, FAILED):
            self._late_at = 0.0
            if pidfd >= 0:
                os.close(pidfd)
        else:
            self._ends[pid] = status

    def _gone(self) -> None:
        """Take note that the server has ended; its children are killed by that."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            self._late_at = 0.0
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)

    # -- the ends of its children ------------------------------------------------------------------------------------

    def status_of(self, pid: int, pidfd: int) -> int | None:
        """See `Exits`."""
        self._hear()
        if pid not in self._ends and pidfd >= 0 and _is_readable(pidfd):
            self._await(pid, LATE_S)
        if pid not in self._ends and self._sock is None:
            return KILLED
        return self._ends.pop(pid, None)

    def wait(self, pid: int) -> None:
        """See `Exits`."""
        while self._sock is not None and pid not in self._ends:
            self._await(pid, LATE_S)

    def _await(self, pid: int, within_s: float) -> None:
        until = time.monotonic() + within_s
        while pid not in self._ends and (news := self._next(until - time.monotonic())) is not None:
            self._note(*news)

    def close(self) -> None:
        """End the server."""
        self._gone()


def _is_readable(fd: int) -> bool:
    poll = select.poll()  # not select.select: that takes no descriptor above 1,023
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


# -- the server ------------------------------------------------------------------------------------------------------


def serve(parent: int, hostname: str, sock: int, letter: int) -> None:
    """Fork children for `parent` as it orders, until it is gone."""
    leave_signals_to_parent()
    die_with_parent(parent)
    setproctitle(f"liteq: {hostname} fork server")
    for fd in (sock, letter):
        os.set_inheritable(fd, False)
    told = read_letter(letter)
    wake_in, wake_out = os.pipe()
    os.set_blocking(wake_in, False)
    os.set_blocking(wake_out, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
    _Server(told, socket.socket(fileno=sock), wake_in, wake_out).run()


class _Server:
    def __init__(self, letter: Letter, sock: socket.socket, wake_in: int, wake_out: int) -> None:
        self._letter = letter
        self._sock = sock
        self._wakes = (wake_in, wake_out)

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wakes[0], select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wakes[0]:
                    os.read(fd, 512)
                elif not self._obey():
                    os._exit(0)
            self._reap()

    def _obey(self) -> bool:
        """Take an order; False where the worker is gone."""
        data, fds, _, _ = socket.recv_fds(self._sock, ORDER.size, ENDS)
        if len(data) < ORDER.size:
            return False
        number, isolated = ORDER.unpack(data)
        server = os.getpid()
        try:
            if len(fds) < ENDS:
                raise OSError(errno.EMFILE, "no descriptor is left")
            pid = os.fork()
        except OSError as exc:
            self._sock.sendall(NEWS.pack(exc.errno, FAILED))
            pid = -1
        if pid == 0:
            self._sock.close()
            signal.set_wakeup_fd(-1)
            for fd in self._wakes:
                os.close(fd)
            for fd in fds:
                os.set_inheritable(fd, False)
            live(self._letter, server, number, bool(isolated), *fds)
        for fd in fds:
            os.close(fd)
        if pid > 0:
            pidfd = pidfd_of(pid)  # now: later its number may be another one's
            socket.send_fds(self._sock, [NEWS.pack(pid, BORN)], [pidfd] if pidfd >= 0 else [])
            if pidfd >= 0:
                os.close(pidfd)
        return True

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._sock.sendall(NEWS.pack(ended[0], os.waitstatus_to_exitcode(ended[1])))
