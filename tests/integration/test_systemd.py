"""The units of contrib/deploy under a real systemd: they start, are watched, restarted, and rolled under load."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .systemd_machine import DEPLOY, Machine, is_possible
from .worker_process import wait_for

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not is_possible(), reason="starts a systemd in namespaces: needs systemd, root and a cgroup"),
]

SHOP = """
import time
from pathlib import Path
from liteq import LiteQ

app = LiteQ("shop")
app.conf.beat_schedule = {"look": {"task": "shop.add", "schedule": 3600.0, "args": (1, 1)}}


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def note(n: int) -> None:
    with Path("/var/lib/liteq/notes").open("a") as notes:
        notes.write(f"{n}\\n")
    time.sleep(0.02)
"""
SEND = """
import select, sys, shop
n = 0
while not select.select([sys.stdin], [], [], 0.02)[0]:
    shop.note.delay(n)
    print(n, flush=True)
    n += 1
"""
ONE, TWO = "liteq-worker@1.service", "liteq-worker@2.service"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, SHOP)
    try:
        made.booted()
        yield made
    finally:
        made.close()


def test_the_units_start_and_say_what_they_do(machine):
    machine.systemctl("start", ONE, "liteq-beat")
    assert machine.liteq("call", "shop.add", "--args", "[1, 2]", "--wait").stdout.strip().endswith("3")
    assert {machine.shown(unit, "ActiveState") for unit in (ONE, "liteq-beat")} == {"active"}
    wait_for(lambda: machine.shown(ONE, "StatusText").startswith("ready: 0 tasks running"))
    assert machine.shown("liteq-beat", "StatusText") == "sends periodic tasks when they come due"
    assert "worker-1@" in machine.liteq("inspect", "workers").stdout
    machine.systemctl("stop", ONE, "liteq-beat")
    assert {machine.shown(unit, "Result") for unit in (ONE, "liteq-beat")} == {"success"}
    assert "Warm shutdown" in machine.log()


def test_the_dashboard_starts(machine):
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    tokens = machine.folder / "etc" / "tokens.json"
    tokens.write_text('{"a-long-token": {"name": "ann", "rights": ["view"]}}')
    tokens.chmod(0o600)
    os.chown(tokens, 65534, 65534)
    unit = machine.folder / "units" / "liteq-dashboard.service"
    with socket.create_server(("127.0.0.1", 0)) as free:  # the machine shares the network, and others test beside it
        port = free.getsockname()[1]
    text = unit.read_text()
    assert "--port 8765" in text
    unit.write_text(text.replace("--port 8765", f"--port {port}"))
    machine.systemctl("daemon-reload")
    machine.systemctl("start", ONE, "liteq-dashboard")
    assert machine.shown("liteq-dashboard", "StatusText") == f"serves http://127.0.0.1:{port}/"


@pytest.mark.nightly
def test_backups_are_made_and_alerts_are_watched_for(machine):
    machine.systemctl("start", ONE, "liteq-backup", "liteq-alert")
    copies = machine.root / "var/lib/liteq-backups"
    wait_for(lambda: copies.exists() and list(copies.glob("*.db")), what="the first copy")
    assert copies.stat().st_mode & 0o777 == 0o750
    for unit in ("liteq-backup", "liteq-alert"):
        assert (machine.shown(unit, "ActiveState"), machine.shown(unit, "NRestarts")) == ("active", "0"), machine.log()


@pytest.mark.nightly
def test_a_worker_that_stands_still_is_ended_and_started_again(machine):
    machine.drop_in("liteq-worker@.service", "[Service]\nWatchdogSec=3\nRestartSec=0\n")
    machine.systemctl("start", ONE)
    before = machine.pid(ONE)
    os.kill(before, signal.SIGSTOP)
    wait_for(lambda: machine.shown(ONE, "NRestarts") == "1")
    wait_for(lambda: machine.shown(ONE, "SubState") == "running")
    assert machine.pid(ONE) != before
    assert machine.liteq("call", "shop.add", "--args", "[1, 2]", "--wait").stdout.strip().endswith("3")


def test_a_worker_that_cannot_start_is_not_started_again(machine):
    (machine.folder / "shop.py").write_text("app = None\n")
    assert machine.systemctl("start", ONE, check=False).returncode != 0
    assert (machine.shown(ONE, "ActiveState"), machine.shown(ONE, "NRestarts")) == ("failed", "0")


class Sender:
    """Sends a task each 20 ms, from a process of its own, until it is told to end."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        (machine.folder / "send.py").write_text(SEND)
        self._process = machine.python("send.py")
        self._accepted: list[int] | None = None

    def end(self) -> list[int]:
        """End it; the numbers that were accepted."""
        if self._accepted is None:
            self._accepted = [int(line) for line in self._process.communicate()[0].splitlines()]
        return self._accepted

    def notes(self) -> list[int]:
        path = self._machine.root / "var/lib/liteq/notes"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def sender(machine: Machine) -> Iterator[Sender]:
    made = Sender(machine)
    yield made
    made.end()


@pytest.mark.nightly
@pytest.mark.parametrize("workers", [1, 2])
def test_a_rolling_restart_runs_each_task_once(machine, workers, request):
    units = [ONE, TWO][:workers]
    machine.systemctl("start", *units)
    sender = request.getfixturevalue("sender")
    wait_for(lambda: len(sender.notes()) > 20)
    before = {unit: machine.pid(unit) for unit in units}
    said = machine.command(str(DEPLOY / "systemd" / "rolling-restart")).stdout
    assert said == "".join(f"{unit}: restarted\n" for unit in units)
    accepted = sender.end()
    wait_for(lambda: len(sender.notes()) >= len(accepted))
    assert sorted(sender.notes()) == accepted, "each once"
    assert all(machine.pid(unit) != pid for unit, pid in before.items())
    active = machine.systemctl("list-units", "--plain", "--no-legend", "--state=active", "liteq-worker@*").stdout
    assert [line.split()[0] for line in active.splitlines()] == units, "the stand-in has gone"


@pytest.mark.nightly
def test_a_rolling_restart_stops_at_the_first_that_does_not_start(machine):
    machine.systemctl("start", ONE, TWO)
    before = machine.pid(TWO)
    (machine.folder / "shop.py").write_text("app = None\n")
    assert machine.command(str(DEPLOY / "systemd" / "rolling-restart"), check=False).returncode != 0
    assert machine.pid(TWO) == before, "the other one works on, with the code of before"


def test_without_workers_there_is_nothing_to_restart(machine):
    done = machine.command(str(DEPLOY / "systemd" / "rolling-restart"), check=False)
    assert (done.returncode, done.stderr.count("systemctl start")) == (69, 1)
