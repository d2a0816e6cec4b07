"""The commands of an operator over a queue on a PostgreSQL server, and the findings about the server itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import pytest
from click.testing import CliRunner, Result

from liteq.cli import main
from liteq.message import Batch, DeadLetter, Message, WorkerIdentity, new_id
from liteq.serialization import encode_error
from liteq.storage.driver import Options
from liteq.storage.storage import Storage

from .. import postgresql

psycopg = pytest.importorskip("psycopg")

from liteq_postgres import ENGINE, describe  # noqa: E402 - without psycopg there is none

SCHEMA = "operated"
HOT = ("messages", "groups", "workers", "keys", "slots", "lines", "wakes", "events", "stats")


@pytest.fixture
def server(postgresql_server: str) -> Iterator[Any]:
    """A connection beside the queue, on a server where there is no such queue yet."""
    with psycopg.connect(host=postgresql_server, user="postgres", autocommit=True) as connection:
        connection.execute(f"SET client_min_messages TO warning; DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        connection.execute(f"SET search_path TO {SCHEMA}")
        yield connection


@pytest.fixture
def liteq(server: Any, postgresql_server: str) -> Callable[..., Result]:
    return lambda *args: CliRunner().invoke(main, ["-b", postgresql.url(postgresql_server, SCHEMA), *args])


@pytest.fixture
def storage(server: Any, postgresql_server: str) -> Iterator[Storage]:
    """A queue with a message that waits and a dead letter."""
    storage = Storage(ENGINE.open(postgresql.url(postgresql_server, SCHEMA), Options()))
    storage.migrate()
    worker = storage.register_worker(WorkerIdentity(new_id(), "w", "far", "", 1, ""))
    storage.enqueue(Batch([Message(id="broken", task="shop.pay", payload=b"[[],{}]")]))
    leases = storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    storage.settle([(leases[0], DeadLetter(encode_error(ValueError("no"))))])
    storage.unregister_worker(worker)
    storage.enqueue(Batch([Message(id="waits", task="shop.add", payload=b"[[1,2],{}]")]))
    yield storage
    storage.close()


# -- commands ---------------------------------------------------------------------------------------------------------


LOOKS = {
    ("status",): (69, "no worker is alive on"),
    ("inspect", "queues"): (0, "celery"),
    ("inspect", "messages"): (0, "shop.add"),
    ("dead", "list"): (0, "shop.pay"),
    ("why", "waits"): (0, "No worker takes from the queue 'celery'"),
    ("why", "broken"): (0, "ValueError"),
    ("queue", "list"): (0, "no queue is paused"),
    ("metrics",): (0, 'liteq_queue_head_wait_seconds{queue="celery"}'),
    ("top", "--once"): (0, "celery"),
    ("top", "--json"): (0, '"verdict"'),
    ("limits", "list"): (0, ""),
    ("schedules", "list"): (0, ""),
    ("operations", "list"): (0, ""),
    ("activity",): (0, ""),
    ("workflow", "list"): (0, ""),
    ("memo", "stats"): (0, ""),
    ("doctor",): (0, "PostgreSQL"),
}  # fmt: skip
if find_spec("prometheus_client") is None:
    del LOOKS["metrics",]


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("args", LOOKS, ids=" ".join)
def test_a_command_that_looks_answers(liteq: Callable[..., Result], args: tuple[str, ...]) -> None:
    code, says = LOOKS[args]
    done = liteq(*args)
    assert (done.exit_code, says in done.output) == (code, True), done.output


def test_looking_at_a_queue_does_not_make_one(liteq: Callable[..., Result], server: Any) -> None:
    for args in LOOKS:
        done = liteq(*args)
        assert (done.exit_code, "liteq migrate" in done.output) == (69, True), done.output
    assert server.execute("SELECT count(*) FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone() == (0,)


@pytest.mark.parametrize("args", [*LOOKS, ("call", "shop.add"), ("migrate",)], ids=" ".join)
def test_a_server_that_does_not_answer_is_one_sentence(args: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["-b", "postgresql://ann:secret@127.0.0.1:1/shop", *args])
    said = [line for line in done.stderr.splitlines() if "does not answer" in line]
    assert (done.exit_code, len(said)) == (69, 1), done.output
    assert "127.0.0.1:1/shop" in said[0]
    assert "secret" not in done.output


@pytest.mark.usefixtures("storage")
def test_copies_are_the_server_s_tools_matter(liteq: Callable[..., Result], tmp_path: Any) -> None:
    for args in (("backup", "copy.db"), ("backup", "--to", str(tmp_path))):
        refused = liteq(*args)
        assert (refused.exit_code, "pg_dump" in refused.stderr) == (69, True), refused.output
    refused = liteq("restore", "copy.db")
    assert (refused.exit_code, "pg_restore" in refused.stderr, "liteq epoch" in refused.stderr) == (69, True, True)
    assert list(tmp_path.iterdir()) == []


def test_an_epoch_begins(liteq: Callable[..., Result], storage: Storage) -> None:
    assert [json.loads(liteq("epoch", "--json").stdout)["epoch"] for _ in range(2)] == [1, 2]


# -- the doctor -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("storage")
def test_the_doctor_tells_of_the_server(liteq: Callable[..., Result]) -> None:
    found = json.loads(liteq("doctor", "--json").stdout)
    status = {check["name"]: check["status"] for check in found["checks"]}
    expected = dict.fromkeys(("server", "schema", "clock", "bells", "space", "workers"), "ok")
    assert status | expected == status
    assert [check["name"] for check in found["checks"]].count("workers") == 1
    assert found["storage"]["engine"] == "postgresql"
    assert found["storage"]["schema"]["name"] == SCHEMA


def test_the_doctor_warns_where_bells_are_polled(storage: Storage) -> None:
    facts = storage.driver.describe() | {"pooled": True}
    (bells,) = [check for check in storage.driver.checks(facts) if check.name == "bells"]
    assert (bells.status, "listen=host:port" in bells.detail) == ("warning", True)


@pytest.mark.parametrize(
    ("facts", "name", "status", "says"),
    [
        ({"server_number": 130_011}, "server", "error", "needs version 14"),
        ({"standby": True}, "server", "warning", "a standby"),
        ({"only_read": True}, "server", "warning", "default_transaction_read_only is on"),
        ({"clock_offset_ms": 2_500}, "clock", "warning", "2.5 s behind"),
        ({"clock_offset_ms": -2_500}, "clock", "warning", "2.5 s ahead"),
        ({"schema": {"name": SCHEMA, "version": 0}}, "schema", "error", "liteq migrate"),
        ({"warnings": ["old"]}, "space", "warning", "old"),
    ],
)
def test_the_doctor_names_what_is_wrong(
    storage: Storage, facts: dict[str, Any], name: str, status: str, says: str
) -> None:
    (found,) = [one for one in storage.driver.checks(storage.driver.describe(whole=False) | facts) if one.name == name]
    assert (found.status, says in found.detail) == (status, True), found


# -- space ------------------------------------------------------------------------------------------------------------


def test_tables_whose_rows_change_often_are_vacuumed_often(storage: Storage, server: Any) -> None:
    found = dict(
        server.execute(
            "SELECT relname, reloptions FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'",
            (SCHEMA,),
        ).fetchall()
    )
    assert {name for name, options in found.items() if options} == {f"liteq_{name}" for name in HOT}
    assert {"fillfactor=80", "autovacuum_vacuum_scale_factor=0.02"} <= set(found["liteq_messages"])


def test_a_snapshot_that_is_kept_for_long_is_told(
    storage: Storage, postgresql_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describe, "OLD_SNAPSHOT_S", 0)
    with psycopg.connect(host=postgresql_server, user="postgres", application_name="a report") as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1")
        told = [one for one in storage.driver.warnings() if "claims get slower" in one]
        assert f"process {other.info.backend_pid} of the server (a report)" in told[0]
    assert not [one for one in storage.driver.warnings() if "a report" in one]


def test_dead_rows_and_large_indexes_are_told(
    storage: Storage, server: Any, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    assert storage.driver.warnings() == []
    monkeypatch.setattr(describe, "DEAD_ROWS", 50)
    monkeypatch.setattr(describe, "LARGE_INDEXES", 0)
    server.execute("ALTER TABLE liteq_messages SET (autovacuum_enabled = off)")
    for _ in range(60):
        server.execute("UPDATE liteq_messages SET due_ms = due_ms + 1 WHERE id = 'waits'")
    with suppress(psycopg.errors.UndefinedFunction):  # of version 15; before, the figures come after half a second
        server.execute("SELECT pg_stat_force_next_flush()")
    eventually(lambda: any("dead rows beside" in one for one in storage.driver.warnings()), within_s=60)
    told = storage.driver.warnings()
    assert any("REINDEX TABLE CONCURRENTLY" in one for one in told)
    with psycopg.connect(server.info.dsn, autocommit=True) as elsewhere:  # where no search path finds the tables
        for one in told:
            elsewhere.execute(one.rpartition("run ")[2])
