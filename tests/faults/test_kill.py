"""SIGKILL at random: children, parents, producers, in the middle of chains and chords."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.message import Batch, Message, new_id
from liteq.serialization import decode_error
from liteq.states import State

from .harness import Drill, check_nothing_lost, children_of, kill_group, kill_one_child, wait_for
from .sizes import size

KILLS = size("KILLS", 12, 1_000)

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc"),
]


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path)
    drill.storage().close()
    yield drill
    drill.close()


def test_nothing_is_lost_when_children_are_killed(drill: Drill) -> None:
    rng = random.Random(1)
    worker = drill.worker()
    producer = drill.producer(0)
    wait_for(lambda: len(drill.ledger()) > 20, within_s=20)
    for _ in range(KILLS):
        before = len(drill.ledger())
        kill_one_child(worker, rng)
        wait_for(lambda: len(drill.ledger()) > before + rng.randrange(10), within_s=20)
    kill_group(producer)
    drill.wait_until_settled()
    assert drill.stop(worker) == 0
    counted = check_nothing_lost(drill)
    assert counted["accepted"] > 20


def test_nothing_is_lost_when_workers_are_killed_whole(drill: Drill) -> None:
    rng = random.Random(2)
    worker = drill.worker()
    producer = drill.producer(0, limit=20 * KILLS)  # enough to be interrupted, not more to drain afterwards
    for _ in range(KILLS):
        before = len(drill.ledger())
        wait_for(lambda: len(drill.ledger()) > before + rng.randrange(30), within_s=20)
        kill_group(worker)
        worker = drill.worker()
    kill_group(producer)
    drill.wait_until_settled()
    assert drill.stop(worker) == 0
    check_nothing_lost(drill)


def test_what_a_killed_producer_reported_is_there(drill: Drill) -> None:
    rng = random.Random(3)
    worker = drill.worker()
    for n in range(KILLS):
        producer = drill.producer(n)
        out = drill.folder / f"producer-{n}"
        lines = rng.randrange(1, 40)
        wait_for(lambda: out.read_text().count("\n") >= lines, within_s=20)
        kill_group(producer)
    drill.wait_until_settled()
    assert drill.stop(worker) == 0
    assert check_nothing_lost(drill)["accepted"] >= KILLS


def test_nothing_is_lost_when_anything_is_killed(drill: Drill) -> None:
    """Two workers and two producers; each time a child, a parent alone, a whole worker or a producer."""
    rng = random.Random(4)
    workers = [drill.worker(), drill.worker()]
    producers = [drill.producer(n, limit=20 * KILLS) for n in range(2)]
    for n in range(KILLS):
        before = len(drill.ledger())
        wait_for(lambda: len(drill.ledger()) > before + rng.randrange(20), within_s=20)
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
                producers[i] = drill.producer(n + 2, limit=20 * KILLS)
    for producer in producers:
        kill_group(producer)
    drill.wait_until_settled()
    assert [drill.stop(worker) for worker in workers] == [0, 0]
    assert check_nothing_lost(drill)["accepted"] >= KILLS


def test_a_task_that_kills_its_process_is_a_dead_letter_and_others_go_on(drill: Drill) -> None:
    storage = drill.storage()
    poison = storage.enqueue(Batch([Message(new_id(), "drill_app.suicide", b"[[],{}]")]))[0]
    drill.worker()
    producer = drill.producer(0, limit=5)
    assert producer.wait(timeout=30) == 0
    drill.wait_until_settled()
    record = storage.find(poison)
    assert record is not None
    assert record.state is State.DEAD
    assert drill.ledger()[poison] == 3
    assert record.error is not None
    assert decode_error(record.error).type == "WorkerLostError"
    assert len(drill.accepted()) == 15
    assert {storage.find(a.id).state for a in drill.accepted()} == {State.SUCCEEDED}  # type: ignore[union-attr]


def test_a_killed_childs_task_is_back_within_a_second(drill: Drill) -> None:
    storage = drill.storage()
    worker = drill.worker(children=1)
    wait_for(lambda: children_of(worker.pid), within_s=10)
    task = storage.enqueue(Batch([Message(new_id(), "drill_app.wait", b"[[],{}]")]))[0]
    wait_for(lambda: drill.ledger()[task] == 1)
    (child,) = children_of(worker.pid)
    killed_at = time.monotonic()
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: drill.ledger()[task] == 2)
    assert time.monotonic() - killed_at < 1.0
