"""A worker's words: that it is ready, a line a task, JSON from the first line; its name; a restart by itself."""

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

from liteq import LiteQ

from .worker_process import wait_for

SHOP = """
import os, signal, time, warnings
from pathlib import Path
from typing import Any
from liteq import LiteQ

app = LiteQ("shop", broker="sqlite:///shop.db")
warnings.warn("an old name")

@app.task
def add(x, y):
    return x + y

@app.task
def crash():
    os.kill(os.getpid(), signal.SIGKILL)

@app.task(bind=True, max_retries=1)
def give_up(self):
    raise self.retry(exc=ValueError("no"), countdown=0)

@app.task
def until(name):
    while not Path(name).exists():
        time.sleep(0.01)
"""


class Running:
    def __init__(self, folder: Path, words: tuple[str, ...]) -> None:
        self.log = folder / f"log-{len(list(folder.glob('log-*')))}"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "liteq", "-A", "shop", *words], cwd=folder, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.log.read_text()

    def says(self, text: str, times: int = 1) -> str:
        wait_for(lambda: self.said.count(text) >= times, what=text)
        return self.said

    def end(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(timeout=60)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture
def start(site) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(*words: str) -> Running:
        started.append(Running(site, words))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()


@pytest.fixture
def app(site) -> Iterator[LiteQ]:
    app = LiteQ("client", broker=f"sqlite:///{site}/shop.db")
    yield app
    app.close()


def objects(text: str) -> list[dict[str, object]]:
    """Each line as the object that it is to be."""
    return [json.loads(line) for line in text.splitlines()]


def liteq(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "liteq", "-A", "shop", *words]
    return subprocess.run(command, cwd=site, capture_output=True, text=True, timeout=120)


def test_without_l_it_says_that_it_is_ready_and_a_line_a_task(site, start, app):
    worker = start("worker", "-c", "1")
    worker.says(f"takes from celery of {site}/shop.db, 1 at once (prefork): ready.")
    id_ = app.send_task("shop.add", (2, 3)).id
    said = worker.says(f"Task shop.add[{id_}] succeeded in ")
    assert "received" not in said


def test_l_rules_it(start, app):
    worker = start("worker", "-c", "1", "-l", "warning")
    assert app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    worker.end()
    assert "ready." not in worker.said
    assert "succeeded" not in worker.said


def test_a_setting_rules_it(site, start, app):
    (site / "conf.py").write_text("worker_log_tasks = 0")
    worker = start("--config", "conf", "worker", "-c", "1")
    assert app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    worker.end()
    assert "ready." in worker.said
    assert "succeeded" not in worker.said


def test_the_log_is_json_from_its_first_line(start, app):
    worker = start("worker", "-c", "1", "-l", "info", "--json", "-O", "fair")
    id_ = app.send_task("shop.add", (2, 3)).id
    app.send_task("shop.give_up")
    worker.says("given up after 1 retry")
    worker.end()
    lines = objects(worker.said)
    assert any("without effect" in str(line["message"]) for line in lines)
    assert any("an old name" in str(line["message"]) for line in lines)
    (ready,) = [line for line in lines if str(line["message"]).endswith("ready.")]
    assert (ready["queues"], ready["concurrency"], ready["pool"]) == (["celery"], 1, "prefork")
    of_task = [line for line in lines if line.get("task_id") == id_]
    assert [line["task"] for line in of_task] == ["shop.add"] * 3
    assert [line["event"] for line in of_task] == ["task.received", "task.started", "task.succeeded"]
    assert isinstance(of_task[2]["runtime"], float)
    assert {line["worker"] for line in of_task} == {ready["worker"]}


@pytest.mark.parametrize("words", [("worker", "--concurency", "1"), ("worker", "-P", "none"), ("beat", "--nope")])
def test_an_error_of_the_start_is_json_too(site, words):
    done = liteq(site, "--json", *words)
    assert done.returncode == 2
    (line,) = objects(done.stderr)
    assert line["level"] == "ERROR"


def test_an_app_that_cannot_be_imported_is_json_too(site):
    (site / "shop.py").write_text("import nowhere_to_be_found")
    assert [line["level"] for line in objects(liteq(site, "worker", "-j").stderr)][-1] == "ERROR"


def test_a_crash_names_its_task_and_when_it_was_given_up(start, app):
    worker = start("worker", "-c", "1")
    id_ = app.send_task("shop.crash").id
    said = worker.says("given up after 3 crashes (max_crashes): it is a dead letter now")
    assert (
        f"the process that ran shop.crash[{id_}] ended with signal SIGKILL; it runs again, after crash 1 of 3" in said
    )
    assert f"ended with signal SIGKILL, while it ran shop.crash[{id_}]" in said


def test_two_workers_started_alike_get_two_names(site, start, app):
    workers = [start("worker", "-P", "solo") for _ in range(2)]
    for worker in workers:
        worker.says("ready.")
    first, second = sorted(worker.name for worker in app.control.living())
    assert {one.partition("@")[0] for one in (first, second)} == {"liteq", "liteq-2"}
    assert list(app.control.inspect(destination=[second], timeout=60).ping()) == [second]
    assert len(app.control.inspect(timeout=60).ping()) == 2


def test_two_workers_of_one_given_name_are_warned_of(start, app):
    start("worker", "-P", "solo", "-n", "w@here").says("ready.")
    said = start("worker", "-P", "solo", "-n", "w@here").says("another worker called w@here lives")
    assert "give each a name of its own, -n NAME@%h" in said


def test_active_tasks_are_a_table(site, start, app):
    start("worker", "-c", "1").says("ready.")
    id_ = app.send_task("shop.until", ("go",)).id
    wait_for(lambda: any((app.control.inspect(timeout=60).active() or {}).values()), what="it runs")
    head, row = [line.split("\t") for line in liteq(site, "inspect", "active", "-t", "60").stdout.splitlines()]
    assert head == ["id", "task", "worker", "pid", "runs for"]
    assert row[:2] == [id_, "shop.until"]
    assert row[4].endswith(" s")
    (site / "go").touch()


@pytest.mark.parametrize("command", ["status", "inspect ping"])
def test_a_worker_that_cannot_answer_while_it_runs_a_task_lives(site, start, app, command):
    ask = [*command.split(), "-d", "one@here", "-t", "0.5"]
    start("worker", "-P", "solo", "-n", "one@here").says("ready.")
    result = app.send_task("shop.until", ("go",))
    wait_for(lambda: app.control.living()[0].leased, what="it runs")
    done = liteq(site, *ask)
    assert (done.returncode, "->  one@here: BUSY\n    runs a task" in done.stdout) == (0, True), done.stdout
    assert "heartbeat" in json.loads(liteq(site, "--json", *ask).stdout)["one@here"]["busy"]
    done = liteq(site, "inspect", "active", "-d", "one@here", "-t", "0.5")
    assert (done.returncode, "one@here: runs a task, and answers when it has ended" in done.stderr) == (69, True)
    assert liteq(site, *command.split(), "-d", "another@here", "-t", "0.5").returncode == 69
    (site / "go").touch()
    result.get(timeout=60)
    assert "->  one@here: OK" in liteq(site, *command.split(), "-d", "one@here", "-t", "60").stdout


def test_it_is_started_again_when_its_code_changes(site, start, app):
    pytest.importorskip("watchfiles", reason="needs the extra `reload`")
    worker = start("worker", "-P", "solo", "--reload")
    worker.says("ready.")
    shop = site / "shop.py"
    first = shop.stat()
    shop.write_text(SHOP.replace("return x + y", "return x * y"))
    os.utime(shop, ns=(first.st_atime_ns, first.st_mtime_ns))  # as large and as old: bytecode would be of the first
    worker.says("shop.py changed: starting the worker again")
    worker.says("ready.", times=2)
    assert app.send_task("shop.add", (3, 4)).get(timeout=60) == 12
    (site / "shop.py").write_text("a mistake")
    worker.says("waiting for the code to change")
    (site / "shop.py").write_text(SHOP)
    worker.says("ready.", times=3)
    assert worker.end(signal.SIGINT) == 0


def test_it_is_not_started_again_when_it_is_to_end_meanwhile(site, start, app):
    pytest.importorskip("watchfiles", reason="needs the extra `reload`")
    worker = start("worker", "-c", "1", "--reload")
    worker.says("ready.")
    result = app.send_task("shop.until", ("go",))
    wait_for(lambda: any((app.control.inspect(timeout=60).active() or {}).values()), what="it runs")
    (site / "shop.py").write_text(SHOP + "\n")
    worker.says("Warm shutdown")
    worker.process.send_signal(signal.SIGTERM)
    (site / "go").touch()
    assert worker.process.wait(timeout=60) == 0
    assert worker.said.count("ready.") == 1
    assert result.successful()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["beat", "-n", "b1"], {"schedules": 0, "db": []}),
        (["gateway", "--port", "0"], {}),
        (
            ["relay", "--to", "http://127.0.0.1:9", "-n", "r1"],
            {"queues": ["celery"], "to": "http://127.0.0.1:9", "results": False},
        ),
    ],
)
def test_a_process_tells_as_json_that_it_has_begun(site: Path, words: list[str], told: Any) -> None:
    subprocess.run([sys.executable, "-m", "liteq", "-A", "shop", "migrate"], cwd=site, check=True, capture_output=True)
    command = [sys.executable, "-m", "liteq", "-A", "shop", "--json", *words]
    process = subprocess.Popen(command, cwd=site, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        assert {name: found[name] for name in told} == told
        assert set(found) - set(told) == ({"url"} if words[0] == "gateway" else {"name"})
    finally:
        process.kill()
        process.communicate()
