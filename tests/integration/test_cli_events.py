"""`liteq events`, `purge`, and commands of remote control that a project has itself, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .worker_process import wait_for

SHOP = """
from liteq import LiteQ
from liteq.worker.control.panel import control_command, inspect_command

app = LiteQ("shop", broker="sqlite:///shop.db")
warmth = {"degrees": 0}

@app.task
def add(x, y):
    return x + y

@control_command(args=[("degrees", int)], signature="[DEGREES=1]")
def warm_up(state, degrees=1):
    warmth["degrees"] += degrees
    return {"ok": f"{state.hostname} is at {warmth['degrees']}"}

@inspect_command()
def temperature(state):
    return warmth
"""
CAMERA = """
from liteq.events.snapshot import Polaroid

class Camera(Polaroid):
    clear_after = True

    def on_shutter(self, state):
        for uuid, task in state.tasks_by_time():
            with open("film", "a") as film:
                film.write(f"{task.name} {task.state}\\n")
"""


class Shop:
    """A folder with the module `shop`, and processes of `liteq` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shop.py").write_text(SHOP)
        (folder / "camera.py").write_text(CAMERA)
        self.started: list[subprocess.Popen[bytes]] = []

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "liteq", "-A", "shop", *args]

    def call(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*args), capture_output=True, text=True, timeout=120, cwd=self.folder)

    def start(self, *args: str) -> Callable[[], str]:
        """Start a command that goes on; what it has written so far."""
        output = self.folder / f"output-{len(self.started)}"
        with output.open("wb") as file:
            self.started.append(
                subprocess.Popen(self.command(*args), stdout=file, stderr=file, cwd=self.folder, start_new_session=True)
            )
        return output.read_text

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    shop = Shop(tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def worker(shop: Shop) -> Callable[[], str]:
    log = shop.start("worker", "-c", "1", "-E", "-l", "INFO", "-n", "w@here")
    wait_for(lambda: "ready." in log(), what="the worker is ready")
    return log


@pytest.mark.celery("Monitoring: command line", "`events -d` writes a line for each event")
def test_events_are_written_as_they_come(shop, worker):
    words, objects = shop.start("events", "-d"), shop.start("events", "-d", "--json")
    wait_for(lambda: "starting capture" in words() and "starting capture" in objects())
    assert shop.call("call", "shop.add", "-a", "[2, 3]").returncode == 0
    wait_for(lambda: "task succeeded: shop.add(" in words())
    wait_for(lambda: '"task-succeeded"' in objects())
    lines = [json.loads(line) for line in objects().splitlines() if line.startswith("{")]
    told = [line for line in lines if line["type"].startswith("task-")]
    assert [line["type"] for line in told] == ["task-received", "task-started", "task-succeeded"]
    assert {line["hostname"] for line in told} == {"w@here"}


@pytest.mark.celery("Monitoring: command line", "`events -c CAMERA -F SECONDS` takes snapshots of what goes on")
def test_a_camera_takes_snapshots(shop, worker):
    log = shop.start("events", "-c", "camera.Camera", "-F", "0.2")
    wait_for(lambda: "Taking snapshots" in log())
    assert shop.call("call", "shop.add", "-a", "[2, 3]").returncode == 0
    film = shop.folder / "film"
    wait_for(lambda: film.exists() and "shop.add SUCCESS" in film.read_text(), what=log)


@pytest.mark.celery("Monitoring: command line", "`inspect` and `control` know the commands that a project registers")
def test_commands_of_the_project_are_asked_for_by_their_names(shop, worker):
    warmed = shop.call("control", "warm_up", "20", "-t", "60")
    assert (warmed.returncode, "w@here is at 20" in warmed.stdout) == (0, True)
    assert json.loads(shop.call("inspect", "temperature", "--json", "-t", "60").stdout) == {"w@here": {"degrees": 20}}
    refused = shop.call("control", "warm_up", "much")
    assert refused.returncode == 2
    assert "'much' does not fit degrees" in refused.stderr
    without = shop.call("inspect", "objgraph")
    assert (without.returncode, "memsample" in without.stderr) == (2, True)


def test_purge_asks_first_and_tells_how_many(shop):
    for _ in range(3):
        assert shop.call("call", "shop.add", "-a", "[2, 3]").returncode == 0
    refused = shop.call("purge")
    assert (refused.returncode, "--force" in refused.stderr) == (2, True)
    done = shop.call("purge", "-f", "--json")
    assert (done.returncode, "3" in done.stdout) == (0, True)
    assert shop.call("status").returncode == 69
