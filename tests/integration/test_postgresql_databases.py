"""Databases and roles as others have set them up: their encodings, and what their roles bring along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from liteq.exceptions import StorageError, StorageUnavailable
from liteq.message import Ack, Batch, Message, WorkerIdentity, new_id
from liteq.storage.driver import Options
from liteq.storage.storage import Storage
from liteq.worker.apart import settle_apart

from .. import postgresql

psycopg = pytest.importorskip("psycopg")

from liteq_postgres import ENGINE  # noqa: E402 - without psycopg there is none

TEXT = "Grüße → 日本 😀"


@pytest.fixture
def server(postgresql_server: str) -> Iterator[Any]:
    with psycopg.connect(host=postgresql_server, user="postgres", autocommit=True) as connection:
        yield connection


@pytest.fixture
def encoded(server: Any, postgresql_server: str) -> Iterator[Callable[[str], Storage]]:
    """Gives a queue in a database of its own, of the encoding that is asked for."""
    opened: list[Storage] = []

    def open_(encoding: str) -> Storage:
        server.execute(f"CREATE DATABASE encoded ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        url = postgresql.url(postgresql_server).replace("/postgres?", "/encoded?")
        opened.append(Storage(ENGINE.open(url, Options())))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()
    server.execute("DROP DATABASE IF EXISTS encoded")
    server.execute("DROP ROLE IF EXISTS stranger")


def kept_as_sent(storage: Storage) -> bool:
    storage.migrate()
    # Two go as arrays, and one goes as it is.
    storage.enqueue(Batch([Message(id=new_id(), task=TEXT, queue=TEXT, payload=b"[[],{}]") for _ in range(2)]))
    storage.enqueue(Batch([Message(id=new_id(), task=TEXT, queue=TEXT, payload=b"[[],{}]")]))
    with storage.driver.read() as tx:
        return tx.execute("SELECT DISTINCT task, queue FROM liteq_messages") == [(TEXT, TEXT)]


def test_a_database_that_knows_no_encoding_has_any_text(encoded: Callable[[str], Storage]) -> None:
    assert kept_as_sent(encoded("SQL_ASCII"))


def test_the_environments_encoding_changes_no_text(
    encoded: Callable[[str], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    assert kept_as_sent(encoded("UTF8"))


def test_a_database_that_has_not_all_characters_is_refused(encoded: Callable[[str], Storage]) -> None:
    queue = encoded("LATIN1")
    with pytest.raises(StorageError, match="ENCODING 'UTF8'"):
        queue.migrate()
    with queue.driver.read() as tx:
        assert tx.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'liteq'") == []


def test_tables_are_made_in_the_queue_s_schema_or_nowhere(encoded: Callable[[str], Storage], server: Any) -> None:
    queue = encoded("UTF8")
    server.execute("CREATE ROLE stranger LOGIN; ALTER DATABASE encoded OWNER TO stranger")
    with queue.driver.write() as tx:
        tx.execute("CREATE SCHEMA liteq")  # not the stranger's, who may make tables in the schema public
    theirs = Storage(ENGINE.open(queue.driver.url.replace("//postgres@", "//stranger@"), Options()))
    with closing(theirs), pytest.raises(StorageError, match='GRANT USAGE, CREATE ON SCHEMA "liteq"'):
        theirs.migrate()
    with queue.driver.write() as tx:
        assert tx.execute("SELECT relname FROM pg_class WHERE relname LIKE 'liteq%'") == []
        tx.execute("GRANT USAGE, CREATE ON SCHEMA liteq TO stranger")
    with closing(theirs):
        theirs.migrate()
    with queue.driver.read() as tx:
        assert tx.execute("SELECT count(*) FROM liteq.liteq_messages") == [(0,)]


def test_an_outcome_that_the_role_may_not_store_waits_for_the_right(server: Any, postgresql_server: str) -> None:
    """A grant was forgotten as the schema was upgraded: what has succeeded is no dead letter by that."""
    with closing(postgresql.empty(postgresql_server)) as queue:
        queue.enqueue(Batch([Message(id=new_id(), task="t", payload=b"[[],{}]")]))
    server.execute(f"{postgresql.WORKER}; REVOKE INSERT ON liteq.liteq_bodies FROM worker")
    url = postgresql.url(postgresql_server).replace("//postgres@", "//worker@")
    with closing(Storage(ENGINE.open(url, Options()))) as theirs:
        number = theirs.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))
        (lease,) = theirs.claim(["celery"], worker=number, limit=1, visibility_s=60)
        large = [(lease, Ack(b'"%b"' % (b"x" * 100_000)))]
        assert settle_apart(theirs, large, {}) == large
        server.execute("GRANT INSERT ON liteq.liteq_bodies TO worker")
        assert settle_apart(theirs, large, {}) == []
        assert [(count.state, count.n) for count in theirs.reader.counts()] == [("succeeded", 1)]
    server.execute("DROP OWNED BY worker; DROP ROLE worker")


def test_a_server_whose_transactions_are_only_read_is_told_of(postgresql_server: str) -> None:
    postgresql.empty(postgresql_server).close()
    url = postgresql.url(postgresql_server, options="-c default_transaction_read_only=on")
    with closing(Storage(ENGINE.open(url, Options()))) as queue:
        with pytest.raises(StorageUnavailable, match=r"cannot be written: .* default_transaction_read_only is on"):
            queue.enqueue(Batch([Message(id=new_id(), task="t", payload=b"[[],{}]")]))
        facts = queue.driver.describe()
    assert (facts["standby"], facts["only_read"]) == (False, True)
