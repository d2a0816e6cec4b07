"""SIGKILL at random where children are started afresh: children, the fork server between, the worker alone."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Drill, check_nothing_lost, children_of, kill_group, wait_for
from .nursery import Process
from .sizes import size

KILLS = size("AFRESH_KILLS", 8, 500)

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc"),
]


@pytest.fixture(params=["forkserver", "spawn"])
def drill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drill]:
    settings = {
        "LITEQ_MAX_CRASHES": "1000", "LITEQ_MAX_REAPS": "1000", "LITEQ_VISIBILITY_TIMEOUT": "600",
        "LITEQ_WORKER_POOL_START_METHOD": request.param,
    }  # fmt: skip
    drill = Drill(tmp_path, forked=True, settings=settings)
    drill.storage().close()
    yield drill
    drill.close()


def below(pid: int) -> list[int]:
    """All processes below `pid`, the nearest first."""
    children = children_of(pid)
    return children + [one for child in children for one in below(child)]


def lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def let_pass(drill: Drill, executions: int) -> None:
    """Wait for so many executions more."""
    enough = drill.executions() + executions
    wait_for(lambda: drill.executions() > enough, within_s=60)


def kill_alone(drill: Drill, worker: Process) -> Process:
    """SIGKILL the worker and nothing that it started, which must end with it; another worker."""
    orphans = below(worker.pid)
    worker.kill()
    worker.wait()
    wait_for(lambda: not any(map(lives, orphans)))
    return drill.worker()


def test_nothing_is_lost_and_nobody_is_left(drill: Drill) -> None:
    rng = random.Random(5)
    worker = drill.worker()
    producer = drill.producer(0)
    for _ in range(KILLS):
        let_pass(drill, rng.randrange(20))
        if rng.random() < 0.2:
            worker = kill_alone(drill, worker)
        elif processes := below(worker.pid):  # the fork server among them
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(processes), signal.SIGKILL)
    kill_group(producer)
    drill.wait_until_settled(within_s=120)
    processes = below(worker.pid)
    assert drill.stop(worker) == 0
    wait_for(lambda: not any(map(lives, processes)))
    assert check_nothing_lost(drill)["accepted"] > KILLS
