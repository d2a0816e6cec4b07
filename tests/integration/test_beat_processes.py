"""`liteq beat` and `liteq worker -B`, as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from liteq import LiteQ

from .engines import on_both_engines

APP = """
import os
from liteq import LiteQ

app = LiteQ("proj", broker=os.environ["PROJ_BROKER"])
app.conf.beat_schedule = {"tick": {"task": "tick", "schedule": 0.2, "args": (1,)}}

@app.task(name="tick")
def tick(n):
    with open(os.environ["PROJ_LEDGER"], "a") as ledger:
        ledger.write(tick.request.id + "\\n")
"""


def eventually(fact, within_s=60.0):
    give_up = time.monotonic() + within_s
    while not (value := fact()):
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.01)
    return value


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "ledger"
    path.touch()
    return path


@pytest.fixture
def start(tmp_path, ledger, broker):
    (tmp_path / "proj.py").write_text(APP)
    environment = {
        **os.environ,
        "PROJ_BROKER": broker,
        "PROJ_LEDGER": str(ledger),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
    }
    started = []

    def start_one(*args):
        with (tmp_path / f"log-{len(started)}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "liteq", "-A", "proj", *args],
                env=environment, cwd=tmp_path, stdout=log, stderr=log,
            )  # fmt: skip
        started.append(process)
        return process

    yield start_one
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in started:
        assert process.wait(60) == 0


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_with_beat_in_it(start, ledger, pool):
    start("worker", "-B", "-P", pool, "-c", "1")
    runs = eventually(lambda: len(found := ledger.read_text().split()) >= 3 and found)
    assert len(set(runs)) == len(runs)


@on_both_engines
def test_two_beats_and_a_worker_with_a_third_fire_once(start, ledger, broker):
    for command in (("beat",), ("beat", "--max-interval", "1"), ("worker", "-B", "-c", "1")):
        start(*command)
    eventually(lambda: len(ledger.read_text().split()) >= 10)
    app = LiteQ("proj", broker=broker, set_as_current=False)
    app.schedules.pause("tick")
    sent = app.schedules.all()[0].total_run_count
    runs = eventually(lambda: len(found := ledger.read_text().split()) >= sent and found)
    assert len(set(runs)) == len(runs) == sent
    app.close()


def test_a_schedule_that_makes_no_sense_is_one_line(tmp_path):
    (tmp_path / "proj.py").write_text(APP.replace('"schedule": 0.2', '"schedule": "often"'))
    done = subprocess.run(
        [sys.executable, "-m", "liteq", "-A", "proj", "beat"],
        env={
            **os.environ,
            "PROJ_BROKER": f"sqlite:///{tmp_path}/q.db",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "tick" in done.stderr
