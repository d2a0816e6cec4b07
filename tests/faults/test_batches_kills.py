"""Batches under kills: each member settles once, wherever the batch ends."""

from __future__ import annotations

import sys
import time
from collections import Counter

import pytest

from liteq.message import new_id
from liteq.serialization import decode

from .harness import kill_group, wait_for
from .limits_crew import Crew, NewCrew
from .sizes import size

SECONDS = size("BATCHES_SECONDS", 3, 120)
FAULTS = 8  # at least
STEPS = size("BATCHES_STEPS", 3, 500)

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by Linux's /proc"),
]


def watched(crew: Crew) -> Crew:
    """Each end of a message is noted in the file, by a trigger."""
    with crew.storage.driver.write() as tx:
        tx.execute("CREATE TABLE drill_ends (id TEXT, state TEXT)")
        tx.execute(
            "CREATE TRIGGER drill_ends_noted AFTER UPDATE OF state ON liteq_messages "
            "WHEN NEW.state IN ('succeeded', 'dead') AND OLD.state <> NEW.state "
            "BEGIN INSERT INTO drill_ends VALUES (NEW.id, NEW.state); END"
        )
    return crew


def test_each_member_settles_once_whatever_is_killed(crew_of: NewCrew) -> None:
    crew, sent = watched(crew_of(3, 2)), {}
    store = crew.module.store
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or len(crew.done) < FAULTS:
        sent.update({store.delay(n).id: n for n in range(len(sent), len(sent) + 30)})
        crew.let_pass(crew.rng.randrange(1, 30))
        crew.befall()
    crew.settle()
    rows = crew.storage.reader.find_many(list(sent))
    assert {id_: decode(row.result or b"null") for id_, row in rows.items()} == sent
    assert Counter(id_ for id_, _ in crew.ask("SELECT id, state FROM drill_ends")) == Counter(sent.keys())
    sizes = Counter(int(line.event.partition("-")[2]) for line in crew.ledger.lines())
    assert max(sizes) > 1, "they came in batches"


def test_each_member_settles_once_at_whatever_line_its_worker_is_killed(crew_of: NewCrew) -> None:
    """The lines of a worker's parent are counted (tripwire.py): a batch is there from its first one on."""
    crew = watched(crew_of(0, 2))
    send_batch(crew)
    whole = crew.start(DRILL_TRIPWIRE="")
    crew.settle()
    assert crew.drill.stop(whole) == 0
    lines = int((crew.drill.folder / "lines").read_text())
    killed = 0
    for step in range(STEPS):
        sent = send_batch(crew)
        at = lines * step // STEPS + 1
        worker = crew.start(DRILL_TRIPWIRE=f"SIGKILL@{at}")
        wait_for(lambda: worker.poll() is not None or not crew.unfinished(), within_s=60)  # its lines are counted
        killed += worker.poll() is not None
        if crew.unfinished():
            crew.workers.append(crew.start())
            crew.settle()
        rows = crew.storage.reader.find_many(list(sent))
        assert {id_: decode(row.result or b"null") for id_, row in rows.items()} == sent, f"killed at line {at}"
        for process in [worker, *crew.workers]:
            kill_group(process)
        crew.workers.clear()
    assert killed > STEPS / 4
    assert set(Counter(id_ for id_, _ in crew.ask("SELECT id, state FROM drill_ends")).values()) == {1}


def send_batch(crew: Crew) -> dict[str, int]:
    """Ten members in one commit, by id with their results."""
    calls = [crew.module.store.s(n).set(task_id=new_id()) for n in range(10)]
    crew.app.enqueue_many(calls)
    return {call.options["task_id"]: n for n, call in enumerate(calls)}
