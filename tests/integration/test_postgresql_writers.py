"""Writers in the way of each other on a PostgreSQL server: no caller hears of it, nothing is lost or there twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import StorageConflict, StorageError
from liteq.message import DeadLetter, Message, WorkerIdentity, new_id
from liteq.storage.driver import Options
from liteq.storage.storage import Storage
from liteq.testing import start_worker
from liteq.workflow import ctx

from .. import postgresql

pytest.importorskip("psycopg")

from liteq_postgres import ENGINE

TOUCH = "UPDATE liteq_messages SET due_ms = due_ms + 1 WHERE id = ?"


@pytest.fixture
def storage(postgresql_server: str) -> Iterator[Storage]:
    with closing(postgresql.empty(postgresql_server)) as opened:
        yield opened


def dead_letters(storage: Storage, n: int) -> list[str]:
    storage.enqueue_many([Message(id=new_id(), task="t", payload=b"[[],{}]") for _ in range(n)])
    worker = storage.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))
    leases = storage.claim(["celery"], worker=worker, limit=n, visibility_s=60)
    assert storage.settle([(lease, DeadLetter(b"{}")) for lease in leases]) == []
    return [lease.id for lease in leases]


def test_a_deadlock_reaches_no_caller(storage: Storage, postgresql_server: str) -> None:
    ids = dead_letters(storage, 2)
    both = threading.Barrier(2)

    def replay(in_order: list[str]) -> list[str]:
        theirs = Storage(ENGINE.open(postgresql.url(postgresql_server, options="-c deadlock_timeout=20ms"), Options()))
        write, meets = theirs.driver.write, iter([both])  # in the first run alone

        @contextmanager
        def slow(*args: Any, **options: Any) -> Iterator[Any]:
            with write(*args, **options) as tx:
                for barrier in meets:
                    assert tx.executemany(TOUCH, [(in_order[0],)]) == 1
                    barrier.wait(60)
                yield tx

        theirs.driver.write = slow  # type: ignore[method-assign]
        with closing(theirs):
            return theirs.dead.requeue(in_order)

    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(replay, order) for order in (ids, ids[::-1])]
        assert sorted(id_ for end in ends for id_ in end.result(60)) == sorted(ids)


def test_a_row_of_the_queue_that_is_there_already_is_a_conflict_and_the_users_own_is_not(storage: Storage) -> None:
    insert = "INSERT INTO liteq_sends (name, place, updated_ms) VALUES ('once', 1, 1)"
    assert storage.driver.change(insert, ()) == 1
    with pytest.raises(StorageConflict):
        storage.driver.change(insert, ())
    with pytest.raises(StorageError) as told, storage.driver.write() as tx:
        tx.execute("CREATE TABLE theirs (id int PRIMARY KEY)")
        tx.execute("INSERT INTO theirs VALUES (1), (1)")
    assert type(told.value) is StorageError


def test_what_many_send_again_is_there_once(storage: Storage, postgresql_server: str) -> None:
    """Each sends the same batch in an order of its own, so that they meet in the middle of it."""
    batch = [Message(id=f"{n:03}", task="t", payload=b"[[],{}]") for n in range(60)]

    def send(n: int) -> int:
        theirs = Storage(ENGINE.open(postgresql.url(postgresql_server, options="-c deadlock_timeout=20ms"), Options()))
        with closing(theirs):
            return theirs.enqueue_many(batch[n * 15 :] + batch[: n * 15] if n % 2 else batch[::-1])

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send, range(4))) == len(batch)
    assert sum(count.n for count in storage.reader.counts()) == len(batch)


@pytest.mark.parametrize(
    "trouble",
    [
        "SELECT pg_terminate_backend(pg_backend_pid())",
        "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$",
    ],
    ids=["the connection is cut", "a deadlock"],
)
def test_a_transactional_step_that_has_lost_its_transaction_is_done_again(
    storage: Storage, postgresql_server: str, trouble: str
) -> None:
    app = LiteQ("t", broker=postgresql.url(postgresql_server), set_as_current=False)
    tries: list[int] = []

    @app.step(tx=True)
    def note() -> int:
        tries.append(1)
        if len(tries) == 1:
            ctx.tx.execute(trouble)
        ((backend,),) = ctx.tx.execute("SELECT pg_backend_pid()")
        return int(backend)

    @app.workflow
    def flow() -> int:
        return note()

    with closing(app), start_worker(app):
        run = flow.start()
        run.result(timeout=60)
        assert [(step.name, step.status, step.attempts) for step in run.steps()] == [(note.name, "done", 1)]
    assert len(tries) == 2
