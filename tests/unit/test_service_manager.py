"""The service manager's notifications, as systemd's protocol has them."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.beat.beat import run_turns
from liteq.cli.processes.beat import run
from liteq.utils.service_manager import ServiceManager

pytestmark = pytest.mark.skipif(os.name != "posix", reason="service managers of this kind are POSIX")


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def taken(**environ: str) -> tuple[ServiceManager | None, dict[str, str]]:
    return ServiceManager.take(environ), environ


def said(heard: socket.socket) -> list[list[str]]:
    found = []
    while True:
        try:
            found.append(heard.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return found


def test_a_process_that_no_manager_started_has_none():
    assert taken(PATH="/bin") == (None, {"PATH": "/bin"})


def test_the_manager_is_taken_out_of_the_environment(heard):
    manager, left = taken(NOTIFY_SOCKET=heard.getsockname(), WATCHDOG_USEC="3000000", WATCHDOG_PID="1", HOME="/")
    assert manager is not None
    assert left == {"HOME": "/"}


@pytest.mark.parametrize("address", ["vsock:2:1234", "notify", ""])
def test_an_address_of_another_kind_is_left_alone(address):
    assert taken(NOTIFY_SOCKET=address) == (None, {})


def test_it_hears_the_life_of_a_process(heard):
    manager = ServiceManager(heard.getsockname())
    manager.ready("takes tasks")
    manager.status("takes tasks")  # as before: nothing is sent
    manager.status("1 task running")
    manager.stopping("finishes")
    manager.alive()  # it does not watch
    assert said(heard) == [
        ["READY=1", "STATUS=takes tasks"], ["STATUS=1 task running"], ["STOPPING=1", "STATUS=finishes"],
    ]  # fmt: skip


def test_a_status_cannot_forge_a_line(heard):
    ServiceManager(heard.getsockname()).status("one\nMAINPID=1")
    assert said(heard) == [["STATUS=one\\nMAINPID=1"]]


def test_signs_of_life_come_three_times_in_the_watchdog_s_time(heard):
    now = 100.0
    manager = ServiceManager(heard.getsockname(), watchdog_s=30, monotonic=lambda: now)
    for now in (100.0, 101.0, 109.9, 110.0, 125.0, 125.1):  # noqa: B007 - the manager's clock
        manager.alive()
    assert said(heard) == [["WATCHDOG=1"]] * 3


class Idle:
    """A beat with nothing to do for an hour."""

    def __init__(self) -> None:
        self.due_at = time.monotonic() + 3_600

    def turn(self) -> None: ...

    def run(self, *how, **named) -> None:
        run_turns(self, *how, **named)


def test_a_beat_that_sleeps_gives_its_signs_of_life(heard):
    stop, manager = threading.Event(), ServiceManager(heard.getsockname(), watchdog_s=0.03)
    heard.settimeout(10)
    beat = threading.Thread(target=run, args=(Idle(), stop, manager))
    beat.start()
    try:
        signs = [heard.recv(4096).partition(b"\n")[0] for _ in range(4)]
    finally:
        stop.set()
        beat.join()
    assert signs == [b"READY=1", *[b"WATCHDOG=1"] * 3]


@pytest.mark.parametrize(
    ("usec", "pid", "interval_s"),
    [
        ("30000000", "", 10.0),
        ("30000000", str(os.getpid()), 10.0),
        ("30000000", str(os.getppid()), None),
        ("0", "", None),
        ("soon", "", None),
    ],
    ids=["of nobody", "of this process", "of another", "none", "no number"],
)
def test_the_watchdog_is_that_of_this_process(usec, pid, interval_s):
    manager, _ = taken(NOTIFY_SOCKET="/nowhere", WATCHDOG_USEC=usec, WATCHDOG_PID=pid)
    assert manager is not None
    assert manager.interval_s == interval_s


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
def test_an_abstract_socket_is_one_too():
    name = f"liteq-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        ServiceManager(f"@{name}").ready("here")
        assert said(listening) == [["READY=1", "STATUS=here"]]


def test_a_manager_that_is_gone_or_does_not_read_holds_up_nobody(tmp_path, heard):
    ServiceManager(str(tmp_path / "nobody")).ready("here")
    manager = ServiceManager(heard.getsockname())
    for n in range(10_000):  # more than its socket keeps
        manager.status(str(n))
    assert said(heard)
