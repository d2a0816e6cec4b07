"""The fork server as its worker sees it."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from liteq.worker.pool.prefork import server as fork_server
from liteq.worker.pool.prefork.server import BORN, ENDS, KILLED, NEWS, ORDER, ForkServer


@pytest.fixture
def high_descriptor() -> Iterator[int]:
    """One above 1,023, as a worker of some hundred processes has them; it is readable, as that of an ended process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_048:
        pytest.skip("no process here may have so many descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_048), hard))
    reading, writing = os.pipe()
    os.close(writing)
    high = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 1_500)
    yield high
    os.close(high)
    os.close(reading)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_end_of_a_child_is_asked_for_by_any_descriptor(high_descriptor):
    assert ForkServer(-1, "here").status_of(1, high_descriptor) == KILLED


class Slow:
    """A fork server that answers when the test says so."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["sleep", "60"])
        ours, self._sock = socket.socketpair()
        self.server = ForkServer(-1, "here")
        self.server._pid, self.server._sock = self.process.pid, ours

    def take_orders(self, n: int) -> None:
        for _ in range(n):
            _, fds, _, _ = socket.recv_fds(self._sock, ORDER.size, ENDS)
            for fd in fds:
                os.close(fd)

    def bear(self, pid: int) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        socket.send_fds(self._sock, [NEWS.pack(pid, BORN)], [writing])
        os.close(writing)

    def close(self) -> None:
        self.server.close()
        self._sock.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.close()


def test_a_fork_that_is_late_ends_no_child(slow, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fork_server, "BIRTH_S", 0.0)
        with pytest.raises(OSError, match="does not answer"):
            slow.server.start_child(number=1, isolated=False)
    assert slow.process.poll() is None
    with pytest.raises(OSError, match="does not answer") as refused:  # at once
        slow.server.start_child(number=2, isolated=False)
    assert refused.value.errno == errno.EAGAIN

    slow.bear(4_001)
    answer = threading.Thread(target=lambda: (slow.take_orders(2), slow.bear(4_002)))
    answer.start()
    child = slow.server.start_child(number=3, isolated=False)
    answer.join()
    child.close()
    assert child.pid == 4_002  # not the one that came late


def test_a_fork_server_that_never_answers_is_given_up(slow, monkeypatch):
    monkeypatch.setattr(fork_server, "BIRTH_S", 0.0)
    with pytest.raises(OSError, match="does not answer"):
        slow.server.start_child(number=1, isolated=False)
    monkeypatch.setattr(fork_server, "STUCK_S", 0.0)
    monkeypatch.setattr(slow.server, "_start", lambda: None)
    with pytest.raises(OSError, match="has ended"):
        slow.server.start_child(number=2, isolated=False)
    assert slow.server.status_of(4_001, -1) == KILLED
