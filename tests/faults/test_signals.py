"""TERM, INT, QUIT, one or two of them, at each line that a worker's parent executes: nothing lost, nothing run twice.

A line counter in the parent sends the signal (tripwire.py), so the sweep is the same each time: from the first import
over claims, dispatch and acknowledgements to an idle worker.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq import LiteQ, chain, chord
from liteq.states import UNFINISHED, State
from liteq.storage.storage import Storage

from .harness import Drill, check_nothing_lost, integrity, wait_for
from .nursery import Process
from .sizes import size

Send = Callable[[], None]
STEPS = size("SIGNAL_STEPS", 24, 2_000) // 2  # half of them warm, half cold

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]

WARM = ["SIGTERM", "SIGINT", "SIGHUP"]
COLD = ["SIGQUIT", "SIGINT SIGINT", "SIGTERM SIGQUIT", "SIGQUIT SIGQUIT"]


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path, forked=True, settings={"DRILL_LINES": str(tmp_path / "lines")})
    drill.storage().close()
    yield drill
    drill.close()


@pytest.fixture
def send(drill: Drill) -> Iterator[Send]:
    """Send what a producer sends, a task, a chain and a chord, from here: no process to wait for."""
    app = LiteQ("sender", broker=f"sqlite:///{drill.db}")
    work, add, total = (app.signature(f"drill_app.{name}") for name in ("work", "add", "total"))

    def send() -> None:
        single = work.clone((1,)).apply_async()
        links = chain(work.clone((1,)), add.clone((1,)), add.clone((2,))).apply_async()
        body = chord([work.clone((i,)) for i in range(3)], total.clone()).apply_async()
        with (drill.folder / "producer-here").open("a") as lines:
            lines.write(f"single {single.id} 1\nchain {links.id} 4\nchord {body.id} 3\n")

    yield send
    app.storage.close()


def lines_of_a_life(drill: Drill) -> int:
    """How many lines a worker executes from its first import until it has nothing more to do."""
    worker = drill.worker(env={"DRILL_TRIPWIRE": ""})
    drill.wait_until_settled()
    assert drill.stop(worker) == 0
    return int((drill.folder / "lines").read_text())


def sweep(drill: Drill, send: Send, storage: Storage, signals: list[str]) -> Iterator[tuple[str, int]]:
    """Let a worker meet signals at one step after the other, with work to do; what it was, and how it ended."""
    rng = random.Random(6)
    send()
    lines = lines_of_a_life(drill)
    assert lines > 300, "the counter does not count"
    for n in range(STEPS):
        at = 1 + n * lines // STEPS
        names = signals[n % len(signals)].split()
        steps = [at, *(at + rng.randrange(1, 40) for _ in names[1:])]
        plan = ",".join(f"{name}@{step}{'!' * (n % 2)}" for name, step in zip(names, steps, strict=True))
        send()
        worker = drill.worker(env={"DRILL_TRIPWIRE": plan})
        yield plan, until_it_ends(worker, storage, names)
        leased = [c for c in storage.reader.counts() if c.state is State.LEASED]
        assert not leased, f"{plan}: {leased} are not back at once"
        assert storage.reader.workers() == [], f"{plan}: the worker did not sign off"


def until_it_ends(worker: Process, storage: Storage, names: list[str]) -> int:
    """Wait for the end; a worker that came to rest before the step in question hears the signals now."""
    idle_since: float | None = None
    while (status := worker.poll()) is None:
        if any(c.state in UNFINISHED for c in storage.reader.counts()):
            idle_since = None
        elif idle_since is None:
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > 0.3:
            for name in names:
                worker.send_signal(getattr(signal, name))
            return worker.wait(timeout=60)
        time.sleep(0.005)
    return status


def end(drill: Drill, send: Send) -> None:
    send()  # so that the last worker is there when all is settled
    worker = drill.worker()
    drill.wait_until_settled()
    assert drill.stop(worker) == 0
    assert check_nothing_lost(drill)["accepted"] >= 3 * STEPS


def test_a_warm_end_at_any_step_loses_nothing_and_runs_nothing_twice(drill: Drill, send: Send) -> None:
    storage = drill.storage()
    ended: dict[int, int] = {}
    for plan, status in sweep(drill, send, storage, WARM):
        # Before the worker listens, and after it has signed off, a signal does what it does to any program.
        assert status in {0, 130, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}, f"{plan}: {status}"
        ended[status] = ended.get(status, 0) + 1
    assert ended[0] > STEPS // 2, ended
    storage.close()
    end(drill, send)
    again = {id_: n for id_, n in drill.ledger().items() if n > 1}
    assert not again, f"run again: {again}"


def test_a_cold_end_at_any_step_gives_everything_back_at_once(drill: Drill, send: Send) -> None:
    storage = drill.storage()
    ended: dict[int, int] = {}
    for plan, status in sweep(drill, send, storage, COLD):
        assert status in {0, 1, 130, -signal.SIGTERM, -signal.SIGINT, -signal.SIGQUIT}, f"{plan}: {status}"
        ended[status] = ended.get(status, 0) + 1
    assert ended[1] > STEPS // 2, ended
    storage.close()
    end(drill, send)


def test_a_cold_end_does_not_wait_for_what_runs(drill: Drill) -> None:
    storage = drill.storage()
    worker = drill.worker()
    tasks = [drill.send(storage, "wait") for _ in range(4)]
    wait_for(lambda: drill.executions() == 2)
    worker.send_signal(signal.SIGQUIT)
    assert worker.wait(timeout=60) == 1
    assert {r.state for r in storage.reader.find_many(tasks).values()} == {State.PENDING}
    assert {r.crashes for r in storage.reader.find_many(tasks).values()} == {0}, "it was no crash"
    storage.close()
    assert integrity(drill.db) == "ok"
