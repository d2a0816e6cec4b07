"""A pooler in transaction mode before the server: each transaction may be on another connection than the last one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import chord, group
from liteq.message import Ack, Batch, Message, WorkerIdentity, new_id
from liteq.storage.driver import Bell, Driver, Options
from liteq.storage.storage import Storage

from .. import postgresql, servers
from .worker_process import Site

psycopg = pytest.importorskip("psycopg")

from liteq_postgres import ENGINE  # noqa: E402 - without psycopg there is none

SETTINGS = (
    "search_path",
    "lock_timeout",
    "statement_timeout",
    "synchronous_commit",
    "idle_in_transaction_session_timeout",
)


@pytest.fixture(scope="module")
def one_connection(postgresql_server: str) -> Iterator[str]:
    """A pooler with one connection to the server, which all of its clients have in turn."""
    with servers.pgbouncer(postgresql_server, pool_size=1) as folder:
        yield folder


@pytest.fixture
def open_storage(one_connection: str, postgresql_server: str) -> Iterator[Callable[..., Storage]]:
    opened: list[Storage] = []

    def open_(schema: str = "liteq", server: str = one_connection, **options: str) -> Storage:
        opened.append(Storage(ENGINE.open(postgresql.url(server, schema, **options), Options())))
        opened[-1].migrate()
        return opened[-1]

    postgresql.empty(postgresql_server).close()
    yield open_
    for one in opened:
        one.close()


@pytest.fixture
def beside(one_connection: str) -> Iterator[Any]:
    """Another client of the pooler, of which liteq knows nothing."""
    with psycopg.connect(host=one_connection, user="postgres", autocommit=True, prepare_threshold=None) as connection:
        yield connection


def message() -> Message:
    return Message(id=new_id(), task="t", payload=b"[[],{}]")


def ids(storage: Storage) -> set[str]:
    with storage.driver.read() as tx:
        return {id_ for (id_,) in tx.execute("SELECT id FROM liteq_messages")}


def test_two_queues_have_one_connection_in_turn_and_neither_sees_the_other_s(
    open_storage: Callable[..., Storage], beside: Any
) -> None:
    def settings() -> list[str]:
        return [beside.execute(f"SHOW {name}").fetchone()[0] for name in SETTINGS]

    before = settings()
    one, two = open_storage("one"), open_storage("two")
    sent: dict[Storage, set[str]] = {one: set(), two: set()}
    for _ in range(3):  # a text is prepared when it comes again
        for storage in (one, two):
            sent[storage] |= set(storage.enqueue(Batch([message()])))
            assert ids(storage) == sent[storage]
            assert settings() == before
    for storage in (one, two):
        worker = storage.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))
        leases = storage.claim(["celery"], worker=worker, limit=10, visibility_s=60)
        assert {lease.id for lease in leases} == sent[storage]
        assert storage.settle([(lease, Ack(b"1")) for lease in leases]) == []
    assert beside.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    assert beside.execute("SELECT to_regclass('liteq_messages')").fetchone() == (None,)
    beside.execute("DROP SCHEMA one CASCADE; DROP SCHEMA two CASCADE")


def test_the_pooler_s_clients_listen_beside_it(
    open_storage: Callable[..., Storage], postgresql_server: str, beside: Any
) -> None:
    """With `listen=` nothing is left on the pooler's connection, and a ring is heard at once."""
    storage = open_storage(listen=f"{postgresql_server}:5432")
    ear = storage.listen(Bell.WORK)
    ear.clear()
    open_storage().enqueue(Batch([message()]))
    assert ear.wait(60)
    assert beside.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (0,)
    assert bells(storage.driver) == "ok"
    ear.close()


def test_without_an_address_of_the_server_the_bells_are_polled_and_that_is_told_once(
    open_storage: Callable[..., Storage], caplog: pytest.LogCaptureFixture, beside: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("liteq_postgres.hearing.HELLO_S", 0.2)
    storage = open_storage()
    for _ in range(2):
        ear = storage.listen(Bell.WORK)
        ear.clear()
        open_storage().enqueue(Batch([message()]))
        assert ear.wait(60)
        ear.close()
    assert caplog.text.count("listen=host:port") == 1
    assert beside.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (0,)
    assert bells(storage.driver) == "warning"


def test_through_a_pooler_that_works_by_sessions_the_bells_are_heard(
    open_storage: Callable[..., Storage], postgresql_server: str, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("liteq_postgres.hearing.HELLO_S", 20)
    with servers.pgbouncer(postgresql_server, mode="session") as folder:
        storage = open_storage(server=folder)
        ear = storage.listen(Bell.WORK)
        ear.clear()
        open_storage().enqueue(Batch([message()]))
        assert ear.wait(60)
        ear.close()
    assert "listen=host:port" not in caplog.text


def bells(driver: Driver) -> str:
    return {check.name: check.status for check in driver.checks(driver.describe())}["bells"]


# -- a real worker ---------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("listens", [False, True])
def test_a_worker_that_owns_nothing_works_through_the_pooler(
    site: Site, postgresql_server: str, postgresql_pooled: str, listens: bool
) -> None:
    """As a role with the rights of the page on roles alone; the migrating owner has left."""
    postgresql.empty(postgresql_server).close()
    with psycopg.connect(host=postgresql_server, user="postgres", autocommit=True) as owner:
        owner.execute(postgresql.WORKER)
    address = {"listen": f"{postgresql_server}:5432"} if listens else {}
    site.broker = postgresql.url(postgresql_pooled, **address).replace("//postgres@", "//worker@")
    site.app.conf.broker_url = site.broker
    worker = site.worker("-c", "2")
    header = group(site.app.signature("worker_tasks.add", args=(n, n)) for n in range(3))
    result = chord(header, app=site.app)(site.app.signature("worker_tasks.echo"))
    assert result.get(timeout=60) == [0, 2, 4]
    doctor = subprocess.run(
        [sys.executable, "-m", "liteq", "-b", site.broker, "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, cwd=site.folder, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    checks = {check["name"]: check["status"] for check in json.loads(doctor.stdout)["checks"]}
    assert checks["bells"] == ("ok" if listens else "warning")
    assert site.end(worker) == 0
    assert site.log().read_text().count("listen=host:port") == (0 if listens else 1)
