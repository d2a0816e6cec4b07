"""Lists of messages: their order, and that their pages follow each other without gap or repetition."""

from __future__ import annotations

import random

import pytest

from liteq.exceptions import ReadTimeout, StorageError
from liteq.message import Ack, DeadLetter
from liteq.states import State
from liteq.storage.reading.browse import WALK_OF, WALKS

from .conftest import ERROR


def pages(storage, state=None, walk=None, **given):
    """Every line of a walk, three at a time."""
    found, after = [], None
    while lines := storage.views.page(walk or WALK_OF[state], after=after, limit=3, given=given):
        found += lines
        after = lines[-1].key
    return found


def test_all_of_them_the_newest_first(storage, send):
    ids = [send(id=f"m{n}") for n in range(7)]
    assert [line.id for line in pages(storage)] == ids[::-1]


def test_what_is_scheduled_in_the_order_in_which_it_comes_due(storage, send, clock):
    for n in (3, 1, 4, 1, 5, 9, 2, 6):
        send(id=f"m{n}-{clock.now_ms() + n}-{len(pages(storage))}", due_ms=clock.now_ms() + n * 1000)
    due = [line.due_ms for line in pages(storage, State.SCHEDULED)]
    assert due == sorted(due)
    assert len(due) == 8  # two of them at one time


@pytest.mark.parametrize(("state", "outcome"), [(State.DEAD, DeadLetter(ERROR)), (State.SUCCEEDED, Ack(b"1"))])
def test_what_has_finished_the_last_first(storage, send, worker, clock, state, outcome):
    for n in range(8):
        send(id=f"m{n}")
    for lease in worker.claim():
        storage.settle([(lease, outcome)])
        if lease.id not in {"m2", "m3"}:  # some end in one millisecond
            clock.advance(seconds=1)
    assert [line.id for line in pages(storage, state)] == [f"m{n}" for n in reversed(range(8))]
    assert {line.state for line in pages(storage, state)} == {state.value}


def test_every_state_can_be_asked_for(storage, send, worker):
    send(id="held")
    send(id="waits")
    worker.claim(1)
    assert {state: [line.id for line in pages(storage, state)] for state in State if pages(storage, state)} == {
        State.LEASED: ["held"],
        State.PENDING: ["waits"],
    }
    assert storage.views.page("leased")[0].worker == "a"


# -- every walk, beside all that it has to pass by -------------------------------------------------------------------

ROW = """
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, due_ms, created_ms, flags, position, root_id,
    cause, worker, deadline_ms, finished_ms, held_by)
VALUES (:id, :task, :queue, :priority, :state, :payload, :ms, :ms, 0, 0, :root, :cause, :worker, :ms, :ended, :key)
"""
GIVEN = {"queue": "b", "cause": "c1", "root": "r1", "tag": "t1", "id": "m7", "line": "user:1"}


@pytest.fixture
def many(storage):
    """Rows of every state, many of them equal in what a list is ordered by."""
    rng = random.Random(7)
    ended = {"dead", "succeeded", "cancelled", "upstream_failed"}
    with storage.driver.write() as tx:
        for n in range(300):
            state = rng.choice(list(State)).value
            tx.executemany(ROW, [{
                "id": f"m{n}", "task": rng.choice("xy"), "queue": rng.choice("abc"), "priority": rng.randrange(3),
                "state": state, "payload": b"[[],{}]", "ms": rng.randrange(3), "root": rng.choice(["r1", "r2", None]),
                "cause": rng.choice(["c1", "c2"]) if state == "dead" else None,
                "worker": rng.randrange(2) if state == "leased" else None,
                "ended": rng.randrange(3) if state in ended else None,
                "key": rng.choice(["user:1", "user:2", None]) if state == "held" else None,
            }])  # fmt: skip
            if n % 3 == 0:
                tx.execute("INSERT INTO liteq_run_tags (tag, run) SELECT 't1', max(seq) FROM liteq_messages")
    return storage


@pytest.mark.parametrize("walk", WALKS)
def test_the_pages_of_a_walk_are_the_whole_of_it_in_its_order(many, walk):
    given = {name: GIVEN[name] for name in WALKS[walk].given}
    paged = [line.id for line in pages(many, walk=walk, **given)]
    spec = WALKS[walk]
    order = ", ".join(f"{column} {'DESC' if down else 'ASC'}" for column, down in spec.order)
    with many.driver.read() as tx:
        whole = tx.execute(f"SELECT m.id FROM {spec.source} WHERE {spec.where} ORDER BY {order}", given)
    assert paged == [id_ for (id_,) in whole]
    assert paged


def test_ids_that_begin_alike(many):
    found = [line.id for line in many.views.begins_with("m1", limit=200)]
    assert found == sorted(f"m{n}" for n in range(300) if str(n).startswith("1"))
    assert len(many.views.begins_with("m", limit=20)) == 20


def test_rows_are_found_by_the_time_of_sending(storage, send, clock):
    start_ms = clock.now_ms()
    for n in range(20):
        send(id=f"m{n}")
        clock.advance(seconds=1)
    seq = storage.views.seq_before(start_ms + 5_500)
    assert [line.id for line in storage.views.page("all", after=(seq,), limit=2)] == ["m5", "m4"]
    assert storage.views.seq_before(start_ms - 1) <= 1


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_numbers_are_exact_up_to_their_bound_and_say_so_beyond(many, storage):
    from liteq.storage.reading import overview

    with storage.driver.read() as tx:
        truth = dict(tx.execute("SELECT state, count(*) FROM liteq_messages GROUP BY state"))
        exact, bounded = overview.states(tx), overview.states(tx, limit=5)
        by_queue = overview.by_queue(tx, limit=5)
    assert {state.value: found.n for state, found in exact.items()} == truth
    assert all(found.exact for found in exact.values())
    assert not any(found.exact for found in bounded.values())
    assert all(found.n <= truth[state.value] for state, found in bounded.items())
    assert {one.queue for one in by_queue} == {"a", "b", "c"}


def test_a_queue_is_as_late_as_the_message_that_is_claimed_next(storage, send, clock):
    send(queue="mail")
    clock.advance(seconds=5)
    first_ms = clock.now_ms()
    send(queue="mail", priority=3)
    send(queue="other", due_ms=clock.now_ms() + 60_000)
    (mail,) = storage.views.overview().queues
    assert (mail.name, mail.waiting.n, mail.head_ms) == ("mail", 2, first_ms)


# -- the reader itself -----------------------------------------------------------------------------------------------


def test_a_read_that_takes_too_long_is_stopped_and_the_next_one_is_not(storage, send):
    for _ in range(50):
        send()
    endless = "SELECT count(*) FROM liteq_messages AS a, liteq_messages AS b, liteq_messages AS c, liteq_messages AS d"
    with pytest.raises(ReadTimeout, match="ask for less"), storage.driver.read(within_s=0.02) as tx:
        tx.execute(endless)
    with storage.driver.read() as tx:
        assert tx.execute("SELECT count(*) FROM liteq_messages AS a, liteq_messages AS b, liteq_messages AS c")
    assert storage.views.states()[State.PENDING].n == 50


def test_a_deadline_is_of_one_read_alone(storage, send):
    for _ in range(60):
        send()
    with storage.driver.read(within_s=0.0001) as tx:
        tx.execute("SELECT 1")
    with storage.driver.read() as tx:  # the same connection
        (found,) = tx.execute("SELECT count(*) FROM liteq_messages AS a, liteq_messages AS b, liteq_messages AS c")
    assert found == (60**3,)


def test_a_read_writes_nothing(storage, send):
    send(id="m1")
    with pytest.raises(StorageError), storage.driver.read(within_s=1) as tx:
        tx.execute("UPDATE liteq_messages SET task = 'other'")
    assert storage.reader.find("m1").task == "t"
