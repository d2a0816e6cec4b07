"""Remote control of a worker with processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from liteq import LiteQ
from liteq.exceptions import TaskRevokedError, TimeLimitExceeded

APP = """
import os, time
from liteq import LiteQ

app = LiteQ("proj", broker=os.environ["PROJ_BROKER"])

@app.task(name="pid")
def pid():
    return os.getpid()

@app.task(name="sleep", bind=True)
def sleep(self, seconds):
    open(os.environ["PROJ_STARTED"], "a").write(self.request.id + "\\n")
    time.sleep(seconds)
"""


def eventually(fact, within_s=60.0):
    give_up = time.monotonic() + within_s
    while not (value := fact()):
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.01)
    return value


@pytest.fixture
def started(tmp_path):
    path = tmp_path / "started"
    path.touch()
    return path


@pytest.fixture
def app(tmp_path, started):
    (tmp_path / "proj.py").write_text(APP)
    app = LiteQ("client", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def worker(app, tmp_path, started):
    environment = {
        **os.environ,
        "PROJ_BROKER": app.broker_url,
        "PROJ_STARTED": str(started),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "liteq", "-A", "proj", "worker", "-c", "2", "-n", "w@here", "-l", "INFO"],
            env=environment,
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    eventually(lambda: app.control.ping(timeout=5))
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(60)


@pytest.mark.celery("Workers: control", "`revoke(id, terminate=True, signal=)` ends the process that runs it")
def test_terminate_kills_the_process_that_runs_it_and_no_other(app, worker, started, tmp_path):
    doomed, spared = (app.send_task("sleep", (120,)) for _ in range(2))
    eventually(lambda: len(started.read_text().split()) == 2)
    [answer] = app.control.revoke(doomed.id, terminate=True, reply=True, timeout=60)
    assert "ok" in answer["w@here"]
    with pytest.raises(TaskRevokedError):
        doomed.get(timeout=60)
    assert doomed.state == "REVOKED"
    [left] = app.control.inspect(timeout=60).active()["w@here"]
    assert left["id"] == spared.id
    assert app.send_task("pid").get(timeout=60), "the process is replaced"
    app.control.revoke(spared.id, terminate=True, signal="SIGKILL")
    with pytest.raises(TaskRevokedError):
        spared.get(timeout=60)
    eventually(lambda: (tmp_path / "log").read_text().count("was terminated: signal") == 2)
    assert "ERROR" not in (tmp_path / "log").read_text(), "what was asked for is no error"


def test_what_a_process_has_not_started_is_withdrawn(app, worker, started):
    running = [app.send_task("sleep", (120,)) for _ in range(2)]
    eventually(lambda: len(started.read_text().split()) == 2)
    waiting = app.send_task("sleep", (120,))
    app.control.revoke(waiting.id, reply=True, timeout=60)
    with pytest.raises(TaskRevokedError):
        waiting.get(timeout=60)
    app.control.revoke([result.id for result in running], terminate=True)
    for result in running:
        with pytest.raises(TaskRevokedError):
            result.get(timeout=60)
    assert waiting.id not in started.read_text()


def test_active_names_the_process(app, worker):
    pids = set(app.control.inspect(timeout=60).stats()["w@here"]["pool"]["processes"])
    assert len(pids) == 2
    sleeper = app.send_task("sleep", (120,))
    [active] = eventually(lambda: app.control.inspect(timeout=60).active()["w@here"])
    assert active["worker_pid"] in pids
    app.control.terminate(sleeper.id)


def test_time_limits_count_from_now_on(app, worker):
    app.control.time_limit("sleep", hard=0.2, reply=True, timeout=60)
    with pytest.raises(TimeLimitExceeded):
        app.send_task("sleep", (120,)).get(timeout=60)


def test_the_pool_grows_and_shrinks(app, worker):
    def processes():
        return len(app.control.inspect(timeout=60).stats()["w@here"]["pool"]["processes"])

    app.control.pool_grow(1, reply=True, timeout=60)
    eventually(lambda: processes() == 3)
    app.control.pool_shrink(2, reply=True, timeout=60)
    eventually(lambda: processes() == 1)
    assert app.send_task("pid").get(timeout=60)


@pytest.mark.celery("Workers: control", "`app.control.shutdown()`")
def test_shutdown_is_a_warm_one(app, worker):
    app.control.shutdown()
    assert worker.wait(60) == 0
