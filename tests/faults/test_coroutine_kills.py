"""SIGKILL at random where each process runs a hundred coroutines: by one of them, and from outside."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.states import State

from .harness import Drill, integrity, kill_group, kill_one_child, wait_for
from .sizes import size

KILLS = size("COROUTINE_KILLS", 6, 300)
AT_ONCE, MAX_CRASHES = 100, 4

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by Linux's /proc"),
]


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    settings = {
        "LITEQ_WORKER_POOL": "asyncio", "LITEQ_WORKER_COROUTINES": str(AT_ONCE),
        "LITEQ_MAX_CRASHES": str(MAX_CRASHES), "LITEQ_MAX_REAPS": "1000", "LITEQ_VISIBILITY_TIMEOUT": "600",
    }  # fmt: skip
    drill = Drill(tmp_path, forked=True, settings=settings)
    drill.storage().close()
    yield drill
    drill.close()


def test_the_guilty_are_buried_and_no_other_is_lost(drill: Drill) -> None:
    """A kill from outside is charged to the one coroutine that took a step then, if there was one."""
    rng = random.Random(19)
    storage = drill.storage()
    worker = drill.worker()
    guilty: list[str] = []
    others: list[str] = []
    for i in range(KILLS):
        seen = drill.executions()
        others += [drill.send(storage, "wait_a_while", rng.uniform(0.0, 0.5)) for _ in range(AT_ONCE)]
        wait_for(lambda: drill.executions() > seen, within_s=60)
        match i % 3:
            case 0:
                guilty.append(drill.send(storage, "suicide_in_company"))
            case 1:
                kill_one_child(worker, rng)
            case 2:
                kill_group(worker)
                worker = drill.worker()
    drill.wait_until_settled(within_s=120)

    records = storage.reader.find_many([*others, *guilty])
    assert {records[id_].state for id_ in others} == {State.SUCCEEDED}
    assert sum(records[id_].crashes for id_ in others) <= KILLS / 3, "no more than there were kills from outside"
    assert {records[id_].state for id_ in guilty} == {State.DEAD}
    assert all(drill.ledger()[id_] >= MAX_CRASHES for id_ in guilty)
    storage.close()
    assert drill.stop(worker) == 0
    assert integrity(drill.db) == "ok"
