"""A PostgreSQL server that crashes: what it promised is there, and what it forgot is not taken for another's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("psycopg")

from liteq.message import Ack, Batch, Lease, Message, WorkerIdentity, new_id
from liteq.states import State
from liteq.storage.storage import Storage

from .. import postgresql, servers
from .hosts_servers import Server

LAZY = {"wal_writer_delay": "10s"}  # what no commit waits for stays off the disk for long


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with servers.folder_of("crash", "postgres") as (folder, _):
        server = Server(folder)
        try:
            server.make()
            server.start(**LAZY)
            yield server
        finally:
            server.stop()


@pytest.fixture
def storage(server: Server) -> Iterator[Storage]:
    storage = postgresql.empty(str(server.folder))
    yield storage
    storage.close()


def crash(server: Server) -> None:
    server.crash()
    server.start(**LAZY)


def claim(storage: Storage, worker: int) -> Lease | None:
    return next(iter(storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)), None)


def send(storage: Storage, n: int) -> list[str]:
    return [storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))[0] for _ in range(n)]


def enter(storage: Storage) -> int:
    return storage.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))


def test_a_lease_that_the_server_forgot_cannot_end_the_one_that_comes_after(server: Server, storage: Storage) -> None:
    """Its worker lives on and works, under a token that the server would give out again."""
    send(storage, 3)
    worker = enter(storage)
    claim(storage, worker)  # the first of a connection: its commit is waited for
    forgotten = claim(storage, worker)
    assert forgotten is not None
    crash(server)
    heir = enter(storage)
    again = claim(storage, heir)
    while again is not None and again.id != forgotten.id:
        again = claim(storage, heir)
    assert again is not None, "the server has not forgotten it: this shows nothing"
    assert again.token != forgotten.token
    assert storage.settle([(forgotten, Ack(b"1"))]) == [forgotten]
    assert storage.settle([(again, Ack(b"2"))]) == []
    record = storage.reader.find(again.id)
    assert record is not None
    assert record.result == b"2"


def test_what_was_accepted_is_there_after_a_crash(server: Server, storage: Storage) -> None:
    sent = send(storage, 5)
    crash(server)
    found = storage.reader.find_many(sent)
    assert [found[id_].state for id_ in sent] == [State.PENDING] * 5
