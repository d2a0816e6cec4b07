"""The parts of the PostgreSQL engine that need no server: its URLs, and the words of its SQL."""

from __future__ import annotations

import os
import threading

import pytest

from liteq.exceptions import ImproperlyConfigured, StorageError, StorageUnavailable
from liteq.storage.driver import GLOB, LOCK, SKIP_LOCKED, Bell, Options
from liteq_postgres import ENGINE
from liteq_postgres.batch import arrays, at_once
from liteq_postgres.translate import statement, values
from liteq_postgres.url import parse

# -- URLs ------------------------------------------------------------------------------------------------------------


def test_a_url_is_libpqs_with_a_schema_of_ours() -> None:
    location = parse("postgresql://ann:secret@db.example:5433/shop?sslmode=require&schema=jobs")
    assert location.conninfo == "postgresql://ann:secret@db.example:5433/shop?sslmode=require"
    assert (location.schema, location.where()) == ("jobs", "db.example:5433/shop?schema=jobs")


def test_several_hosts_and_a_socket_are_taken() -> None:
    several = parse("postgres://ann@a,b:6000/shop?target_session_attrs=read-write")
    assert several.conninfo == "postgresql://ann@a,b:6000/shop?target_session_attrs=read-write"
    assert parse("postgresql://ann@/shop?host=/run/pg").where() == "/run/pg/shop?schema=liteq"


def test_the_bells_may_have_an_address_of_their_own() -> None:
    assert parse("postgresql://h/d?listen=db.example:5432").listen == ("db.example", "5432")
    assert parse("postgresql://h/d?listen=[::1]:5432").listen == ("::1", "5432")


def test_the_bells_are_not_heard_at_the_address_in_numbers_of_a_pooler(monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg = pytest.importorskip("psycopg")
    from liteq_postgres.hearing import Hearing

    asked: dict[str, object] = {}

    def connect(**options: object) -> None:
        asked.update(options)
        raise psycopg.OperationalError("not here")

    monkeypatch.setattr(psycopg.Connection, "connect", connect)
    driver = ENGINE.open("postgresql://pool/d?hostaddr=10.0.0.9&listen=db.example:5433", Options())
    with pytest.raises(StorageUnavailable):
        Hearing(driver.connect, "liteq", driver.location.listen).connect()
    assert (asked["host"], asked["port"], asked["hostaddr"]) == ("db.example", "5433", None)


def test_a_value_that_the_server_cannot_take_is_not_a_server_that_is_away() -> None:
    psycopg = pytest.importorskip("psycopg")
    from liteq_postgres.errors import translate

    assert type(translate(psycopg.DataError("text fields cannot contain NUL"), "db", 1.0)) is StorageError
    assert type(translate(psycopg.OperationalError("the connection is lost"), "db", 1.0)) is StorageUnavailable
    assert type(translate(psycopg.InterfaceError("the connection is closed"), "db", 1.0)) is StorageUnavailable
    for kind in (psycopg.errors.TooManyConnections, psycopg.errors.IdleInTransactionSessionTimeout):
        assert type(translate(kind("refused"), "db", 1.0)) is StorageUnavailable


def test_a_thread_that_outlives_its_last_listener_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    from liteq_postgres import hearing

    there, ends = threading.Event(), threading.Event()

    def connect() -> None:
        there.set()
        ends.wait()
        raise StorageUnavailable("not here")

    monkeypatch.setattr(hearing, "READY_S", 0)
    monkeypatch.setattr(hearing, "STOP_S", 0)
    bells = hearing.Hearing(connect, "liteq", None)
    listener = bells.listen(Bell.WORK)
    there.wait()
    ear = bells._ear
    listener.close()
    assert ear._thread.is_alive()
    ends.set()
    ear._thread.join()
    for descriptor in (ear._woken, ear._wake):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://h", "names no database"),
        ("mysql://h/d", "none of PostgreSQL's"),
        ("postgresql://h/d?shema=x", "did you mean schema="),
        ("postgresql://h/d?mode=r", "one of rw, ro"),
        ("postgresql://h/d?listen=h", "host:port"),
        ("postgresql://h/d?schema=", "a name of 1 to 63 bytes"),
        ("postgresql://h/d?schema=pg_x", "does not begin with pg_"),
        ("postgresql://h/d?schema=$user", r"is not \$user"),
        ("postgresql://h/d?sslmod=require", "did you mean sslmode="),
        ("postgresql://u:a#b@h/d", "write # as %23"),
        ("postgresql://u:sec@ret@h/d", "write @ as %40"),
    ],
)
def test_a_bad_url_is_refused_without_its_password(url: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        parse(url)
    with pytest.raises(ImproperlyConfigured) as refused:
        parse(url.replace("//h", "//u:secret@h"))
    assert "secret" not in str(refused.value)


# -- the words of its SQL --------------------------------------------------------------------------------------------


def test_placeholders_are_numbers_and_a_name_has_one_number() -> None:
    assert statement("SELECT ? + ?")[:3:2] == (b"SELECT $1 + $2", None)
    assert statement("SELECT :a + :b + :a")[:3:2] == (b"SELECT $1 + $2 + $1", ("a", "b"))


def test_hints_become_locks_and_nothing_where_only_reads_are_allowed() -> None:
    told = statement(f"SELECT 1 FROM a WHERE x {GLOB} :y {LOCK}")
    assert told.sql == b"SELECT 1 FROM a WHERE x ~*~ $1 FOR UPDATE"
    assert told.look.rstrip() == b"SELECT 1 FROM a WHERE x ~*~ $1"
    assert statement(f"SELECT 1 FROM a {SKIP_LOCKED}").sql == b"SELECT 1 FROM a FOR UPDATE SKIP LOCKED"


def test_a_select_in_brackets_that_locks_is_run_once() -> None:
    told = statement(
        f"DELETE FROM a WHERE f(x) AND (y, z) IN (SELECT y, g(z) FROM a WHERE b = '(' LIMIT ? {SKIP_LOCKED})"
    )
    assert told.sql == (
        b"DELETE FROM a WHERE f(x) AND (y, z) IN (WITH locked AS MATERIALIZED ("
        b"SELECT y, g(z) FROM a WHERE b = '(' LIMIT $1 FOR UPDATE SKIP LOCKED) SELECT * FROM locked)"
    )
    assert b"locked" not in told.look
    assert (
        statement(f"SELECT 1 FROM a WHERE x IN (:y, :z) {LOCK}").sql
        == b"SELECT 1 FROM a WHERE x IN ($1, $2) FOR UPDATE"
    )


def test_texts_names_casts_and_comments_are_left_alone() -> None:
    sql = "SELECT ':a ? GLOB', \"b?:c\", x::text /* ? :d */ -- :e ?\n FROM t"
    assert statement(sql)[:3:2] == (sql.encode(), None)


def test_a_statement_has_one_kind_of_parameters() -> None:
    with pytest.raises(StorageError, match=r"either \? or :name"):
        statement("SELECT ?, :a")


def test_a_parameter_that_is_missing_is_named() -> None:
    assert values(("b", "a"), {"a": 1, "b": 2, "c": 3}) == [2, 1]
    with pytest.raises(StorageError, match=":b was not given"):
        values(("a", "b"), {"a": 1})


# -- one statement for many rows -------------------------------------------------------------------------------------

INTEGER, TEXT, BYTES, REAL = 20, 25, 17, 701  # the server's numbers of the types


def test_a_statement_that_is_done_at_once_takes_an_array_for_each_parameter() -> None:
    assert at_once(b"UPDATE t SET a = $1\n WHERE b = $2 AND c", (TEXT, INTEGER)) == (
        b"UPDATE t SET a = v.p1\n FROM unnest($1::text[], $2::bigint[]) AS v (p1, p2) WHERE b = v.p2 AND c"
    )
    assert at_once(b"DELETE FROM t WHERE b = $1", (INTEGER,)) == (
        b"DELETE FROM t USING unnest($1::bigint[]) AS v (p1) WHERE b = v.p1"
    )
    assert at_once(b"INSERT INTO t (a, b) VALUES ($1, 'x')\nON CONFLICT DO NOTHING", (BYTES,)) == (
        b"INSERT INTO t (a, b) SELECT v.p1, 'x' FROM unnest($1::bytea[]) AS v (p1) ON CONFLICT DO NOTHING"
    )


def test_what_has_no_such_form_is_done_row_by_row() -> None:
    assert at_once(b"INSERT INTO t (a) SELECT $1 WHERE TRUE", (INTEGER,)) is None
    assert at_once(b"DELETE FROM t WHERE b = $1", (REAL,)) is None
    assert at_once(b"DELETE FROM t WHERE b", ()) is None


@pytest.mark.parametrize(("kind", "value"), [(INTEGER, "1"), (INTEGER, 2**63), (TEXT, 1), (TEXT, "\0"), (BYTES, "a")])
def test_a_value_of_another_type_is_no_part_of_an_array(kind: int, value: object) -> None:
    assert arrays([kind], [(None,), (value,)]) is None
