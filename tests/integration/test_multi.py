"""`liteq multi`: workers in the background, by their names; and the shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import gethostname

import pytest

from .worker_process import lives, wait_for

SHOP = """
from liteq import LiteQ

app = LiteQ("shop", broker="sqlite:///shop.db")

@app.task
def add(x, y):
    return x + y
"""
Liteq = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def liteq(tmp_path: Path) -> Iterator[Liteq]:
    """`liteq("multi", "show", "2")` in a folder with the module `shop`; no worker survives the test."""
    (tmp_path / "shop.py").write_text(SHOP)
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def call(*args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "liteq", *args]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=paths, input=stdin
        )

    yield call
    for pidfile in tmp_path.rglob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pidfile.read_text()), signal.SIGKILL)


def pid_of(pidfile: Path) -> int:
    return int(pidfile.read_text())


def command_lines(liteq: Liteq, *words: str) -> list[str]:
    """The words of `multi show` on each node, without those that are the same for all."""
    done = liteq("multi", "show", *words)
    assert done.returncode == 0, done.stderr
    return [line.partition("--detach ")[2] for line in done.stdout.splitlines()]


@pytest.mark.celery("Workers: command line", "`multi start`, `names`, `stopwait`: workers in the background, by name")
def test_workers_are_started_by_their_names_and_ended_by_their_pidfiles(liteq, tmp_path):
    options = ("--pidfile=%n.pid", "--logfile=%n%I.log")
    started = liteq("-A", "shop", "multi", "start", "image", "video", "-c", "1", "-P:video", "threads", *options)
    assert started.returncode == 0, started.stderr
    host = gethostname()
    assert f"> image@{host}: OK" in started.stdout
    pids = [pid_of(tmp_path / name) for name in ("image.pid", "video.pid")]  # there when the command returns
    answers = wait_for(lambda: (a := liteq("-A", "shop", "status").stdout).count(": OK") == 2 and a)
    assert f"image@{host}: OK" in answers

    again = liteq("-A", "shop", "multi", "start", "image", "-c", "1", *options)
    assert again.returncode == 1
    assert f"its process {pids[0]} lives" in again.stderr

    stopped = liteq("multi", "stopwait", "image", "video", "-c", "1", *options)  # as ExecStop: the same words, no app
    assert stopped.returncode == 0, stopped.stderr
    assert f"> image@{host}: TERM -> {pids[0]}" in stopped.stdout
    assert not any(lives(pid) for pid in pids)
    assert not list(tmp_path.glob("*.pid"))
    assert (tmp_path / "image.log").exists()
    assert f"> video@{host}: DOWN" in liteq("multi", "stop", "video", *options).stdout


@pytest.mark.celery("Workers: command line", "`multi restart`, `multi kill`, and a node that cannot be started")
def test_restart_starts_what_ended_and_kill_waits_for_nothing(liteq, tmp_path):
    words = ("1", "-A", "shop", "-c", "1", "--range-prefix=w")
    assert liteq("multi", "start", *words).returncode == 0
    before = pid_of(tmp_path / "w1.pid")
    restarted = liteq("multi", "restart", *words)
    assert restarted.returncode == 0, restarted.stderr
    after = pid_of(tmp_path / "w1.pid")
    assert after != before
    assert not lives(before)
    assert liteq("multi", "kill", *words).returncode == 0
    wait_for(lambda: not lives(after), what="it was killed")

    failed = liteq("multi", "start", "x", "-A", "nowhere")
    assert failed.returncode == 1
    assert "there is no module 'nowhere'" in failed.stderr
    assert "FAILED" in failed.stdout


def test_options_for_some_nodes_only(liteq):
    first, second, third = command_lines(liteq, "3", "-A", "p", "-l", "INFO", "-c:1", "4", "-c:2-3=2", "-Q:liteq3", "x")
    assert "-n liteq1@" in first
    assert "-A p -l INFO -c 4" in first
    assert "-A p -l INFO -c 2" in second
    assert "-Q x" in third
    assert "-Q" not in first + second
    assert "--pidfile=liteq2.pid --logfile=liteq2%I.log" in second


def test_an_option_of_one_node_takes_the_place_of_that_of_all(liteq):
    jerry, tom = command_lines(liteq, "jerry", "tom", "-c", "3", "--concurrency:tom=9", "-E")
    assert "-c 3 -E" in jerry
    assert "--concurrency=9" in tom
    assert "-c 3" not in tom


def test_names_and_templates(liteq):
    assert liteq("multi", "names", "foo", "bar@x.y", "-n", "hh.example").stdout.split() == ["foo@hh.example", "bar@x.y"]
    assert liteq("multi", "expand", "/run/%n.%d", "foo@hh.example").stdout.split() == ["/run/foo.example"]
    assert "-c 3" in liteq("multi", "get", "foo", "foo", "bar", "-c", "3").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start",), "no nodes are named"),
        (("begin", "1"), "unknown action 'begin'; actions: "),
        (("show", "a", "-c:b", "2"), "unknown node 'b'; nodes: a@"),
        (("show", "a", "a"), "two nodes have one name"),
        (("show", "a", "b", "--pidfile=x.pid"), "a pidfile in common"),
        (("stop", "a", "-SIGNOTHING"), "unknown signal 'SIGNOTHING'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(liteq, words, said):
    done = liteq("multi", *words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.celery("Monitoring: command line", "`shell`: the app, its tasks and the canvas at hand")
def test_the_shell_knows_the_app_its_tasks_and_the_canvas(liteq):
    done = liteq(
        "-A", "shop", "shell", "--python", stdin="print(app.main, celery is app, add.s(2, 3).apply().get(), chord)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "shop True 5 <class 'liteq.canvas" in done.stdout
    refused = liteq("-A", "shop", "shell", "--gevent")
    assert refused.returncode == 2
