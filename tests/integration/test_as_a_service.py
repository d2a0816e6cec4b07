"""A worker, a beat and a dashboard under a service manager: it hears that they are ready, live, and end.

The manager here is the socket that systemd has at its end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ

from .manager import Manager
from .worker_process import Site, wait_for

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="service managers of this kind are POSIX"),
]

WATCHDOG_S = 1.5  # a sign of life each half second


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, app="service_tasks")
    yield site
    site.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(tmp_path, watchdog_s=WATCHDOG_S) as manager:
        manager.env["WORKER_TEST_HURRY"] = (
            "liteq.cli.processes.service:STATUS_S=0.2"  # between two looks at what a worker does
        )
        yield manager


def send(site: Site, task: str, *args: object) -> str:
    return str(site.app.send_task(f"service_tasks.{task}", args=args).id)


def test_a_worker_is_ready_when_it_takes_tasks_and_tells_of_its_end(site, manager):
    worker = site.start("-c", "2", **manager.env)
    assert manager.wait("STATUS=") == "STATUS=ready: 0 tasks running, 0 done"
    assert manager.lines("READY=") == ["READY=1"]
    assert "ready." in site.log().read_text()
    running = send(site, "until", "go")
    wait_for((site.folder / "started").exists)
    worker.send_signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert manager.lines("STATUS=")[-1] == "STATUS=warm shutdown: 1 task running, 0 done"
    assert worker.poll() is None, "it finishes what runs"
    (site.folder / "go").touch()
    assert worker.wait(timeout=60) == 0
    assert site.get(running) == "done"


def test_the_status_follows_what_it_does(site, manager):
    site.start("-c", "2", **manager.env)
    manager.wait("READY=")
    send(site, "until", "go")
    manager.wait("STATUS=ready: 1 task running, 0 done")
    (site.folder / "go").touch()
    manager.wait("STATUS=ready: 0 tasks running, 1 done")
    site.app.control.broadcast("quiet")
    manager.wait("STATUS=quiet: 0 tasks running, 1 done")


def test_a_worker_of_many_files_tells_of_them(site, manager):
    tenants = [LiteQ("client", broker=f"sqlite:///{site.folder}/{name}.tenant.db") for name in ("ann", "bob")]
    for tenant in tenants:
        tenant.storage.migrate()
    (site.folder / "torn.tenant.db").write_bytes(b"no database" * 1_000)
    worker = site.start("-c", "2", "--db", f"{site.folder}/*.tenant.db", **manager.env)
    manager.wait("READY=")
    for tenant in tenants:
        assert tenant.send_task("service_tasks.environment").get(timeout=60)
        tenant.close()
    manager.wait("STATUS=ready: 0 tasks running, 3 files, 1 set aside")
    manager.forget()
    manager.wait("WATCHDOG=1", times=3)
    worker.send_signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert worker.wait(timeout=60) == 0


def test_a_program_of_a_task_cannot_speak_for_the_worker(site, manager):
    site.start("-c", "1", **manager.env)
    manager.wait("READY=")
    names = site.get(send(site, "environment"))
    assert "PATH" in names
    assert set(names).isdisjoint({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_the_watchdog_hears_nothing_of_a_loop_that_stands_still(site, manager, pool):
    site.start("-c", "1", "-P", pool, "-l", "info", **manager.env)
    manager.wait("READY=")
    manager.wait("WATCHDOG=1", times=3)
    (site.folder / "still").touch()
    send(site, "environment")
    wait_for((site.folder / "stands").exists)
    manager.forget()
    manager.listen(for_s=2 * WATCHDOG_S)  # it would be killed by now
    assert manager.heard == []
    (site.folder / "still").unlink()
    manager.wait("WATCHDOG=1")


def test_a_locked_file_is_no_reason_to_kill_a_worker(site, manager):
    """Nothing gets better by that: what runs would be killed, and the lock is another's."""
    site.start("-c", "1", **manager.env)
    manager.wait("READY=")
    send(site, "until", "go")
    wait_for((site.folder / "started").exists)
    with site.app.storage.driver.write():
        (site.folder / "go").touch()  # there is something to write now
        wait_for(lambda: "cannot be used at the moment" in site.log().read_text())
        manager.forget()
        manager.wait("WATCHDOG=1", times=3)
    manager.wait("STATUS=ready: 0 tasks running, 1 done")


def test_a_long_task_of_the_solo_pool_is_no_stuck_worker(site, manager):
    site.start("-P", "solo", **manager.env)
    manager.wait("READY=")
    send(site, "until", "go")
    wait_for((site.folder / "started").exists)
    manager.forget()
    manager.wait("WATCHDOG=1", times=3)
    (site.folder / "go").touch()


def test_a_beat_is_ready_goes_on_and_ends(site, manager):
    environ = {**os.environ, "WORKER_TEST_BROKER": site.broker, **manager.env}
    environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-m", "liteq", "-A", "service_tasks", "beat", "--max-interval", "0.2"]
    beat = subprocess.Popen(command, env=environ, cwd=site.folder)
    try:
        manager.wait("READY=1")
        manager.wait("WATCHDOG=1", times=2)
        beat.send_signal(signal.SIGTERM)
        manager.wait("STOPPING=1")
        assert beat.wait(timeout=60) == 0
    finally:
        beat.kill()
        beat.wait()


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_a_process_that_is_waited_for_does_not_leave_its_manager(site, manager, command):
    environ = {**os.environ, "WORKER_TEST_BROKER": site.broker, **manager.env}
    environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    words = [sys.executable, "-m", "liteq", "-A", "service_tasks", command, "--detach"]
    done = subprocess.run(words, env=environ, cwd=site.folder, capture_output=True, text=True)
    assert (done.returncode, "leave --detach out" in done.stderr) == (2, True)


def test_a_dashboard_is_ready_when_it_can_be_connected_to(site, manager):
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    site.app.storage.migrate()
    command = [sys.executable, "-m", "liteq", "--broker", site.broker, "dashboard", "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **manager.env}
    with subprocess.Popen(command, env=environ, cwd=site.folder, stdout=subprocess.PIPE) as dashboard:
        try:
            manager.wait("READY=1")
            status = manager.wait("STATUS=serves http://127.0.0.1:")
            assert "enter" not in status, "the link that opens it is for its terminal alone"
        finally:
            dashboard.terminate()
            dashboard.wait(timeout=60)
