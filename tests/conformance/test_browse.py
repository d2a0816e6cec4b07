"""Lists of messages: their order, and that their pages follow each other without gap or repetition."""

from __future__ import annotations

import pytest

from liteq.message import Ack, DeadLetter
from liteq.states import State

from .conftest import ERROR


def pages(storage, state=None, **filters):
    """Every line, three at a time."""
    found, after = [], None
    while lines := storage.reader.browse(state, after=after, limit=3, **filters):
        found += lines
        after = lines[-1].mark
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
    assert storage.reader.browse(State.LEASED)[0].worker == "a"


def test_by_queue_and_by_a_part_of_the_name(storage, send):
    send(id="a", task="shop.pay", queue="mail")
    send(id="b", task="shop.refund", queue="mail")
    send(id="c", task="shop.pay", queue="celery")
    assert [line.id for line in pages(storage, queue="mail")] == ["b", "a"]
    assert [line.id for line in pages(storage, task="pay")] == ["c", "a"]
    assert [line.id for line in pages(storage, State.PENDING, task="pay", queue="mail")] == ["a"]
    assert pages(storage, task="%") == []
