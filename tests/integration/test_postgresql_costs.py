"""The messages that a verb takes on PostgreSQL: each is a wait for the network, whatever the machines are.

They are counted where they leave, in the trace that libpq writes of a connection: a message is what is sent before an
answer is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.message import Ack, Batch, Flag, Group, Lease, Message, WorkerIdentity, new_id
from liteq.storage.storage import Storage

pytest.importorskip("psycopg", reason="the extra postgres")

from liteq_postgres.driver import PostgresDriver
from liteq_postgres.session import Session

from .. import postgresql

MANY = 100
PAYLOAD = b"[[],{}]"
Count = Callable[[Callable[[], Any]], int]


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Count]:
    """How many messages a call takes, with its statements known to the server: it is made before, and then again."""
    trace = tmp_path / "trace"
    connect = PostgresDriver.connect

    def count(call: Callable[[], Any]) -> int:
        for _ in range(2):  # the first connects, and asks for the types of what is done at once
            call()
        trace.write_bytes(b"")
        call()
        ways = [line.split("\t")[1] for line in trace.read_text().splitlines() if "\t" in line]
        return sum(way == "F" != before for before, way in pairwise(["B", *ways]))

    with trace.open("ab", buffering=0) as file:

        def connected(self: PostgresDriver, **other: Any) -> Session:
            session = connect(self, **other)
            session.connection.pgconn.trace(file.fileno())
            return session

        monkeypatch.setattr(PostgresDriver, "connect", connected)
        monkeypatch.setattr("liteq_postgres.clock.READ_EACH_S", inf)  # the server's clock is read now and then
        yield count


@pytest.fixture
def storage(messages: Count, postgresql_server: str) -> Iterator[Storage]:
    opened = postgresql.empty(postgresql_server)
    yield opened
    opened.close()


@pytest.fixture
def worker(storage: Storage) -> int:
    return storage.register_worker(WorkerIdentity(new_id(), "a", "host", "boot", 1, "1"))


def plain(**fields: Any) -> Message:
    return Message(id=new_id(), task="t", payload=PAYLOAD, **fields)


def leased(storage: Storage, worker: int, n: int) -> list[Lease]:
    """Leases on new messages."""
    storage.enqueue_many([plain() for _ in range(n)])
    return storage.claim(["celery"], worker=worker, limit=n, visibility_s=600)


def test_a_call_is_one_message(messages: Count, storage: Storage, postgresql_server: str) -> None:
    app = LiteQ("costs", broker=postgresql.url(postgresql_server))
    task = app.task(lambda: None, name="nothing")
    assert messages(task.delay) == 1
    app.close()


def test_a_thousand_calls_are_two_messages(messages: Count, storage: Storage, postgresql_server: str) -> None:
    app = LiteQ("costs", broker=postgresql.url(postgresql_server))
    task = app.task(lambda n: None, name="nothing")
    assert messages(lambda: app.enqueue_many(task, ((n,) for n in range(1_000)))) == 2
    assert messages(lambda: app.enqueue_many(task.s(n) for n in range(1_000))) == 2
    app.close()


@pytest.mark.parametrize("n", [1, MANY])
def test_a_claim_is_two_messages(messages: Count, storage: Storage, worker: int, n: int) -> None:
    """The look with its locks, and a token; then what is taken, with the commit."""
    storage.enqueue_many([plain() for _ in range(3 * n)])
    assert messages(lambda: claim(storage, worker, n)) == 2


def claim(storage: Storage, worker: int, n: int) -> None:
    assert len(storage.claim(["celery"], worker=worker, limit=n, visibility_s=600)) == n


@pytest.mark.parametrize(("n", "at_most"), [(1, 1), (MANY, 2)])
def test_an_acknowledgement_is_one_message_a_batch_of_them_two(
    messages: Count, storage: Storage, worker: int, n: int, at_most: int
) -> None:
    """Of a batch the changed rows are counted before the commit. Then the bell, which a batch rings by itself."""
    leases = leased(storage, worker, 3 * n)

    def settle() -> None:
        some = [leases.pop() for _ in range(n)]
        assert storage.settle([(one, Ack(b"1")) for one in some]) == []

    bell = int(n > 1)
    assert messages(settle) == at_most + bell


def test_a_heartbeat_is_three_messages(messages: Count, storage: Storage, worker: int) -> None:
    leases = leased(storage, worker, MANY)

    def beat() -> None:
        assert storage.heartbeat(worker, leases, visibility_s=600) == (True, [])

    assert messages(beat) == 3


def test_the_ends_of_a_batch_look_once_for_what_awaits_them(messages: Count, storage: Storage, worker: int) -> None:
    """Members of a group: their own ends, the look, the group's count, the commit; and the bell."""
    members = [plain(flags=Flag.LINKED, group_id="g", position=n) for n in range(4 * 32)]
    storage.enqueue(Batch([*members, plain(awaits="g")], [Group("g", len(members))]))
    leases = storage.claim(["celery"], worker=worker, limit=len(members), visibility_s=600)

    def settle() -> None:
        some = [leases.pop() for _ in range(32)]
        assert storage.settle([(one, Ack(b"1")) for one in some]) == []

    assert messages(settle) == 5


def test_a_link_of_a_chain_is_seven_messages(messages: Count, storage: Storage, worker: int) -> None:
    """Its end, what awaits that, the next link with a token, its input in two looks, the commit; and the bell."""
    links = [plain(flags=Flag.LINKED | Flag.TAKES_INPUT) for _ in range(5)]
    chain = [links[0], *(replace(link, awaits=before.id) for before, link in pairwise(links))]
    storage.enqueue(Batch(chain))
    held = storage.claim(["celery"], worker=worker, limit=1, visibility_s=600)

    def link() -> None:
        turn = storage.turn([(held.pop(), Ack(b"1"))], ["celery"], worker=worker, limit=1, visibility_s=600)
        held.extend(turn.leases)
        assert held

    assert messages(link) == 7


def test_rows_that_are_written_at_once_are_those_of_one_by_one(storage: Storage, worker: int) -> None:
    """Texts and bytes of any kind, and what is not there, go through the arrays as they are."""
    texts = ["", "é€", "{NULL}", '"', "\\", ",", "NULL", " "]
    payloads = [b"\1", b"\0\xff", b"\\x00", b"NULL", b'{"a"}', b"\n", b"'", b"[[],{}]"]
    sent = [
        Message(id=new_id(), task=text, payload=payload, priority=n - 4, root_id=text or None, expires_ms=n or None)
        for n, (text, payload) in enumerate(zip(texts, payloads, strict=True))
    ]
    assert storage.enqueue_many(sent) == len(sent)
    assert storage.enqueue_many(sent) == 0
    leases = storage.claim(["celery"], worker=worker, limit=len(sent), visibility_s=600)
    expected = sorted(sent, key=lambda m: -m.priority)
    assert [(m.id, m.task, m.payload, m.priority, m.root_id, m.expires_ms) for m in leases] == [
        (m.id, m.task, m.payload, m.priority, m.root_id, m.expires_ms) for m in expected
    ]
    assert storage.settle([(lease, Ack(lease.payload)) for lease in leases]) == []
    found = storage.reader.find_many([m.id for m in sent])
    assert [found[m.id].result for m in sent] == payloads
