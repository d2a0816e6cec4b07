"""SIGKILL at random: children, parents, producers, in the middle of chains and chords."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Drill, check_nothing_lost, kill_group, kill_one_child, wait_for
from .sizes import size

KILLS = size("KILLS", 15, 5_000)

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc"),
]


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    # Thousands of kills hit one message three times by chance, which is what makes it a dead letter: a test of its own.
    # And leases outlast the test: what is back was given back because its worker has died.
    patience = {"LITEQ_MAX_CRASHES": "1000", "LITEQ_MAX_REAPS": "1000", "LITEQ_VISIBILITY_TIMEOUT": "600"}
    drill = Drill(tmp_path, forked=True, settings=patience)
    drill.storage().close()
    yield drill
    drill.close()


def let_pass(drill: Drill, executions: int) -> None:
    """Wait for so many executions more."""
    enough = drill.executions() + executions
    wait_for(lambda: drill.executions() > enough, within_s=60)


def test_nothing_is_lost_when_children_are_killed(drill: Drill) -> None:
    rng = random.Random(1)
    worker = drill.worker()
    producer = drill.producer(0)
    let_pass(drill, 20)
    for _ in range(KILLS):
        kill_one_child(worker, rng)
        let_pass(drill, rng.randrange(10))
    kill_group(producer)
    drill.wait_until_settled(within_s=90)
    assert drill.stop(worker) == 0
    counted = check_nothing_lost(drill)
    assert counted["accepted"] > 20


def test_nothing_is_lost_when_workers_are_killed_whole(drill: Drill) -> None:
    rng = random.Random(2)
    worker = drill.worker()
    producer = drill.producer(0)
    for _ in range(KILLS):
        let_pass(drill, rng.randrange(30))
        kill_group(worker)
        worker = drill.worker()
    kill_group(producer)
    drill.wait_until_settled(within_s=90)
    assert drill.stop(worker) == 0
    check_nothing_lost(drill)


def test_what_a_killed_producer_reported_is_there(drill: Drill) -> None:
    rng = random.Random(3)
    worker = drill.worker()
    for n in range(KILLS):
        producer = drill.producer(n)
        out = drill.folder / f"producer-{n}"
        lines = rng.randrange(1, 40)
        wait_for(lambda: out.read_text().count("\n") >= lines, within_s=60)
        kill_group(producer)
    drill.wait_until_settled(within_s=90)
    assert drill.stop(worker) == 0
    assert check_nothing_lost(drill)["accepted"] >= KILLS


def test_nothing_is_lost_when_anything_is_killed(drill: Drill) -> None:
    """Two workers and two producers; each time a child, a parent alone, a whole worker or a producer."""
    rng = random.Random(4)
    workers = [drill.worker(), drill.worker()]
    producers = [drill.producer(n) for n in range(2)]
    for n in range(KILLS):
        let_pass(drill, rng.randrange(20))
        i = rng.randrange(2)
        match rng.choice(["child", "parent", "worker", "producer"]):
            case "child":
                kill_one_child(workers[i], rng)
            case "parent":
                workers[i].kill()
                workers[i].wait()
                workers[i] = drill.worker()
            case "worker":
                kill_group(workers[i])
                workers[i] = drill.worker()
            case "producer":
                kill_group(producers[i])
                producers[i] = drill.producer(n + 2)
    for producer in producers:
        kill_group(producer)
    drill.wait_until_settled(within_s=90)
    storage = drill.storage()  # the last one may just have been started, and hear no signal yet
    wait_for(lambda: {w.pid for w in storage.reader.workers()} >= {worker.pid for worker in workers}, within_s=60)
    storage.close()
    assert [drill.stop(worker) for worker in workers] == [0, 0]
    assert check_nothing_lost(drill)["accepted"] >= KILLS
