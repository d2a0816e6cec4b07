"""The cost of a task to the worker's main process while there is no other, in counts that are the same everywhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.message import new_id

from .worker_process import HERE, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts of Linux's kernel")
TASKS = 25
STATEMENTS_OF_A_SECOND = 80  # that belong to no task
OF_A_SECOND = 200  # system calls that belong to no task: the looks of each second


class Counted:
    """A worker that counts, and a sender to it."""

    def __init__(self, folder: Path, driver: str) -> None:
        broker = f"sqlite:///{folder}/queue.db?driver={driver}"
        self.app = LiteQ("client", broker=broker)
        self.file = folder / "counts"
        self.file.write_bytes(bytes(16))
        log = folder / "log"
        environment = {
            **os.environ,
            "COUNTED_BROKER": broker,
            "COUNTED_FILE": str(self.file),
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        }
        command = [sys.executable, "-m", "liteq", "-A", "counted_tasks", "worker", "-c", "2"]
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=out)
        wait_for(lambda: "ready." in log.read_text() or self.process.poll() is not None, what="a worker is ready")
        assert self.process.poll() is None, log.read_text()
        for _ in range(5):
            self.run("nothing")

    def run(self, task: str, *args: object) -> object:
        return self.app.send_task(f"counted_tasks.{task}", args=args, task_id=new_id()).get(timeout=60)

    def statements(self) -> int:
        return memoryview(self.file.read_bytes()).cast("q")[0]

    def sent(self) -> int:
        return memoryview(self.file.read_bytes()).cast("q")[1]

    def page_faults(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[7])

    def is_asleep(self) -> bool:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    def each(self, count: Callable[[], int]) -> int:
        """By how much `count` goes up with a task that comes alone; of some, with which little else may fall in."""
        found = []
        for _ in range(TASKS):
            before = count()
            self.run("nothing")
            wait_for(self.is_asleep)
            found.append(count() - before)
        return sorted(found)[TASKS // 4]  # the slower a machine, the more of them meet the looks of each second

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.app.close()


@pytest.fixture(params=["apsw", "stdlib"])
def counted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Counted]:
    worker = Counted(tmp_path, request.param)
    yield worker
    worker.close()


def test_an_idle_task_costs_the_worker_five_statements(counted: Counted) -> None:
    """BEGIN, SELECT, UPDATE, COMMIT and the acknowledgement; each second a few more, which are no task's."""
    assert counted.each(counted.statements) == 5


def test_the_sums_of_tasks_are_no_statements_of_theirs(counted: Counted) -> None:
    """They are written once a second; what else a worker looks at each second is in the figure too."""
    began, before = time.monotonic(), counted.statements()
    for _ in range(5 * TASKS):
        counted.run("nothing")
    seconds = time.monotonic() - began
    assert counted.statements() - before - 5 * 5 * TASKS < STATEMENTS_OF_A_SECOND * (seconds + 1)


def test_an_idle_task_costs_the_worker_less_than_five_page_faults(counted: Counted) -> None:
    assert counted.each(counted.page_faults) < 5


@pytest.mark.skipif(shutil.which("strace") is None, reason="the system calls are counted by strace, which is not here")
def test_an_idle_task_costs_the_worker_less_than_sixty_system_calls(counted: Counted, tmp_path: Path) -> None:
    tasks = 8 * TASKS  # so that a second's chores, which may fall into however short a time, are little beside them
    summary = tmp_path / "summary"
    command = ["strace", "-c", "-o", str(summary), "-p", str(counted.process.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        if "attached" not in (said := strace.stderr.readline()):
            pytest.skip(f"strace may not look into another process here: {said}")
        started = time.monotonic()
        for _ in range(tasks):
            counted.run("nothing")
        seconds = time.monotonic() - started
        strace.send_signal(signal.SIGINT)
        strace.wait(timeout=60)
    calls = int(summary.read_text().splitlines()[-1].split()[3])
    assert calls / tasks > 20
    assert (calls - OF_A_SECOND * (seconds + 1)) / tasks < 60


def test_large_arguments_do_not_pass_the_worker(counted: Counted) -> None:
    before = counted.sent()
    assert counted.run("length", "x" * 100_000) == 100_000
    assert 0 < counted.sent() - before < 1_000
