"""A message that the file itself gives up: those whom its sender has named in it are told, by a row."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from liteq.message import Batch, Flag, Message, Release, new_id
from liteq.states import State
from liteq.storage.settling.telling import ERRBACK, errback_id
from liteq.storage.storage import Storage

from .conftest import PAYLOAD, FakeWorker, Send

TOLD = [{"errbacks": [{"task": "told"}]}, {"chain": [{"task": "next"}]}]


def embedding(embed: Any) -> bytes:
    return orjson.dumps({"celery": {"embed": embed}})


def begun(storage: Storage, send: Send, worker: FakeWorker, embed: Any) -> str:
    """A message that runs at most once, and has begun in the claim."""
    id_ = send(options=embedding(embed))
    turn = storage.turn((), ["celery"], worker=worker.number, limit=5, visibility_s=60, begins=lambda leases: leases)
    assert [one.flags & Flag.BEGUN for one in turn.leases] == [Flag.BEGUN]
    return id_


@pytest.mark.parametrize("embed", TOLD)
def test_a_row_tells_of_what_vanished_with_its_worker(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, embed: Any
) -> None:
    id_ = begun(storage, send, worker, embed)
    storage.reap([worker.number])
    told = other.claim_one()
    assert (told.task, told.id, told.awaits, told.root_id) == (ERRBACK, errback_id(id_), id_, id_)


@pytest.mark.parametrize("embed", TOLD)
def test_a_row_tells_of_what_has_crashed_too_often(
    storage: Storage, send: Send, worker: FakeWorker, embed: Any
) -> None:
    id_ = send(options=embedding(embed))
    for _ in range(storage.max_crashes):
        lease = worker.claim_one()
        assert lease.id == id_
        assert storage.settle([(lease, Release(crashed=True))]) == []
    assert worker.claim_one().id == errback_id(id_)


@pytest.mark.parametrize("embed", [{}, {"callbacks": [{"task": "well"}]}, {"errbacks": [], "chain": None}])
def test_nobody_is_told_where_nobody_is_named(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, embed: Any
) -> None:
    begun(storage, send, worker, embed)
    storage.reap([worker.number])
    assert other.claim() == []


@pytest.mark.parametrize("options", [b'{"celery":3,"x":"embed"}', b'{"celery":{"embed":[1]}}', b'"embed" and no JSON'])
def test_what_another_program_has_written_there_holds_up_no_reaper(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, options: bytes
) -> None:
    id_ = send(options=options)
    storage.leases.begin([worker.claim_one()])
    storage.reap([worker.number])
    record = storage.reader.find(id_)
    assert record is not None
    assert (record.state, other.claim()) == (State.DEAD, [])


def test_nobody_is_told_twice_where_rows_stand_behind_it(
    storage: Storage, worker: FakeWorker, other: FakeWorker
) -> None:
    """As a worker of liteq's writes them before it executes a message of Celery's."""
    id_, flags = new_id(), Flag.ON_FAILURE | Flag.TAKES_INPUT
    behind = Message(new_id(), "told", PAYLOAD, awaits=id_, flags=flags)
    storage.enqueue(Batch([Message(id_, "t", PAYLOAD, options=embedding(TOLD[0]), flags=Flag.LINKED), behind]))
    storage.leases.begin([worker.claim_one()])
    storage.reap([worker.number])
    assert [one.id for one in other.claim()] == [behind.id]


def test_what_did_not_begin_in_the_claim_comes_back(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker
) -> None:
    first, second = send(), send()
    turn = storage.turn((), ["celery"], worker=worker.number, limit=5, visibility_s=60, begins=lambda found: found[:1])
    assert [(one.id, bool(one.flags & Flag.BEGUN)) for one in turn.leases] == [(first, True), (second, False)]
    storage.reap([worker.number])
    assert other.claim_one().id == second
    record = storage.reader.find(first)
    assert record is not None
    assert record.state is State.DEAD


def test_what_begins_in_the_claim_and_is_given_back_has_not_begun(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker
) -> None:
    """As at the end of a worker, of what its pool had not taken yet."""
    id_ = send()
    turn = storage.turn((), ["celery"], worker=worker.number, limit=5, visibility_s=60, begins=lambda found: found)
    storage.settle([(lease, Release()) for lease in turn.leases])
    storage.reap([worker.number])
    lease = other.claim_one()
    assert (lease.id, lease.flags & Flag.BEGUN) == (id_, 0)
