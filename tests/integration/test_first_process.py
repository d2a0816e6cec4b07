"""liteq as the first process of a container (PID 1): a PID namespace of its own, as a container runtime makes it."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .worker_process import HERE, Site, children_of, lives, process_state, wait_for

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def namespaces_are_there() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.skipif(not namespaces_are_there(), reason="unshare makes the PID namespace: needs its rights"),
]

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, app="service_tasks")
    yield site
    site.close()


@pytest.fixture
def start(site: Site) -> Iterator[Start]:
    """Start `liteq ...` as PID 1; what is returned is `unshare`, which ends as that does."""
    started = []

    def start(*arguments: str, **streams: object) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "WORKER_TEST_BROKER": site.broker, "LITEQ_APP": "service_tasks"}
        environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *sys.path])
        with site.log().open("wb") as log:
            options: dict[str, Any] = {"stdout": log, "stderr": log, **streams}
            process = subprocess.Popen(
                [*NAMESPACE, sys.executable, "-m", "liteq", *arguments], cwd=site.folder, env=environ, **options
            )
        started.append(process)
        return process

    yield start
    for process in started:
        for first in children_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)  # the kernel kills all others of the namespace with it
        process.wait(timeout=60)


def first_of(process: subprocess.Popen[bytes]) -> int:
    """The process that is PID 1 there, by its number here."""
    (first,) = wait_for(lambda: children_of(process.pid))
    assert f"\nNSpid:\t{first}\t1\n" in Path(f"/proc/{first}/status").read_text()
    return int(first)


def send(site: Site, task: str, *args: object) -> str:
    return str(site.app.send_task(f"service_tasks.{task}", args=args).id)


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


def ready(site: Site) -> bool:
    return "ready." in site.log().read_text()


def test_what_tasks_leave_behind_does_not_stay_as_zombies(site, start):
    worker = start("worker", "-c", "1")
    site.get(send(site, "leave_behind"))
    first = first_of(worker)
    (left,) = wait_for(lambda: [pid for pid in children_of(first) if "sleep" in name_of(pid)])
    os.kill(left, signal.SIGKILL)
    wait_for(lambda: process_state(left) is None, what="it is buried")


def test_term_lets_the_worker_finish_what_runs(site, start):
    worker = start("worker", "-c", "1")
    running = send(site, "until", "go")
    wait_for((site.folder / "started").exists)
    os.kill(first_of(worker), signal.SIGTERM)
    wait_for(lambda: "Warm shutdown" in site.log().read_text())
    (site.folder / "go").touch()
    assert worker.wait(timeout=60) == 0
    assert site.get(running) == "done"


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_term_ends_what_is_still_importing(site, start, command):
    """The kernel drops a signal to PID 1 that has no handler; the container would be killed when its time is over."""
    (site.folder / "slow-import").touch()
    process = start(command)
    wait_for((site.folder / "importing").exists)
    os.kill(first_of(process), signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM


def test_its_exit_code_is_the_worker_s(site, start):
    process = start("worker", "--no-such-option")
    assert process.wait(timeout=60) == 2
    worker = start("worker", "-c", "1")
    wait_for(lambda: ready(site))
    os.kill(first_of(worker), signal.SIGQUIT)
    assert worker.wait(timeout=60) == 1


def test_a_worker_that_is_killed_ends_the_container(site, start):
    worker = start("worker", "-c", "1")
    wait_for(lambda: ready(site))
    first = first_of(worker)
    (below,) = children_of(first)
    os.kill(below, signal.SIGKILL)
    assert worker.wait(timeout=60) == 128 + signal.SIGKILL
    assert not lives(first)


def test_ctrl_c_in_its_terminal_is_one_signal(site, start):
    """The terminal sends it to the worker as well as to the init: handed on it would be a second one, a cold end."""
    ours, theirs = pty.openpty()
    try:
        worker = start(
            "worker", "-c", "1", stdin=theirs, start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # its controlling terminal
        )  # fmt: skip
        running = send(site, "until", "go")
        wait_for((site.folder / "started").exists)
        first = first_of(worker)
        os.kill(first, signal.SIGSTOP)  # else the two may meet on their way, and be one
        os.write(ours, b"\x03")
        wait_for(lambda: "Warm shutdown" in site.log().read_text())
        os.kill(first, signal.SIGTERM)  # comes after what it has got already
        os.kill(first, signal.SIGCONT)
        wait_for(lambda: site.log().read_text().count("Warm shutdown") == 2)
        (site.folder / "go").touch()
        wait_for(lambda: not children_of(worker.pid))
        assert site.get(running) == "done"
        assert "Cold shutdown" not in site.log().read_text()
    finally:
        os.close(ours)
        os.close(theirs)
