"""`liteq worker` as a process: its options, its log, its signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SHOP = """
import os
from liteq import LiteQ
from liteq.utils.log import get_task_logger

app = LiteQ("shop", broker="sqlite:///shop.db")
logger = get_task_logger(__name__)

@app.task
def add(x, y):
    logger.info("adding %s", x)
    print("a printed line")
    return x + y

@app.task
def who():
    return os.getpid()
"""
EXTRA = """
from liteq import shared_task

@shared_task
def more():
    return "more"
"""


@pytest.fixture
def liteq(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "extra.py").write_text(EXTRA)

    def call(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "liteq", *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)

    return call


@pytest.fixture
def start(liteq) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a worker, as a process group that does not survive the test."""
    started: list[subprocess.Popen[str]] = []

    def worker(*args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "liteq", *args]
        process = subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        started.append(process)
        return process

    yield worker
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def result(liteq, *args: str) -> Any:
    done = liteq("-A", "shop", "call", *args, "--wait", "--timeout", "60", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["result"]


def end(worker: subprocess.Popen[str], signum: int = signal.SIGTERM) -> tuple[int, str]:
    worker.send_signal(signum)
    output, _ = worker.communicate(timeout=60)
    return worker.returncode, output


def test_it_works_until_it_is_told_to_stop(liteq, start):
    worker = start("-A", "shop", "worker", "-c", "2", "-l", "INFO", "-n", "w1@%h")
    assert result(liteq, "shop.add", "-a", "[2, 3]") == 5
    status = liteq("-A", "shop", "status", "--json", "-t", "60")
    assert status.returncode == 0
    assert list(json.loads(status.stdout).values()) == [{"ok": "pong"}]
    (found,) = json.loads(liteq("-A", "shop", "inspect", "workers", "--json").stdout)
    assert found["name"].startswith("w1@")
    assert (found["pid"], found["pool"], found["concurrency"]) == (worker.pid, "prefork", 2)
    pong = liteq("inspect", "ping", "-A", "shop", "-t", "60")
    assert pong.returncode == 0
    assert pong.stdout.splitlines() == [f"->  {found['name']}: OK", "    pong", "", "1 node online."]
    assert json.loads(liteq("inspect", "active", "-j", "-A", "shop", "-t", "60").stdout) == {found["name"]: []}
    assert liteq("inspect", "ping", "-A", "shop", "-d", "another@host").returncode == 69

    code, log = end(worker)
    assert code == 0
    assert "ready." in log
    assert "shop.add[" in log  # the task's own logger names it
    assert "a printed line" in log
    assert liteq("-A", "shop", "status").returncode == 69


def test_its_queues_and_modules(liteq, start):
    start("worker", "-A", "shop", "-Q", "left,right", "-X", "right", "-I", "extra", "-P", "threads", "-c", "1")
    sent = liteq("-A", "shop", "call", "shop.add", "-a", "[1, 1]", "--queue", "right")
    assert result(liteq, "shop.add", "-a", "[1, 1]", "--queue", "left") == 2
    left = liteq("-b", "sqlite:///shop.db", "call", "extra.more", "--queue", "left", "--wait", "--timeout", "60")
    assert left.stdout == '"more"\n'
    assert liteq("-A", "shop", "result", sent.stdout.strip()).returncode == 75


def test_celerys_options_are_taken_and_named_once(liteq, start):
    worker = start(
        "-A", "shop", "worker", "-c", "1", "-E", "-O", "fair", "--without-gossip", "--without-mingle",
        "--without-heartbeat", "--heartbeat-interval", "5", "-S", "state.db", "--pool-start-method", "fork",
        "--disable-prefetch", "-s", "beat.db", "--scheduler", "x", "--autoscale", "2,1", "--prefetch-multiplier", "1",
        "--max-tasks-per-child", "50", "--max-memory-per-child", "900000", "--time-limit", "30", "--soft-time-limit",
        "20",
    )  # fmt: skip
    assert result(liteq, "shop.add", "-a", "[2, 2]") == 4
    code, log = end(worker, signal.SIGINT)
    assert code == 0
    named = [line for line in log.splitlines() if "without effect" in line]
    assert len(named) == 1
    assert all(name in named[0] for name in ("-O", "--statedb", "--without-gossip"))


def test_children_are_replaced_after_their_tasks(liteq, start):
    start("-A", "shop", "worker", "-c", "1", "--max-tasks-per-child", "1")
    assert len({result(liteq, "shop.who") for _ in range(3)}) == 3


def test_purge_first(liteq, start, eventually):
    old = liteq("-A", "shop", "call", "shop.add", "-a", "[1, 1]").stdout.strip()
    worker = start("-A", "shop", "worker", "-c", "1", "--purge", "--yes")
    eventually(lambda: liteq("-A", "shop", "status").returncode == 0)
    assert result(liteq, "shop.add", "-a", "[2, 2]") == 4
    assert liteq("-A", "shop", "result", old).returncode == 1
    assert "purged 1 message" in end(worker)[1]


def test_a_json_log(liteq, start):
    worker = start("-q", "-A", "shop", "worker", "-c", "1", "-l", "INFO", "--json")
    result(liteq, "shop.add", "-a", "[7, 2]")
    lines = [json.loads(line) for line in end(worker)[1].splitlines()]
    (own,) = [line for line in lines if line["message"] == "adding 7"]
    assert (own["level"], own["task"]) == ("INFO", "shop.add")


def test_in_the_background_under_a_pidfile(liteq, tmp_path, eventually):
    command = ("-A", "shop", "worker", "-c", "1", "--pidfile", "%n.pid", "-f", "%n.log", "-n", "back", "-l", "INFO")
    (tmp_path / "back.pid").write_text("999999999\n")  # of a process that died without removing it
    assert liteq(*command, "-D").returncode == 0
    pidfile = tmp_path / "back.pid"
    eventually(lambda: pidfile.exists() and pidfile.read_text() not in {"999999999\n", ""})
    pid = int(pidfile.read_text())
    try:
        assert result(liteq, "shop.add", "-a", "[2, 3]") == 5
        again = liteq(*command)
        assert again.returncode == 73
        assert f"its process {pid} lives" in again.stderr
    finally:
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: not pidfile.exists())
    assert "ready." in (tmp_path / "back.log").read_text()


def test_setup_logging_leaves_the_log_to_its_receiver(liteq, start, tmp_path):
    with (tmp_path / "shop.py").open("a") as module:
        module.write(
            "\nfrom liteq.signals import setup_logging\n"
            "@setup_logging.connect\n"
            "def mine(loglevel, **kwargs):\n"
            "    import logging, sys\n"
            "    logging.basicConfig(level=loglevel, format='mine: %(message)s', stream=sys.__stderr__)\n"
        )
    worker = start("-q", "-A", "shop", "worker", "-c", "1", "-l", "INFO")
    result(liteq, "shop.add", "-a", "[7, 2]")
    _, log = end(worker)
    assert "mine: adding 7" in log
    assert "[20" not in log


def test_beside_a_root_handler_of_the_programs_each_line_is_there_once(liteq, start, tmp_path):
    with (tmp_path / "shop.py").open("a") as module:
        module.write(
            "\napp.conf.worker_hijack_root_logger = False\n"
            "import logging, sys\n"
            "logging.basicConfig(format='mine: %(message)s', stream=sys.stderr)\n"
        )
    worker = start("-q", "-A", "shop", "worker", "-c", "1", "-l", "INFO")
    result(liteq, "shop.add", "-a", "[7, 2]")
    lines = end(worker)[1].splitlines()
    for text in ("ready.", "received", "adding 7", "a printed line"):
        assert len([line for line in lines if text in line]) == 1
    assert any(line.startswith("mine: ") and "ready." in line for line in lines)


def test_a_task_that_cannot_be_imported_stops_it_at_once(liteq):
    done = liteq("-A", "shop", "worker", "-I", "nothing_such")
    assert done.returncode == 78
    assert "nothing_such" in done.stderr.splitlines()[-1]


def test_its_start_imports_nothing_heavy(liteq):
    """rich is 50 ms, pydantic 180 ms and 20 MiB, in each child too."""
    code = (
        "import sys; from liteq.cli import main\n"
        "from liteq.worker.worker import Worker\n"
        "Worker.run = lambda self: print(sorted({'rich', 'pydantic', 'multiprocessing'} & set(sys.modules))) or 0\n"
        "main(['-A', 'shop', 'worker', '-c', '1'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "[]" in done.stdout + done.stderr
