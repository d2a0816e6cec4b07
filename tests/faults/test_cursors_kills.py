"""Interruptible tasks under kills and stops: no piece is left out, and few are done twice."""

from __future__ import annotations

import signal
import sys
from collections import defaultdict

import pytest

from liteq.states import State

from .harness import kill_group, wait_for
from .limits_crew import Crew, NewCrew
from .sizes import size

TASKS = size("CURSOR_TASKS", 8, 200)
PIECES = size("CURSOR_PIECES", 250, 2_000)
FAULTS = size("CURSOR_FAULTS", 8, 300)
ROLLS = size("CURSOR_ROLLS", 4, 50)

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by Linux's /proc"),
]


def executions(crew: Crew) -> dict[str, list[list[int]]]:
    """The pieces of each task in the order in which they were done, one list for each lease."""
    found: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for line in crew.ledger.lines("piece"):
        n, token = line.execution.split(".")
        found[line.key].setdefault(token, []).append(int(n))
    return {id_: list(by_token.values()) for id_, by_token in found.items()}


def test_no_piece_is_left_out_and_few_are_done_twice_whatever_befalls(crew_of: NewCrew) -> None:
    """Children, parents, workers killed; workers stopped, and restarted warm and cold."""
    crew = crew_of(3, 2)
    ids = [crew.module.pieces.delay(PIECES).id for _ in range(TASKS)]
    for _ in range(FAULTS):
        crew.let_pass(crew.rng.randrange(60))
        crew.befall()
    crew.go_on()
    wait_for(lambda: any(line.name == str(PIECES * 3 // 5) for line in crew.ledger.lines("piece")), within_s=60)
    for n, worker in enumerate(crew.workers):
        kill_group(worker)
        crew.workers[n] = crew.start()
    crew.settle(within_s=300)
    assert set(crew.states(ids).values()) == {State.SUCCEEDED}
    # A second between two writes, and what it may take to write: the machine has other things to do.
    most = int(2 / crew.module.PIECE_S)
    for runs in executions(crew).values():
        reached = 0
        for run in runs:
            assert run == list(range(run[0], run[0] + len(run)))
            assert run[0] <= reached, "a piece was left out"
            assert reached - run[0] <= most, "it went back further than to its last cursor"
            reached = max(reached, run[-1] + 1)
        assert reached == PIECES
    assert crew.ask("SELECT * FROM liteq_cursors") == []


def test_workers_that_take_turns_to_stop_do_each_piece_once(crew_of: NewCrew) -> None:
    """A rolling restart: no worker waits for a task, and no attempt is counted."""
    crew = crew_of(2, 2)
    ids = [crew.module.pieces.delay(PIECES).id for _ in range(4)]
    for n in range(ROLLS):
        crew.let_pass(20)
        old, crew.workers[n % 2] = crew.workers[n % 2], crew.start()
        wait_for(lambda: len(crew.storage.reader.workers()) >= 2, within_s=60)
        old.send_signal(signal.SIGTERM)
        wait_for(lambda: old.poll() is not None, within_s=60)
        assert old.poll() == 0
    assert any(state is not State.SUCCEEDED for state in crew.states(ids).values()), "too few pieces: nothing was seen"
    crew.settle(within_s=300)
    assert {tuple(n for run in runs for n in run) for runs in executions(crew).values()} == {tuple(range(PIECES))}
    records = crew.storage.reader.find_many(ids)
    assert {(one.state, one.retries, one.crashes, one.reaps) for one in records.values()} == {
        (State.SUCCEEDED, 0, 0, 0)
    }
