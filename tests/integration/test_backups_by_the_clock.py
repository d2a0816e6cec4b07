"""`liteq backup --every`: a process that runs for months beside workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ

from .worker_process import Site, wait_for

KILLS = 5

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.app.storage.migrate()
    (tmp_path / "kept").mkdir()
    yield site
    site.close()


@pytest.fixture
def start(site: Site) -> Iterator[Start]:
    """`start("--every", "1s")`: the command, which writes into `kept`."""
    begun: list[subprocess.Popen[str]] = []

    def run(*args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "liteq", "-b", site.broker, "backup", "--to", "kept", *args]
        process = subprocess.Popen(command, cwd=site.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun.append(process)
        return process

    yield run
    for process in begun:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of JSON that the command writes."""
    assert process.stdout is not None
    text = process.stdout.readline()
    assert text, process.stderr.read() if process.stderr else ""
    found: dict[str, Any] = json.loads(text)
    return found


def ended(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """End the command; the lines that it has written since: on a busy machine it has made more copies."""
    process.terminate()
    out, _ = process.communicate(timeout=60)
    return [json.loads(text) for text in out.splitlines()]


def kept(site: Site) -> list[Path]:
    return sorted((site.folder / "kept").glob("queue-*.db"))


def test_the_first_comes_at_once_and_the_newest_are_kept(site, start):
    process = start("--every", "1s", "--keep", "2", "--json")
    lines = [line(process) for _ in range(4)]
    lines += ended(process)
    assert [len(one["removed"]) for one in lines[:4]] == [0, 0, 1, 1]
    assert [str(path) for path in kept(site)] == [one["path"] for one in lines[-2:]]


def test_the_first_comes_at_once_although_the_next_is_far(site, start):
    assert line(start("--every", "1d", "--json"))["bytes"] > 0


INTO_A_WAIT = """
import os, signal
from liteq.cli.processes.beat import stopped_by_signals
stop = stopped_by_signals()
with stop._cond:  # as a wait() of this thread does, for a moment
    os.kill(os.getpid(), signal.SIGTERM)
print(stop.wait(60))
"""


def test_a_signal_may_come_just_as_a_wait_holds_the_lock(site):
    command = [sys.executable, "-c", INTO_A_WAIT]
    assert subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=site.folder).stdout == "True\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(site, start, signum):
    process = start("--every", "1d", "--json")
    line(process)
    process.send_signal(signum)
    assert process.wait(timeout=60) == 0
    assert len(kept(site)) == 1
    assert not list((site.folder / "kept").glob("*.part*"))


def test_a_backup_under_load_holds_what_was_there_when_it_began(site, start):
    site.worker("-c", "1")
    before = site.send("add", 1, 2)
    site.get(before)
    process = start("--every", "1s", "--json")
    while len(kept(site)) < 2:
        site.send_many("add", [(n, n) for n in range(200)])
    process.terminate()
    process.wait(timeout=60)
    for path in kept(site):
        copy = LiteQ("copy", broker=f"sqlite:///{path}")
        assert copy.storage.driver.describe()["integrity"] == "ok"
        assert copy.AsyncResult(before).get(timeout=1) == 3
        copy.close()


def test_one_that_fails_is_told_of_and_tried_again(site, start):
    queue = site.folder / "queue.db"
    process = start("--every", "1s", "--keep", "1", "--json")
    line(process)
    good = kept(site)
    site.app.close()
    queue.rename(site.folder / "away.db")
    told: dict[str, Any] = {}
    while "error" not in told:
        told = line(process)
        good = kept(site)
    assert told["again_s"] == 1.0
    line(process)
    assert kept(site) == good
    (site.folder / "away.db").rename(queue)
    while "path" not in told:
        told = line(process)
    last = [told, *ended(process)][-1]
    assert [str(path) for path in kept(site)] == [last["path"]]


def test_a_queue_is_restored_while_it_waits(site, start):
    process = start("--every", "1d", "--json")
    path = line(process)["path"]
    site.app.close()
    wait_for(lambda: restored(site, path).returncode == 0, what="nothing has the queue open")


def restored(site: Site, path: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "liteq", "-b", site.broker, "restore", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_one_that_is_killed_leaves_no_half_backup_under_a_name(site, start):
    site.app.enqueue_many([site.app.signature("worker_tasks.echo", args=("x" * 8_000,)) for _ in range(6_000)])
    folder = site.folder / "kept"
    halves = 0
    for n in range(KILLS):
        process = start("--every", "1s", "--keep", "2", "--json")
        wait_for(lambda: list(folder.glob("*.part*")), what="a copy is being written")
        time.sleep(0.01 * n)  # further on each time
        process.kill()
        process.communicate()
        halves += len(list(folder.glob("*.part*")))
        for path in kept(site):
            assert verdict(path) == "ok"
    assert halves, "none was killed while it wrote"
    line(start("--every", "1d", "--keep", "2", "--json"))
    assert not list(folder.glob("*.part*"))
    assert len(kept(site)) <= 2


def verdict(path: Path) -> str:
    """SQLite's own word on a file, by another process."""
    program = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()
