"""A queue on a PostgreSQL server: what its connections, locks, bells and rights do that no file has."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from liteq.clock import SystemClock
from liteq.context import identity
from liteq.exceptions import (
    ReadOnly,
    ReadTimeout,
    SchemaTooNew,
    StorageBusy,
    StorageConflict,
    StorageError,
    StorageUnavailable,
)
from liteq.message import Ack, Batch, Message, WorkerIdentity, new_id
from liteq.storage.driver import Bell, Driver, Durability, Options, Promise
from liteq.storage.operating.audit import Actor
from liteq.storage.storage import Storage
from liteq.utils.globs import fits
from liteq.worker.chores.heartbeat import Heartbeat

from .. import postgresql
from .worker_process import wait_for

psycopg = pytest.importorskip("psycopg")

from liteq_postgres import ENGINE, fork, session  # noqa: E402 - without psycopg there is none
from liteq_postgres.driver import PostgresDriver  # noqa: E402
from liteq_postgres.session import LEAP, TOKENS_EACH  # noqa: E402

CUT = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
 WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
COUNT = "SELECT count(*) FROM liteq_messages"


def message() -> Message:
    return Message(id=new_id(), task="t", payload=b"[[],{}]")


@pytest.fixture
def storage(postgresql_server: str) -> Iterator[Storage]:
    opened = postgresql.empty(postgresql_server)
    yield opened
    opened.close()


@pytest.fixture
def driver(storage: Storage) -> Driver:
    return storage.driver


@pytest.fixture
def open_driver(postgresql_server: str) -> Iterator[Callable[..., Driver]]:
    opened: list[Driver] = []

    def open_(schema: str = "liteq", options: Options | None = None, **in_url: str) -> Driver:
        opened.append(ENGINE.open(postgresql.url(postgresql_server, schema, **in_url), options or Options()))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.fixture
def server(postgresql_server: str) -> Iterator[Any]:
    """A connection beside the queue."""
    with psycopg.connect(host=postgresql_server, user="postgres", autocommit=True) as connection:
        yield connection


def cut_all(server: Any) -> None:
    """Have the server close every connection but this one, as it does when it is stopped."""
    server.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
    )


# -- values ----------------------------------------------------------------------------------------------------------


def test_values_come_back_as_a_file_gives_them(driver: Driver) -> None:
    with driver.read() as tx:
        (row,) = tx.execute(
            "SELECT 1 = 1, sum(x), avg(x), CAST(? AS bytea), CAST(? AS text), CAST(? AS bigint)"
            "  FROM (VALUES (CAST(1 AS bigint)), (2)) AS v (x)",
            (b"\0\xff", "ä", None),
        )
    assert row == (1, 3, 1.5, b"\0\xff", "ä", None)
    assert [type(value) for value in row[:3]] == [int, int, float]


def test_what_the_server_cannot_keep_is_looked_for_and_not_found(storage: Storage) -> None:
    storage.enqueue(Batch([message()]))
    assert storage.reader.find("a\0b") is None
    assert storage.reader.find_many(["a\0b"]) == {}
    assert storage.reader.find_group("a\0b") is None
    with pytest.raises(StorageError, match="NUL"):
        storage.enqueue(Batch([Message(id="a\0b", task="t", payload=b"[[],{}]")]))


@pytest.mark.parametrize("name", ["mail.a", "mail", "mailxa", "a.b+(c)", "[x]", "a\\b", "p|q"])
@pytest.mark.parametrize("glob", ["mail.*", "m?il", "*", "a.b+(c)*", "[x]*", "a\\?", "p|*", "x*"])
def test_a_glob_fits_as_everywhere(driver: Driver, name: str, glob: str) -> None:
    with driver.read() as tx:
        ((found,),) = tx.execute("SELECT CAST(? AS text) GLOB CAST(? AS text)", (name, glob.replace("[", "[[]")))
    assert bool(found) == fits(name, glob)


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_tokens_go_up_over_all_connections_and_a_batch_has_its_own(driver: Driver) -> None:
    def take(_: int) -> list[int]:
        with driver.write(Promise.PROGRESS) as tx:
            first = tx.tokens(1_000)
            second = tx.tokens(3 * TOKENS_EACH)
        return [first, second]

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take, range(20)))
    spans = sorted([(one, one + 1_000) for one, _ in taken] + [(two, two + 3 * TOKENS_EACH) for _, two in taken])
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_tokens_are_above_those_of_a_row_that_was_moved_here(driver: Driver) -> None:
    with driver.write() as tx:
        before = tx.tokens(1)
        far = before + 5 * LEAP * TOKENS_EACH
        moved = tx.tokens(1, above=far)
        after = tx.tokens(1)
    assert before < far <= moved < after


# -- writers in each other's way -------------------------------------------------------------------------------------


def two_rows(storage: Storage) -> list[str]:
    return [storage.enqueue(Batch([message()]))[0] for _ in range(2)]


TOUCH = "UPDATE liteq_messages SET due_ms = due_ms + 1 WHERE id = ?"


def test_a_deadlock_ends_one_of_the_two_and_it_is_told(storage: Storage) -> None:
    one, two = two_rows(storage)
    both = threading.Barrier(2)

    def touch(first: str, then: str) -> str:
        try:
            with storage.driver.write() as tx:
                tx.executemany(TOUCH, [(first,)])
                both.wait(60)
                tx.executemany(TOUCH, [(then,)])
        except StorageConflict:
            return "conflict"
        return "committed"

    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(touch, one, two), pool.submit(touch, two, one)]
        assert sorted(end.result(60) for end in ends) == ["committed", "conflict"]


def test_a_row_that_another_keeps_is_waited_for_no_longer_than_busy_timeout(
    storage: Storage, open_driver: Callable[..., Driver]
) -> None:
    (one, _) = two_rows(storage)
    with storage.driver.write() as tx:
        tx.executemany(TOUCH, [(one,)])
        impatient = open_driver(options=Options(busy_timeout_s=0.05))
        with pytest.raises(StorageBusy), ThreadPoolExecutor(1) as pool:
            pool.submit(impatient.change, TOUCH, (one,)).result(60)


def test_a_claim_passes_by_a_row_that_another_is_claiming(storage: Storage) -> None:
    two_rows(storage)
    worker = storage.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))
    with storage.driver.write() as tx:
        ((held,),) = tx.execute("SELECT id FROM liteq_messages ORDER BY seq LIMIT 1 /*+ lock */")
        with ThreadPoolExecutor(1) as pool:
            claim = pool.submit(storage.claim, ["celery"], worker=worker, limit=10, visibility_s=60)
            claimed = [lease.id for lease in claim.result(60)]
    assert len(claimed) == 1
    assert held not in claimed


def test_a_chunk_is_no_larger_where_the_server_takes_its_table_for_a_small_one(storage: Storage) -> None:
    """It then looks for the chunk's rows once more for each row of the table, and has changed some by then."""
    who = Actor("ann", "page")
    storage.audit.note(who, "pause", "q")
    with storage.driver.write() as tx:
        tx.execute("ANALYZE liteq_audit")
    for _ in range(4):
        storage.audit.note(who, "pause", "q")
    assert [storage.audit.expire(storage.clock.now_ms() + 1, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_write_transactions_are_not_nested(driver: Driver) -> None:
    with driver.write(), pytest.raises(StorageError, match="cannot be nested"), driver.write():
        pass


# -- reads -----------------------------------------------------------------------------------------------------------


def test_a_read_is_one_snapshot(storage: Storage) -> None:
    with storage.driver.read() as tx:
        before = tx.execute(COUNT)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(two_rows, storage).result(60)
        assert tx.execute(COUNT) == before
    with storage.driver.read() as tx:
        assert tx.execute(COUNT) == [(2,)]


def test_a_read_that_takes_too_long_is_stopped(driver: Driver) -> None:
    with pytest.raises(ReadTimeout), driver.read(within_s=0.05) as tx:
        tx.execute("SELECT 1 FROM pg_sleep(20)")


def test_a_url_with_mode_ro_reads_and_writes_nothing(storage: Storage, open_driver: Callable[..., Driver]) -> None:
    two_rows(storage)
    looking = open_driver(mode="ro")
    with looking.read() as tx:
        assert tx.execute(COUNT) == [(2,)]
    with pytest.raises(ReadOnly):
        looking.write()
    with pytest.raises(ReadOnly):
        looking.change("DELETE FROM liteq_messages", ())
    assert looking.migrate() == storage.driver.migrate()


# -- durability ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "accepted", "progress"), [("strict", "on", "on"), ("durable", "on", "off"), ("relaxed", "off", "off")]
)
def test_a_commit_waits_for_the_disk_as_was_promised(
    open_driver: Callable[..., Driver], storage: Storage, level: str, accepted: str, progress: str
) -> None:
    opened = open_driver(options=Options(Durability(level)))
    for promise, waits in ((Promise.ACCEPTED, accepted), (Promise.REMOVED, accepted), (Promise.PROGRESS, progress)):
        with opened.write(promise) as tx:
            assert tx.execute("SELECT current_setting('synchronous_commit')") == [(waits,)]


# -- where it is -----------------------------------------------------------------------------------------------------


def test_of_several_hosts_that_one_is_taken_which_answers_and_is_written_to(postgresql_server: str) -> None:
    hosts = f"host=/nowhere,{postgresql_server}&target_session_attrs=read-write"
    with closing(ENGINE.open(f"postgresql://postgres@/postgres?{hosts}", Options())) as opened:
        assert opened.migrate() > 0
    refused = ENGINE.open(f"postgresql://postgres@/postgres?{hosts.replace('read-write', 'standby')}", Options())
    with pytest.raises(StorageUnavailable):
        refused.migrate()


def liteq(*args: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "liteq", "-b", url, *args], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_the_command_line_looks_with_mode_ro_and_changes_nothing(storage: Storage, postgresql_server: str) -> None:
    two_rows(storage)
    url = postgresql.url(postgresql_server, mode="ro")
    assert "2 messages wait in queue 'celery'" in liteq("status", url=url).stderr
    purged = liteq("purge", "-f", url=url)
    assert purged.returncode == 69
    assert "read-only" in purged.stderr
    assert sum(count.n for count in storage.reader.counts()) == 2


# -- lost connections ------------------------------------------------------------------------------------------------


def test_a_connection_that_was_cut_is_seen_before_anything_is_said_on_it(storage: Storage, server: Any) -> None:
    """The server says that it ends it, and ends it then: the words alone are no sign."""
    two_rows(storage)
    cut_all(server)
    with pytest.raises(StorageUnavailable):
        storage.driver._idle[-1].begin()  # type: ignore[attr-defined]


class Behind(SystemClock):
    """The clock of a machine that nobody has set."""

    def now_ms(self) -> int:
        return super().now_ms() - 7_200_000


def test_the_time_is_the_server_s_whatever_that_of_this_machine_is(
    storage: Storage, open_driver: Callable[..., Driver]
) -> None:
    elsewhere = Storage(open_driver(), clock=Behind())
    assert abs(elsewhere.clock.now_ms() - storage.clock.now_ms()) < 3_600_000


def test_a_host_of_the_same_name_in_another_boot_may_live(storage: Storage) -> None:
    me = identity.me("w")
    other = storage.register_worker(WorkerIdentity("another", me.name, me.host, "another/ns", me.pid, me.started))
    beat = Heartbeat(storage, me, visibility_s=60, result_expires_s=None, dead_expires_s=None, info=dict)
    beat.look_after_others()
    assert {worker.id for worker in storage.reader.workers()} == {other, beat.worker}


def test_a_connection_that_was_cut_while_idle_is_no_trouble(storage: Storage, server: Any) -> None:
    two_rows(storage)
    cut_all(server)
    assert storage.enqueue_many([message()]) == 1
    assert storage.reader.counts()


def test_a_transaction_whose_connection_is_cut_is_told_and_not_written(storage: Storage, server: Any) -> None:
    with pytest.raises(StorageUnavailable), storage.driver.write() as tx:
        tx.executemany("INSERT INTO liteq_sends (name, place, updated_ms) VALUES (?, 1, 1)", [("lost",)])
        cut_all(server)
        tx.execute(COUNT)
    with storage.driver.read() as tx:
        assert tx.execute("SELECT 1 FROM liteq_sends WHERE name = 'lost'") == []


def test_a_commit_without_an_answer_says_that_it_is_not_known(storage: Storage, server: Any) -> None:
    with pytest.raises(StorageUnavailable, match="not known whether"), storage.driver.write() as tx:
        tx.execute(COUNT)
        cut_all(server)


def test_a_connection_to_a_server_that_has_become_a_standby_is_not_used_again(
    storage: Storage, server: Any, open_driver: Callable[..., Driver]
) -> None:
    """The next one may lead to the server that has taken its place."""
    server.execute("ALTER DATABASE postgres SET default_transaction_read_only TO on")
    try:
        standby = Storage(open_driver())
        with standby.driver.read() as tx, ThreadPoolExecutor(1) as pool:
            assert tx.execute(COUNT) == [(0,)]
            with pytest.raises(StorageUnavailable, match="standby"):
                pool.submit(standby.enqueue_many, [message()]).result(60)
    finally:
        server.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    assert [standby.enqueue_many([message()]) for _ in range(2)] == [1, 1]


def test_the_url_says_how_long_a_connection_is_waited_for(open_driver: Callable[..., Driver]) -> None:
    with open_driver(tcp_user_timeout="1234").read() as tx:
        said = tx.connection.info.get_parameters()  # type: ignore[attr-defined]
    assert (said["tcp_user_timeout"], said["connect_timeout"]) == ("1234", "10")


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    nowhere = ENGINE.open("postgresql://ann:secret@/d?host=/nowhere", Options())
    with pytest.raises(StorageUnavailable) as told:
        nowhere.migrate()
    assert "\n" not in str(told.value)
    assert "secret" not in str(told.value)


# -- bells -----------------------------------------------------------------------------------------------------------


def test_a_ring_is_heard_by_another_driver_and_by_its_bell_alone(
    storage: Storage, open_driver: Callable[..., Driver]
) -> None:
    other = open_driver()
    work, done = other.listen(Bell.WORK), other.listen(Bell.DONE)
    work.clear(), done.clear()
    storage.enqueue(Batch([message()]))
    assert work.wait(60)
    assert not done.clear()
    work.close(), done.close()


def test_queues_of_one_database_do_not_hear_each_other(storage: Storage, open_driver: Callable[..., Driver]) -> None:
    other = open_driver("another")
    ear = other.listen(Bell.WORK)
    ear.clear()
    storage.driver.ring(Bell.WORK)
    assert not ear.wait(0.3)
    ear.close()


def test_a_listener_hears_again_on_the_same_descriptor_after_its_connection_was_cut(
    storage: Storage, server: Any
) -> None:
    ear = storage.driver.listen(Bell.WORK)
    descriptor = ear.fileno()
    ear.clear()
    cut_all(server)
    assert ear.wait(60)  # it may have missed one
    ear.clear()
    storage.enqueue(Batch([message()]))
    assert ear.wait(60)
    assert ear.fileno() == descriptor
    ear.close()


def test_who_only_reads_from_a_standby_keeps_the_connection_on_which_it_looks_for_commits(
    storage: Storage, open_driver: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There LISTEN is refused as here by the server itself."""
    connected: list[session.Session] = []
    connect, control = PostgresDriver.connect, session.Session.control
    refuse = "DO $$ BEGIN RAISE read_only_sql_transaction USING MESSAGE = 'cannot execute LISTEN'; END $$"

    def connecting(driver: PostgresDriver, **other: Any) -> session.Session:
        connected.append(connect(driver, **other))
        return connected[-1]

    monkeypatch.setattr(PostgresDriver, "connect", connecting)
    monkeypatch.setattr(
        session.Session, "control", lambda self, sql: control(self, refuse if sql.startswith("LISTEN") else sql)
    )
    reader = open_driver(mode="ro")
    ear = reader.listen(Bell.WORK)
    for _ in range(4):  # it was made anew each second, and rang
        ear.clear()
        storage.enqueue(Batch([message()]))
        assert ear.wait(60)
    ear.close()
    assert len([one for one in connected if one._location.read_only]) == 1


# -- forks -----------------------------------------------------------------------------------------------------------


def in_a_child(function: Callable[[], object]) -> int:
    """The exit code of a forked child that calls `function`: 0, or 1 where it raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_has_connections_of_its_own_and_leaves_the_parents_alone(storage: Storage) -> None:
    two_rows(storage)
    ear = storage.driver.listen(Bell.WORK)
    ear.clear()
    assert in_a_child(lambda: storage.enqueue_many([message()])) == 0
    assert ear.wait(60)
    with storage.driver.read() as tx:
        assert tx.execute(COUNT) == [(3,)]
    ear.close()


def test_a_fork_waits_for_a_connection_that_is_being_made(
    open_driver: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, connect = open_driver(), psycopg.Connection.connect
    begun, goes_on = threading.Event(), threading.Event()

    def slowly(*args: Any, **options: Any) -> Any:
        begun.set()
        assert goes_on.wait(60)
        return connect(*args, **options)

    def let_go() -> None:
        wait_for(lambda: fork._forks, what="a fork waits")
        goes_on.set()

    def holds_no_socket() -> None:
        sockets = [one.connection.pgconn.socket for one in session.ABANDONED if not one.connection.closed]
        assert sockets
        for descriptor in sockets:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)

    monkeypatch.setattr(psycopg.Connection, "connect", slowly)
    monkeypatch.setattr(fork, "WAIT_S", 60.0)
    with ThreadPoolExecutor(2) as pool:
        made = pool.submit(driver.connect)  # type: ignore[attr-defined]
        assert begun.wait(60)
        pool.submit(let_go)
        assert in_a_child(holds_no_socket) == 0
    assert made.result().time_ms() > 0
    made.result().close()


def test_a_child_cannot_go_on_with_its_parents_transaction(storage: Storage) -> None:
    def go_on() -> None:
        with pytest.raises(StorageError):
            block.__exit__(None, None, None)

    block = storage.driver.write()
    tx = block.__enter__()
    tx.executemany("INSERT INTO liteq_sends (name, place, updated_ms) VALUES (?, 1, 1)", [("mine",)])
    assert in_a_child(go_on) == 0
    assert tx.execute("SELECT name FROM liteq_sends") == [("mine",)]
    block.__exit__(None, None, None)


HOLDER = """
import os, sys
from liteq.storage.driver import Options
from liteq_postgres import ENGINE
block = ENGINE.open(sys.argv[1], Options()).write()
block.__enter__().execute(sys.argv[2])
if os.fork() > 0:
    print("holding", flush=True)
sys.stdin.read()
"""


def test_a_killed_parents_transaction_ends_though_a_child_of_it_lives(
    storage: Storage, open_driver: Callable[..., Driver]
) -> None:
    two_rows(storage)
    command = [sys.executable, "-c", HOLDER, storage.driver.url, "SELECT 1 FROM liteq_messages FOR UPDATE"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"holding\n"
        parent.kill()
        assert open_driver(options=Options(busy_timeout_s=20)).change("UPDATE liteq_messages SET due_ms = 1", ()) == 2
        parent.communicate()  # now the child ends too


# -- the schema, and rights ------------------------------------------------------------------------------------------


def test_many_that_migrate_at_once_make_one_schema(open_driver: Callable[..., Driver], server: Any) -> None:
    server.execute("DROP SCHEMA IF EXISTS together CASCADE")
    drivers = [open_driver("together") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda one: one.migrate(), drivers))) == 1
    server.execute("DROP SCHEMA together CASCADE")


def test_a_schema_of_a_newer_liteq_is_refused(open_driver: Callable[..., Driver], server: Any) -> None:
    newer = open_driver("newer")
    newer.migrate()
    server.execute("UPDATE newer.liteq_meta SET value = 99 WHERE key IN ('version', 'min_writer')")
    with pytest.raises(SchemaTooNew):
        newer.check_schema()
    with pytest.raises(SchemaTooNew):
        newer.migrate()
    server.execute("DROP SCHEMA newer CASCADE")


def test_a_role_that_owns_nothing_sends_and_works(storage: Storage, server: Any, postgresql_server: str) -> None:
    server.execute(postgresql.WORKER)
    url = postgresql.url(postgresql_server).replace("//postgres@", "//worker@")
    theirs = Storage(ENGINE.open(url, Options()))
    theirs.migrate()
    theirs.enqueue(Batch([message()]))
    number = theirs.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))
    leases = theirs.claim(["celery"], worker=number, limit=1, visibility_s=60)
    assert theirs.settle([(lease, Ack(b"1")) for lease in leases]) == []
    assert theirs.reader.find(leases[0].id).state == "succeeded"  # type: ignore[union-attr]
    theirs.close()
    server.execute("DROP OWNED BY worker; DROP ROLE worker")


def test_a_role_without_rights_is_told_that_it_has_none(storage: Storage, server: Any, postgresql_server: str) -> None:
    server.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
    url = postgresql.url(postgresql_server).replace("//postgres@", "//stranger@")
    theirs = Storage(ENGINE.open(url, Options()))
    with pytest.raises(StorageUnavailable, match='GRANT USAGE ON SCHEMA "liteq"'):
        theirs.migrate()
    elsewhere = Storage(ENGINE.open(url.replace("schema=liteq", "schema=another"), Options()))
    with pytest.raises(StorageError, match="let the database's owner run `liteq migrate`") as refused:
        elsewhere.migrate()
    assert not isinstance(refused.value, StorageUnavailable), "the server is there: nobody is to wait for it"
    theirs.close()
    elsewhere.close()
    server.execute("DROP ROLE stranger")


# -- what an operator is told ----------------------------------------------------------------------------------------


def test_doctor_is_told_of_the_server_the_schema_the_clock_and_the_bells(driver: Driver) -> None:
    facts = driver.describe()
    assert facts["engine"] == "postgresql"
    checks = {check.name: check.status for check in driver.checks(facts)}
    assert checks == dict.fromkeys(["server", "schema", "clock", "bells", "space", "workers"], "ok")
    assert driver.sizes()["file_bytes"] > 0


@pytest.mark.parametrize(
    "statement",
    [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM liteq.liteq_messages",
        "UPDATE liteq.liteq_meta SET value = value WHERE key = 'epoch'",
    ],
    ids=["a snapshot", "a write"],
)
def test_an_old_transaction_in_the_database_is_warned_of(
    driver: Driver, server: Any, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteq_postgres.describe.OLD_SNAPSHOT_S", -1)
    with server.transaction():
        server.execute(statement)
        (warning,) = driver.warnings()
    assert f"process {server.info.backend_pid} of the server" in warning
    assert driver.warnings() == []


def test_nobody_is_told_to_end_a_vacuum(
    driver: Driver, server: Any, postgresql_server: str, eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("liteq_postgres.describe.OLD_SNAPSHOT_S", -1)
    server.execute("CREATE TABLE slowly AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 20000)")
    beside = psycopg.connect(host=postgresql_server, user="postgres", autocommit=True)
    with beside as other, ThreadPoolExecutor() as pool:
        other.execute("SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1")
        vacuum = pool.submit(other.execute, "VACUUM slowly")
        runs = "SELECT backend_xmin IS NOT NULL FROM pg_stat_activity WHERE pid = %s AND query LIKE 'VACUUM%%'"
        try:
            eventually(lambda: server.execute(runs, (other.info.backend_pid,)).fetchall() == [(True,)])
            told = driver.warnings()
        finally:
            other.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            vacuum.result(60)
    server.execute("DROP TABLE slowly")
    assert told == []
